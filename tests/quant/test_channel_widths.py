"""Widths of channels, one bit and ternary weights: specs, JSON, grids, simulation."""

import dataclasses

import pytest
import torch
from torch import Tensor

from quant.assignment import bits_by_part, config_with_bits
from quant.config import LayerConfig, QuantConfig, Rule, config_from_json, uniform_config
from quant.encoding import Encoding
from quant.errors import CalibrationError, ConfigError
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.use_encodings import UseEncodings, encoding_misfit
from quant.ranges.estimators import encode_weight
from quant.simulation.plan import Side
from quant.simulation.quant_graph import quantize_graph
from quant.spec import (
    Estimator,
    Granularity,
    QuantSpec,
    SpecChange,
    read_widths_text,
    write_widths_text,
)

CHANNELS = QuantSpec(granularity=Granularity.PER_CHANNEL)


def mixed(*widths: int) -> QuantSpec:
    return SpecChange(channel_bits=widths).apply_to_spec(CHANNELS)


@pytest.fixture(scope="module")
def mlp() -> FloatGraph:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    return capture_graph(net.eval(), (5,))


def codes_by_hand(row: Tensor, bits: int, scale: float) -> list[float]:
    """Return a row on its grid, value by value, in plain Python."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if bits == 1:
        return [scale if v >= 0 else -scale for v in row.tolist()]
    return [min(max(round(v / scale), low), high) * scale for v in row.tolist()]


@pytest.mark.parametrize("estimator", [Estimator.MIN_MAX, Estimator.MSE, Estimator.PERCENTILE])
@pytest.mark.parametrize("axis", [0, 1])
def test_each_channel_lies_on_its_own_grid(estimator: Estimator, axis: int) -> None:
    weight = torch.randn(4, 9, generator=torch.Generator().manual_seed(1))
    weight[2] = weight[2].abs()  # a channel without negative values keeps a signed grid
    spec = dataclasses.replace(mixed(1, 2, 4, 8), estimator=estimator)
    encoding = encode_weight(weight if axis == 0 else weight.T, spec, axis)
    rounded = encoding.fake_quantize(weight if axis == 0 else weight.T)
    rows, scales = (rounded if axis == 0 else rounded.T), encoding.scale.flatten().tolist()
    for row, found, bits, scale in zip(weight, rows, (1, 2, 4, 8), scales, strict=True):
        assert found.tolist() == pytest.approx(codes_by_hand(row, bits, scale), abs=1e-7)
    assert torch.equal(rounded, encoding.fake_quantize(rounded))  # what is on the grid stays
    alone = [encode_weight(row[None], dataclasses.replace(spec.with_bits(b)), 0) for row, b in
             zip(weight, (1, 2, 4, 8), strict=True)]  # fmt: skip
    for place in (0, 1, 3):
        assert scales[place] == pytest.approx(float(alone[place].scale))
    assert (encoding.qmin, encoding.qmax, encoding.bits) == (-128, 127, 8)


def test_one_bit_is_the_sign_times_the_mean() -> None:
    weight = torch.tensor([[0.5, -1.5, 0.0, 2.0], [-0.1, 0.1, 0.3, -0.3]])
    encoding = encode_weight(weight, dataclasses.replace(CHANNELS, bits=1))
    assert encoding.scale.flatten().tolist() == pytest.approx([1.0, 0.2])
    assert encoding.quantize(weight).tolist() == [[1, -1, 1, 1], [-1, 1, 1, -1]]
    assert encoding.bits == 1
    # no other scale has a smaller squared error
    errors = [
        float((Encoding(encoding.scale * f, encoding.zero_point, -1, 1, encoding.channel_bits)
               .fake_quantize(weight) - weight).square().sum())
        for f in (0.9, 0.95, 1.0, 1.05, 1.1)
    ]  # fmt: skip
    assert min(errors) == errors[2]


def test_ternary_is_two_bits_without_the_least_number() -> None:
    weight = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    spec = dataclasses.replace(CHANNELS, bits=2, narrow=True)
    encoding = encode_weight(weight, spec)
    assert set(encoding.quantize(weight).unique().tolist()) == {-1.0, 0.0, 1.0}
    assert (encoding.bits, spec.levels) == (2, 3)
    assert torch.equal(encoding.fake_quantize(torch.zeros(3, 50)), torch.zeros(3, 50))


def test_gradients_pass_inside_and_everywhere_at_one_bit() -> None:
    weight = torch.tensor([[3.0, -3.0], [3.0, -3.0]], requires_grad=True)
    spec = mixed(1, 2)
    encoding = encode_weight(torch.tensor([[0.5, -0.5], [0.5, -1.0]]), spec)
    encoding.fake_quantize(weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1, 1], [0, 0]]


def test_json_is_compact_and_files_of_before_read_as_before() -> None:
    widths = (1, 2, 4, 8, 16)
    assert read_widths_text(write_widths_text(widths), "w") == widths
    config = uniform_config(8, 8).with_layer_change("a", weight=SpecChange(channel_bits=widths))
    assert config_from_json(config.to_json()) == config
    assert '"channel_bits": "1248g"' in config.to_json()
    assert "channel_bits" not in uniform_config(8, 8).to_json()
    assert "narrow" not in uniform_config(8, 8).to_json()
    large = uniform_config(8, 8).with_layer_change("a", weight=SpecChange(channel_bits=(1,) * 2048))
    assert len(large.to_json()) - len(uniform_config(8, 8).to_json()) < 2300
    ternary = QuantConfig(LayerConfig(dataclasses.replace(CHANNELS, bits=2, narrow=True)))
    assert config_from_json(ternary.to_json()) == ternary


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"rules": [{"select": "a", "weight": {"channel_bits": "x"}}]}', "one character"),
        ('{"rules": [{"select": "a", "weight": {"channel_bits": 8}}]}', "one character"),
        ('{"default": {"weight": {"channel_bits": "88"}}}', "a rule that names one layer"),
        ('{"default": {"activation": {"bits": 1, "symmetric": true}}}', "are for weights"),
        ('{"default": {"weight": {"bits": 1, "symmetric": false}}}', "symmetric encodings"),
        ('{"default": {"weight": {"bits": 0}}}', "between 1 and 16"),
    ],
)
def test_configurations_that_cannot_be(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        config_from_json(text)


def test_a_later_width_ends_widths_of_channels() -> None:
    spec = mixed(1, 4)
    assert (spec.bits, spec.mean_bits) == (4, 2.5)
    assert SpecChange(bits=8).apply_to_spec(spec).channel_bits == ()
    assert SpecChange(granularity=Granularity.PER_TENSOR).apply_to_spec(spec).channel_bits == ()
    assert SpecChange(estimator=Estimator.MIN_MAX).apply_to_spec(spec).channel_bits == (1, 4)
    config = uniform_config(8, 8).with_layer_change("a", weight=SpecChange(channel_bits=(1, 4)))
    again = config.with_layer_change("a", weight=SpecChange(bits=4))
    assert again.rules == (Rule("a", SpecChange(bits=4)),)
    with pytest.raises(ConfigError, match="widest"):
        dataclasses.replace(spec, bits=8)


def test_the_simulation_and_given_grids(mlp: FloatGraph) -> None:
    first, second = (layer.name for layer in mlp.layers if layer.weight)
    config = uniform_config(8, 32).with_layer_change(
        first, weight=SpecChange(channel_bits=(1, 2, 4, 8))
    )
    quantized = quantize_graph(mlp, config, {}, (-3.0, 3.0))
    encoding = quantized.quantizers[f"{first} weight"].encoding
    assert encoding is not None
    weight = mlp.stored_tensor(str(mlp[first].weight))
    rounded = quantized.quantizers[f"{first} weight"](weight)
    assert [len(row.unique()) <= 2**b for row, b in zip(rounded, (1, 2, 4, 8), strict=True)]
    site = next(s for s in quantized.sites if s.name == f"{first} weight")
    assert encoding_misfit(encoding, site) == ""
    plain = quantize_graph(mlp, uniform_config(8, 32), {}, (-3.0, 3.0))
    found = UseEncodings({f"{first} weight": encoding}).apply_at_once(plain)
    assert found.used == ()
    assert "other widths of channels" in found.kept[f"{first} weight"]
    # bits of others change, those of channels stay; a width for the layer takes their place
    assert bits_by_part(config, mlp)[first, Side.WEIGHTS] == 8
    moved = config_with_bits(config, mlp, {(second, Side.WEIGHTS): 4})
    assert moved.resolve_layers(mlp.layers)[first].weight.channel_bits == (1, 2, 4, 8)
    assert moved.resolve_layers(mlp.layers)[second].weight.bits == 4
    same = config_with_bits(config, mlp, {(first, Side.WEIGHTS): 8})
    assert same.resolve_layers(mlp.layers)[first].weight.channel_bits == ()


def test_widths_of_another_network_are_refused(mlp: FloatGraph) -> None:
    first = next(layer.name for layer in mlp.layers if layer.weight)
    config = uniform_config(8, 8).with_layer_change(first, weight=SpecChange(channel_bits=(1, 2)))
    with pytest.raises(ConfigError, match="has 4 output channels; got widths of 2"):
        quantize_graph(mlp, config)
    with pytest.raises(CalibrationError, match="2 widths for 4 channels"):
        encode_weight(torch.ones(4, 3), mixed(1, 2))
