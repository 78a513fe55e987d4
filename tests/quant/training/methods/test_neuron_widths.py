"""A width for each neuron: gradients against autograd, hard forward, controls, round trip."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from quant.channel_widths import (
    channel_widths_of_config,
    config_with_channel_widths,
    count_channel_widths,
    even_channel_widths,
    mean_weight_bits,
    random_channel_widths,
    shuffle_within_layers,
    widths_by_variance,
)
from quant.config import config_from_json, uniform_config
from quant.encoding import Encoding
from quant.errors import ConfigError
from quant.passes.use_encodings import UseEncodings
from quant.progress import drain_steps
from quant.ranges.estimators import encode_weight
from quant.simulation.plan import Side, Site
from quant.simulation.quant_graph import quantize_graph
from quant.spec import Granularity, QuantSpec, SpecChange
from quant.training.methods.neuron_quantizer import NeuronQuantizer, hard_widths, soft_width_shares
from quant.training.methods.neuron_widths import trained_channel_widths
from quant.training.settings import NeuronWidthSettings, TrainingMethod, TrainingSettings
from quant.training.state.trained_state import load_trained_state
from quant.training.train import train_network
from tests.quant.training.problems import problem

SETTINGS = NeuronWidthSettings()
SITE = Site("a weight", "a", Side.WEIGHTS, QuantSpec(), "a")
LEARN = TrainingSettings(
    method=TrainingMethod.NEURON_WIDTHS,
    steps=10,
    batch=32,
    rate=1e-2,
    watch_every=5,
    widths=NeuronWidthSettings(rate=2e-2, freeze=0.8),
)


def quantizer(axis: int = 0, intensity: Tensor | None = None) -> tuple[NeuronQuantizer, Tensor]:
    weight = torch.randn(6, 6, generator=torch.Generator().manual_seed(3)).requires_grad_()
    made = NeuronQuantizer(SITE, weight, axis, SETTINGS)
    if intensity is not None:
        with torch.no_grad():
            made.intensity.copy_(intensity.reshape(made.intensity.shape))
    return made, weight


def test_gates_are_shares_and_thresholds_part_the_widths() -> None:
    s = torch.linspace(0, 1, 41)
    shares = soft_width_shares(s, SETTINGS.thresholds, SETTINGS.temperature)
    assert shares.shape == (4, 41)
    assert float((shares.sum(0) - 1).abs().max()) < 1e-6
    assert float(shares.min()) >= 0
    found = hard_widths(torch.tensor([0.0, 0.249, 0.25, 0.5, 0.74, 0.75, 1.0]), SETTINGS.thresholds)
    assert found.tolist() == [1, 1, 2, 4, 4, 8, 8]


@pytest.mark.parametrize("axis", [0, 1])
def test_gradients_are_those_of_the_soft_mixture_and_the_straight_through(axis: int) -> None:
    intensity = torch.tensor([0.05, 0.2, 0.3, 0.5, 0.8, 1.0])
    made, weight = quantizer(axis, intensity)
    pulled = torch.randn(6, 6, generator=torch.Generator().manual_seed(4))
    out = made(weight)
    (out * pulled).sum().backward()
    assert made.intensity.grad is not None
    assert weight.grad is not None
    # autograd through the mixture itself
    s = made.intensity.detach().clone().requires_grad_()
    encodings = [made.encoding_at_width(place).fake_quantize(weight.detach()) for place in range(4)]
    shares = soft_width_shares(s, SETTINGS.thresholds, SETTINGS.temperature)
    soft = sum(
        (share * encoding for share, encoding in zip(shares, encodings, strict=True)),
        torch.zeros(6, 6),
    )
    (soft * pulled).sum().backward()
    assert s.grad is not None
    assert float((made.intensity.grad - s.grad).abs().max()) < 1e-5
    assert torch.equal(weight.grad, pulled)
    # forward is hard, and what is exported
    assert torch.equal(out, made.encoding().fake_quantize(weight.detach()))


def test_scales_start_as_the_product_chooses_them() -> None:
    made, weight = quantizer(intensity=torch.tensor([0.0, 0.3, 0.6, 0.9, 0.0, 0.3]))
    spec = SpecChange(channel_bits=(1, 2, 4, 8, 1, 2)).apply_to_spec(
        QuantSpec(granularity=Granularity.PER_CHANNEL)
    )
    wanted = encode_weight(weight.detach(), spec)
    found = made.encoding()
    assert torch.allclose(found.scale, wanted.scale, rtol=1e-6)
    assert torch.equal(found.channel_bits, wanted.channel_bits)  # type: ignore[arg-type]
    with torch.no_grad():
        weight.mul_(3)
    made.follow_moved_weight()
    assert torch.allclose(made.encoding().scale, 3 * wanted.scale, rtol=1e-5)
    made.rescale_encoding(torch.tensor(0.5))
    assert torch.allclose(made.encoding().scale, 1.5 * wanted.scale, rtol=1e-5)


def test_a_training_learns_widths_and_comes_back_as_the_product_s_own(tmp_path: Path) -> None:
    given = problem()
    start = config_with_channel_widths(uniform_config(8, 8), even_channel_widths(given.graph, 1))
    quantized = quantize_graph(given.graph, start, given.calibration)
    state = drain_steps(train_network(quantized, given.graph, given.data, given.watched, LEARN))
    widths = trained_channel_widths(state.encodings, given.graph)
    assert set(widths) == {layer.name for layer in given.graph.layers if layer.weight}
    assert mean_weight_bits(given.graph, widths) > 1
    config = config_with_channel_widths(uniform_config(8, 8), widths)
    assert channel_widths_of_config(given.graph, config_from_json(config.to_json())) == widths
    state.save(tmp_path / "trained.safetensors")
    kept = load_trained_state(tmp_path / "trained.safetensors")
    assert kept.digest == state.digest
    logits = []
    for one in (state, kept):
        again = quantize_graph(one.trained_graph(given.graph), config, given.calibration)
        assert not UseEncodings(one.encodings).apply_at_once(again).kept
        logits.append(again(given.watched[0][0]))
    assert torch.equal(*logits)
    measured = state.record.curve[-1].measures
    assert measured["mean_bits"] >= 1
    assert sum(measured[f"share_{bits}_bits"] for bits in (1, 2, 4, 8)) == pytest.approx(1)


def test_at_rate_0_widths_stay_and_no_step_changes_nothing() -> None:
    given = problem()
    widths = widths_by_variance(given.graph, 3.0)
    config = config_with_channel_widths(uniform_config(8, 8), widths)
    settings = dataclasses.replace(LEARN, widths=NeuronWidthSettings(rate=0.0))
    quantized = quantize_graph(given.graph, config, given.calibration)
    none = dataclasses.replace(settings, steps=0)
    before = drain_steps(train_network(quantized, given.graph, given.data, given.watched, none))
    for site, encoding in before.encodings.items():
        own = quantized.quantizers[site].encoding
        assert isinstance(own, Encoding)
        assert torch.equal(own.scale, encoding.scale)
    after = drain_steps(train_network(quantized, given.graph, given.data, given.watched, settings))
    assert trained_channel_widths(after.encodings, given.graph) == widths
    assert after.digest != before.digest


def test_controls_have_the_mean_that_they_are_asked_for() -> None:
    graph = problem().graph
    for budget in (1.0, 1.7, 2.0, 3.3, 8.0):
        for widths in (widths_by_variance(graph, budget), even_channel_widths(graph, budget)):
            assert mean_weight_bits(graph, widths) == pytest.approx(budget, abs=0.25)
            assert mean_weight_bits(graph, widths) <= budget + 0.05
    greedy = widths_by_variance(graph, 2.5)
    dealt = random_channel_widths(graph, greedy, seed=0)
    flat = sorted(bits for own in greedy.values() for bits in own)
    assert sorted(bits for own in dealt.values() for bits in own) == flat
    assert dealt == random_channel_widths(graph, greedy, seed=0)
    assert mean_weight_bits(graph, dealt) == pytest.approx(
        mean_weight_bits(graph, greedy), abs=0.05
    )
    assert count_channel_widths(shuffle_within_layers(greedy, 1)) == count_channel_widths(greedy)
    with pytest.raises(ConfigError, match="between 1 and 8 on average; got 9"):
        widths_by_variance(graph, 9)


def test_widths_by_variance_are_the_best_there_are() -> None:
    """Against every choice, on the layers of a small network cut to few channels."""
    from itertools import product

    from quant.channel_widths import channel_variances, weighted_channel_layers, weights_per_channel

    graph = problem().graph
    layer = next(iter(weighted_channel_layers(graph)))
    variances, each = channel_variances(graph, layer)[:4], weights_per_channel(layer)
    choices = list(product((1, 2, 4, 8), repeat=4))

    def bound(widths: tuple[int, ...]) -> float:
        return sum(each * v / 4.0**b for v, b in zip(variances, widths, strict=True))

    # greedy steps of one channel each: what it reaches at each total is the least bound there
    widths, reached = [1] * 4, {}
    steps = {1: 2, 2: 4, 4: 8}
    while any(b < 8 for b in widths):
        gains = [
            (v * (4.0**-b - 4.0 ** -steps[b]) / (steps[b] - b), place)
            for place, (v, b) in enumerate(zip(variances, widths, strict=True)) if b < 8
        ]  # fmt: skip
        place = max(gains)[1]
        widths[place] = steps[widths[place]]
        reached[sum(widths)] = bound(tuple(widths))
    for total, value in reached.items():
        least = min(bound(own) for own in choices if sum(own) == total)
        assert value == pytest.approx(least)
