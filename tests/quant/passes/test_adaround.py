"""AdaRound: against brute force, and never worse than nearest rounding."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.config import ACTIVATION_DEFAULT, LayerConfig, QuantConfig
from quant.encoding import Encoding
from quant.errors import CalibrationError
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.adaround import (
    AdaRound,
    AdaRoundResult,
    Rounded,
    _Problem,
    rectified_sigmoid,
    rounding_loss,
)
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.passes.samples import Samples
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import FLOAT_BITS, Granularity, QuantSpec, SpecChange
from sample_models.imbalanced import ClippedReLU
from tests.networks import CASES, Wired, graph_of

FLOAT = QuantSpec(FLOAT_BITS)
Middle = Callable[[Tensor], Tensor]


def weights_alone(graph: FloatGraph, spec: QuantSpec) -> QuantGraph:
    """Return a network whose weights alone are quantized, all alike."""
    return quantize_graph(graph, QuantConfig(LayerConfig(spec, FLOAT)))


def encoding_of(quantized: QuantGraph, layer: str) -> Encoding:
    found = quantized.quantizers[f"{layer} weight"].encoding
    assert found is not None
    return found


def linear_layer(
    seed: int, activation: Middle | None = None
) -> tuple[FloatGraph, QuantGraph, Tensor]:
    """Return a 2x3 linear layer on a 3-bit grid, and inputs that have much in common."""
    torch.manual_seed(seed)
    act: Middle = activation or (lambda x: x)
    graph = capture_graph(Wired(lambda m, x: act(m.layer(x)), layer=nn.Linear(3, 2)), (3,))
    inputs = torch.randn(300, 1) + 0.3 * torch.randn(300, 3)
    return graph, weights_alone(graph, QuantSpec(3)), inputs


def brute_force(
    graph: FloatGraph, encoding: Encoding, inputs: Tensor, activation: Middle
) -> tuple[float, Tensor]:
    """Return the least mean square error over all roundings up or down, and its weights."""
    weight, bias = graph.stored_tensor("layer.weight"), graph.stored_tensor("layer.bias")
    wanted = activation(F.linear(inputs, weight, bias))
    best, chosen = float("inf"), weight
    for ups in product((0.0, 1.0), repeat=weight.numel()):
        codes = (weight / encoding.scale).floor() + torch.tensor(ups).reshape(weight.shape)
        rounded = codes.clamp(encoding.qmin, encoding.qmax) * encoding.scale
        got = activation(F.linear(inputs, rounded, bias))
        error = float((got - wanted).double().square().mean())
        if error < best:
            best, chosen = error, rounded
    return best, chosen


FAST = AdaRound(iterations=400, rows=300, batch=300, learning_rate=0.02, learn_bias=False)


@pytest.mark.parametrize("seed", range(12))
def test_against_all_64_roundings_of_a_small_linear_layer(seed: int) -> None:
    graph, quantized, inputs = linear_layer(seed)
    best, _ = brute_force(graph, encoding_of(quantized, "layer"), inputs, lambda x: x)
    (found,) = drain_steps(FAST(graph, quantized, [inputs])).layers
    assert best * 0.9999 <= found.learned <= best * 1.05
    assert found.learned <= found.nearest


@pytest.mark.parametrize("seed", range(4))
def test_a_bias_that_follows_beats_every_rounding_with_the_old_one(seed: int) -> None:
    graph, quantized, inputs = linear_layer(seed)
    inputs = inputs + 1.0  # a mean that roundings move
    best, _ = brute_force(graph, encoding_of(quantized, "layer"), inputs, lambda x: x)
    (found,) = drain_steps(replace(FAST, learn_bias=True)(graph, quantized, [inputs])).layers
    assert found.learned < best
    got = float((quantized(inputs) - graph(inputs)).double().square().mean())
    assert found.learned == pytest.approx(got, rel=1e-4)


def test_brute_force_finds_what_nearest_rounding_misses() -> None:
    """Else the test above would say nothing."""
    gains = 0
    for seed in range(12):
        graph, quantized, inputs = linear_layer(seed)
        best, _ = brute_force(graph, encoding_of(quantized, "layer"), inputs, lambda x: x)
        nearest = float((quantized(inputs) - graph(inputs)).square().mean())
        assert best <= nearest * 1.0001
        gains += best < nearest * 0.9
    assert gains >= 5


ACTIVATIONS: dict[str, Middle] = {"relu": F.relu, "clip": lambda x: x.clamp(0.0, 0.6)}


@pytest.mark.parametrize(("name", "seed"), [("relu", 5), ("relu", 8), ("clip", 5)])
def test_the_activation_function_decides_between_roundings(name: str, seed: int) -> None:
    """Inputs along two rays, one of them cut: errors along it cost nothing."""
    activation = ACTIVATIONS[name]
    graph, quantized, _ = linear_layer(seed, activation)
    rays = torch.randn(2, 1, 3)
    up = torch.sign(rays @ graph.stored_tensor("layer.weight").sum(0))[..., None]
    rays = rays * up * torch.tensor([1.0, -1.0]).reshape(2, 1, 1)
    inputs = (torch.rand(2, 150, 1) * 2 * rays).reshape(300, 3) + 0.05 * torch.randn(300, 3)
    encoding = encoding_of(quantized, "layer")
    best, _ = brute_force(graph, encoding, inputs, activation)
    _, straight = brute_force(graph, encoding, inputs, lambda x: x)
    got = activation(F.linear(inputs, straight, graph.stored_tensor("layer.bias")))
    # what is best without the function is not with it
    assert float((got - graph(inputs)).square().mean()) > 1.25 * best
    (found,) = drain_steps(FAST(graph, quantized, [inputs])).layers
    assert found.learned <= 1.05 * best


@dataclass(frozen=True)
class Alone:
    """A layer, the function after it, and the shape of one image."""

    layer: Callable[[], nn.Module]
    after: Middle | nn.Module
    shape: tuple[int, ...]


IMAGE = (4, 6, 6)
LAYERS = {
    "conv": Alone(lambda: nn.Conv2d(4, 5, 3, padding=1), F.relu6, IMAGE),
    "depthwise": Alone(lambda: nn.Conv2d(4, 8, 3, groups=4, stride=2), F.relu, IMAGE),
    "grouped": Alone(lambda: nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.PReLU(6), IMAGE),
    "same": Alone(lambda: nn.Conv2d(4, 6, 2, padding="same", dilation=2), nn.LeakyReLU(0.1), IMAGE),
    "caps": Alone(lambda: nn.Conv2d(4, 5, 1), ClippedReLU(torch.linspace(0.05, 0.8, 5)), IMAGE),
    "tokens": Alone(lambda: nn.Linear(12, 5), lambda x: x, (6, 12)),
    "features of an image": Alone(lambda: nn.Linear(5, 3), F.relu, (3, 4, 5)),
}
TENSOR, CHANNEL, GROUP = Granularity
SPECS = {
    "2 bits a channel": QuantSpec(2, granularity=CHANNEL),
    "3 bits a tensor, asymmetric": QuantSpec(3, symmetric=False, granularity=TENSOR),
    "4 bits a group": QuantSpec(4, granularity=GROUP, group_size=2),
    "4 bits a group, asymmetric": QuantSpec(4, symmetric=False, granularity=GROUP, group_size=3),
    "8 bits a tensor": QuantSpec(8, granularity=TENSOR),
}


def alone(name: str) -> tuple[FloatGraph, Tensor]:
    case = LAYERS[name]
    torch.manual_seed(len(name))
    after = case.after
    parts = {"after": after} if isinstance(after, nn.Module) else {}
    model = Wired(lambda m, x: after(m.layer(x)), layer=case.layer(), **parts)
    return capture_graph(model.eval(), case.shape), torch.randn(20, *case.shape) + 0.3


@pytest.mark.parametrize("name", LAYERS)
def test_on_every_grid_the_learned_rounding_is_legal_and_never_worse(name: str) -> None:
    graph, inputs = alone(name)
    weight, wanted = graph.stored_tensor("layer.weight"), graph(inputs)
    for title, spec in SPECS.items():
        quantized = weights_alone(graph, spec)
        encoding = encoding_of(quantized, "layer")
        nearest = float((quantized(inputs) - wanted).double().square().mean())
        passing = AdaRound(iterations=40, rows=10_000, batch=256)
        (found,) = drain_steps(passing(graph, quantized, inputs.split(8))).layers
        learned = float((quantized(inputs) - wanted).double().square().mean())
        # all positions were drawn, so the errors are those of the whole network
        assert found.nearest == pytest.approx(nearest, rel=1e-4), title
        assert found.learned == pytest.approx(learned, rel=1e-4), title
        assert learned <= nearest * (1 + 1e-6), title

        written = quantized.graph.stored_tensor("layer.weight")
        assert torch.equal(encoding.fake_quantize(written), written), title
        codes = encoding.quantize(written)
        assert bool(((codes >= encoding.qmin) & (codes <= encoding.qmax)).all()), title
        lower = (weight / encoding.scale).floor() + encoding.zero_point
        ends = [c.clamp(encoding.qmin, encoding.qmax) for c in (lower, lower + 1)]
        assert bool(((codes == ends[0]) | (codes == ends[1])).all()), title
        moved = (codes != encoding.quantize(weight)).double().mean()
        assert found.flipped == pytest.approx(float(moved)), title


def test_coarse_grids_gain_from_learning() -> None:
    """Else "never worse" could be nearest rounding always."""
    for name in ("conv", "tokens", "caps"):
        graph, inputs = alone(name)
        inputs = 0.3 * inputs + torch.randn(20, *[1] * (inputs.dim() - 1))  # much in common
        quantized = weights_alone(graph, QuantSpec(3, granularity=CHANNEL))
        (found,) = drain_steps(FAST(graph, quantized, [inputs])).layers
        assert found.learned < 0.9 * found.nearest, name
        assert found.flipped > 0


def test_what_learning_makes_worse_stays_nearest() -> None:
    """A loss of rounding alone, and no steps to speak of: it ends where it started or worse."""
    graph, inputs = alone("conv")
    quantized = weights_alone(graph, QuantSpec(3))
    wanted = encoding_of(quantized, "layer").fake_quantize(graph.stored_tensor("layer.weight"))
    wild = AdaRound(iterations=3, learning_rate=50.0, warm_start=1.0)
    (found,) = drain_steps(wild(graph, quantized, [inputs])).layers
    assert found == Rounded("layer", found.nearest, found.nearest, 0.0)
    assert torch.equal(quantized.graph.stored_tensor("layer.weight"), wanted)


def two_layers(bits: int = 3) -> tuple[FloatGraph, QuantGraph, Tensor]:
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    graph, inputs = capture_graph(model, (6,)), torch.randn(256, 1) + 0.3 * torch.randn(256, 6)
    config = QuantConfig(LayerConfig(QuantSpec(bits), ACTIVATION_DEFAULT))
    return graph, quantize_graph(graph, config, drain_steps(Calibrate()(graph, [inputs]))), inputs


def test_each_layer_is_rounded_for_what_it_receives_from_quantized_layers() -> None:
    graph, quantized, inputs = two_layers()
    result = drain_steps(AdaRound(iterations=50, rows=256)(graph, quantized, [inputs]))
    second = result.layers[1]
    # by hand: the input is what the finished first layer gives on its grid
    first = F.linear(
        encoding_at(quantized, "input").fake_quantize(inputs),
        quantized.graph.stored_tensor("0.weight"),
        quantized.graph.stored_tensor("0.bias"),
    ).relu()
    received = encoding_at(quantized, "0").fake_quantize(first)
    target = F.linear(
        F.linear(inputs, graph.stored_tensor("0.weight"), graph.stored_tensor("0.bias")).relu(),
        graph.stored_tensor("2.weight"),
        graph.stored_tensor("2.bias"),
    ).relu()
    nearest = encoding_of(quantized, "2").fake_quantize(graph.stored_tensor("2.weight"))
    for weight, source, error in (
        (quantized.graph.stored_tensor("2.weight"), quantized.graph, second.learned),
        (nearest, graph, second.nearest),
    ):
        got = F.linear(received, weight, source.stored_tensor("2.bias")).relu()
        assert error == pytest.approx(float((got - target).double().square().mean()), rel=1e-4)


def encoding_at(quantized: QuantGraph, site: str) -> Encoding:
    found = quantized.quantizers[site].encoding
    assert found is not None
    return found


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    found = []
    for outside in (1, 2):  # other random numbers elsewhere change nothing
        graph, quantized, inputs = two_layers()
        torch.manual_seed(outside)
        before = torch.get_rng_state()
        result = drain_steps(AdaRound(iterations=30, rows=100)(graph, quantized, [inputs]))
        assert torch.equal(torch.get_rng_state(), before)
        found.append((result, quantized.graph.module.state_dict()))
    assert found[0][0] == found[1][0]
    for name, value in found[0][1].items():
        assert torch.equal(value, found[1][1][name]), name


def test_cancelled_midway_the_layers_done_stay_and_the_rest_is_nearest() -> None:
    graph, quantized, inputs = two_layers()
    nearest = quantized(inputs)
    steps = AdaRound(iterations=60, rows=256)(graph, quantized, [inputs])
    fractions = []
    for step in steps:
        fractions.append(step.fraction)
        if step.text.startswith("AdaRound: 2, step 25"):
            break
    steps.close()
    assert fractions == sorted(fractions)
    assert 1 / 3 < fractions[-1] < 2 / 3
    codes = encoding_of(quantized, "0")
    first = quantized.graph.stored_tensor("0.weight")
    assert torch.equal(codes.fake_quantize(first), first)
    assert not torch.equal(first, codes.fake_quantize(graph.stored_tensor("0.weight")))
    for name in ("2.weight", "4.weight"):
        assert torch.equal(quantized.graph.stored_tensor(name), graph.stored_tensor(name))
    after = quantized(inputs)
    assert bool(torch.isfinite(after).all())
    assert not torch.equal(after, nearest)


def test_layers_that_are_not_rounded_are_named_with_the_reason() -> None:
    def skipped(name: str, config: QuantConfig) -> dict[str, str]:
        graph, inputs = FoldBatchNorm()(graph_of(name)), CASES[name].inputs(2)
        quantized = quantize_graph(graph, config, drain_steps(Calibrate()(graph, [inputs])))
        result = drain_steps(AdaRound(iterations=1, rows=8)(graph, quantized, [inputs]))
        weighted = {layer.name for layer in graph.layers if layer.weight}
        assert weighted == {layer.layer for layer in result.layers} | set(result.skipped)
        return result.skipped

    plain = "it is neither a linear layer nor a plain 2-d convolution"
    change = QuantConfig().with_layer_change("0", SpecChange(bits=FLOAT_BITS))
    assert skipped("plain", change) == {"0": "its weight is float"}
    assert skipped("transposed", QuantConfig()) == {"0": plain}
    assert skipped("one-dimensional", QuantConfig()) == {"0": plain, "3": plain}
    shared = skipped("shared", QuantConfig())
    assert shared == dict.fromkeys(("conv", "conv_2"), "another operation shares its weight")


def test_settings_that_make_no_sense_and_missing_images_are_errors() -> None:
    wrong: tuple[Callable[[], AdaRound], ...] = (
        lambda: AdaRound(iterations=0),
        lambda: AdaRound(rows=0),
        lambda: AdaRound(batch=0),
    )
    for make in wrong:
        with pytest.raises(ValueError, match="must be at least 1"):
            make()
    graph, quantized, _ = two_layers()
    with pytest.raises(CalibrationError, match="at least one image"):
        drain_steps(AdaRound()(graph, quantized, []))


def test_the_rectified_sigmoid_by_hand() -> None:
    # sigmoid(ln 3) = 3/4; 1.2 * 3/4 - 0.1 = 0.8
    values = torch.tensor([0.0, 3.0, 1 / 3, 1e9, 1e-9]).log().tolist()[1:]
    found = rectified_sigmoid(torch.tensor([0.0, *values]))
    assert found.tolist() == pytest.approx([0.5, 0.8, 0.2, 1.0, 0.0], abs=1e-6)


def test_the_rounding_loss_by_hand() -> None:
    assert float(rounding_loss(torch.tensor([0.0, 1.0]), 20.0)) == 0.0
    assert float(rounding_loss(torch.tensor([0.5, 0.75, 1.0]), 2.0)) == 1 + (1 - 0.25)
    assert float(rounding_loss(torch.tensor([[0.75], [0.9]]), 3.0)) == pytest.approx(
        (1 - 0.125) + (1 - 0.512), rel=1e-6
    )


def test_beta_falls_from_20_to_2() -> None:
    passing = AdaRound()
    betas = [passing._annealed_beta(share / 10) for share in range(11)]
    assert (betas[0], betas[5], betas[10]) == pytest.approx((20.0, 11.0, 2.0))
    assert betas == sorted(betas, reverse=True)


def test_learning_starts_where_the_float_weight_is() -> None:
    graph, inputs = alone("conv")
    quantized = weights_alone(graph, QuantSpec(4, symmetric=False))
    layer, encoding = graph["layer"], encoding_of(quantized, "layer")
    samples = Samples(inputs.new_zeros(4, 1, 36), inputs.new_zeros(4, 5))
    problem = _Problem(graph, quantized, layer, encoding, samples)
    up = rectified_sigmoid(problem.start_variable().detach())
    rest = graph.stored_tensor("layer.weight") / encoding.scale
    rest = rest - rest.floor()
    assert torch.allclose(up, rest, atol=0.011)  # shares below 0.01 start at 0.01
    soft = problem.soft_weight(up)
    inside = graph.stored_tensor("layer.weight").clamp(encoding.low, encoding.high)
    assert float(((soft - inside) / encoding.scale).abs().max()) < 0.011


def test_results_hold_one_entry_a_layer_in_order() -> None:
    graph, quantized, inputs = two_layers(8)
    result: AdaRoundResult = drain_steps(AdaRound(iterations=1)(graph, quantized, [inputs]))
    assert [layer.layer for layer in result.layers] == ["0", "2", "4"]
    assert result.skipped == {}
