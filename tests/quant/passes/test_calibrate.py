"""Calibration: statistics of the float network, from a stream, with progress."""

import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from quant.errors import CalibrationError
from quant.graph.capture import capture_graph
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import Progress, drain_steps
from quant.ranges.statistics import LOGIT_ROWS, Statistics
from tests.networks import CASES, SAMPLES, graph_of

INPUTS = CASES["kitchen"].inputs(20)


def same(one: Statistics, other: Statistics) -> bool:
    return (
        (one.count, one.zeros, one.low, one.high)
        == (other.count, other.zeros, other.low, other.high)
        and one.exponent == other.exponent
        and torch.equal(one.counts, other.counts)
    )


def collected(values: Tensor) -> Statistics:
    statistics = Statistics()
    statistics.collect(values)
    return statistics


def test_statistics_are_those_of_the_modules_own_activations() -> None:
    model = CASES["kitchen"].model()
    seen: dict[str, list[Tensor]] = {"input": [INPUTS]}

    def keep(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _, __, y: seen.setdefault(name, []).append(y.clone()))

    for name, module in model.named_modules():
        keep(name, module)
    with torch.no_grad():
        for batch in INPUTS.split(7):
            model(batch)
    found = drain_steps(Calibrate()(graph_of("kitchen"), INPUTS.split(7)))
    relu = seen.pop("relu")  # called after the first batch norm and after the sum
    whole = {name: torch.cat(parts) for name, parts in seen.items()}
    wanted = {name: whole[name] for name in ("input", "conv1", "conv2", "bn2", "left", "linear")}
    wanted |= {
        "bn1": torch.cat(relu[::2]),
        "add": torch.cat(relu[1::2]),
        "right.0": whole["right.1"],
        "cat": torch.cat([whole["left"], whole["right"]], 1),
        "average_pool": whole["average_pool"],
    }
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert same(found[name], collected(values)), name


@pytest.mark.parametrize("name", SAMPLES)
def test_every_activation_site_of_the_samples_gets_all_its_values(name: str) -> None:
    graph = FoldBatchNorm()(graph_of(name))
    found = drain_steps(Calibrate()(graph, CASES[name].inputs(2).split(1)))
    for layer in graph.layers:
        assert found[layer.name].count == 2 * torch.Size(layer.shape).numel()


def test_the_size_of_batches_does_not_matter() -> None:
    graph = FoldBatchNorm()(graph_of("kitchen"))
    one, other = (drain_steps(Calibrate()(graph, INPUTS.split(size))) for size in (20, 20))
    assert all(same(one[name], other[name]) for name in one)
    # other sizes may take other kernels, which round otherwise; the counts barely move
    small = drain_steps(Calibrate()(graph, INPUTS.split(3)))
    for name, found in small.items():
        assert found.count == one[name].count
        assert int((found.counts - one[name].counts).abs().sum()) <= 0.01 * found.count


def test_images_are_streamed_and_none_is_kept() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def images() -> Iterator[Tensor]:
        for batch in range(6):
            fresh = torch.randn(5, 3, 8, 8)
            alive.append(weakref.ref(fresh))
            yield fresh
            del fresh
            assert sum(ref() is not None for ref in alive) <= 2, batch

    stream = images()
    found = drain_steps(Calibrate()(graph_of("kitchen"), stream))
    assert found["input"].count == 30 * 3 * 8 * 8
    assert next(stream, None) is None


def test_progress_never_falls_and_ends_at_one() -> None:
    steps = list(Calibrate(total=20)(graph_of("kitchen"), INPUTS.split(6)))
    assert [step.fraction for step in steps] == [0.3, 0.6, 0.9, 1.0]
    assert [step.text for step in steps] == [f"Calibrating: {n} images" for n in (6, 12, 18, 20)]


@pytest.mark.parametrize("total", [0, 7])
def test_progress_stays_within_one_where_the_total_is_unknown_or_too_small(total: int) -> None:
    steps = list(Calibrate(total)(graph_of("kitchen"), INPUTS.split(6)))
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_no_image_is_an_error() -> None:
    with pytest.raises(CalibrationError, match="needs at least one image; got none"):
        drain_steps(Calibrate()(graph_of("kitchen"), []))


def test_a_network_that_overflows_is_an_error_in_a_sentence() -> None:
    graph = capture_graph(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), (3,))
    with pytest.raises(CalibrationError, match="must be finite numbers"):
        drain_steps(Calibrate()(graph, [torch.full((1, 3), torch.nan)]))


def test_the_graph_stays_as_it_was_and_takes_no_gradients() -> None:
    graph = graph_of("kitchen").copy_graph()
    wanted = graph(INPUTS)
    drain_steps(Calibrate()(graph, [INPUTS]))
    assert torch.equal(graph(INPUTS), wanted)
    assert all(parameter.grad is None for parameter in graph.module.parameters())


def test_calibration_can_be_stopped_half_way() -> None:
    work = Calibrate(total=20)(graph_of("kitchen"), INPUTS.split(5))
    assert next(work) == Progress(0.25, "Calibrating: 5 images")
    work.close()
    assert torch.is_inference_mode_enabled() is False
    assert torch.is_grad_enabled()


def test_rows_are_kept_for_the_networks_output_alone() -> None:
    inputs = CASES["plain"].inputs(LOGIT_ROWS + 40)
    graph = graph_of("plain")
    found = drain_steps(Calibrate()(graph, inputs.split(100)))
    assert {name for name, s in found.items() if s.rows is not None} == {"8"}
    rows = found["8"].rows
    assert rows is not None
    with torch.no_grad():
        assert torch.allclose(rows, graph(inputs)[:LOGIT_ROWS], atol=1e-5)


class Pooled(nn.Module):
    """A classifier whose last layer is a convolution: what follows only moves its values."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.classes = nn.Conv2d(4, 5, 6)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.body(x))
        return logits.flatten(1).clone()


def test_the_rows_of_logits_are_kept_where_functions_that_move_values_follow() -> None:
    inputs = torch.randn(6, 3, 8, 8)
    graph = capture_graph(Pooled().eval(), (3, 8, 8))
    found = drain_steps(Calibrate()(graph, inputs.split(4)))
    rows = found["classes"].rows
    assert rows is not None
    assert torch.equal(rows, graph(inputs))
    assert found["body"].rows is None
