"""Smoothing: what shares scales, the float function kept, planted outlier channels recovered."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.evaluation.measures import sqnr_db
from quant.config import uniform_config
from quant.errors import CalibrationError
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.passes.smooth import Smooth, Smoothed, rescale_group
from quant.passes.smooth_groups import find_smooth_groups
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from tests.networks import CASES, Wired, graph_of

WIDTH = 8


class RootNorm(nn.Module):
    """RMSNorm written out, as in many language models: x / rms(x) * weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(WIDTH) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def gated_block() -> nn.Module:
    """RMSNorm before a gated perceptron: down(silu(gate(h)) * up(h)), with a residual."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        h = m.norm(x)
        return m.head(x + m.down(F.silu(m.gate(h)) * m.up(h)))

    parts = {name: nn.Linear(WIDTH, WIDTH, bias=False) for name in ("gate", "up", "down")}
    return Wired(wire, norm=RootNorm(), head=nn.Linear(WIDTH, 3), **parts)


def shuffled() -> nn.Module:
    """The channels of a layer norm are reversed before the linear layer."""
    return Wired(
        lambda m, x: m.head(m.norm(x).flip(-1)), norm=nn.LayerNorm(WIDTH), head=nn.Linear(WIDTH, 3)
    )


def bare_norm() -> nn.Module:
    """A layer norm without a weight."""
    return nn.Sequential(nn.LayerNorm(WIDTH, elementwise_affine=False), nn.Linear(WIDTH, 3))


@cache
def small(build: object) -> FloatGraph:
    torch.manual_seed(3)
    assert callable(build)
    return capture_graph(build().eval(), (5, WIDTH))


def inputs(count: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 5, WIDTH, generator=generator)


def pairs_of(graph: FloatGraph) -> set[tuple[str, tuple[str, ...]]]:
    return {(group.source, group.targets) for group in find_smooth_groups(graph)[0]}


def test_a_vision_transformer_has_its_norms_and_values_and_no_gelu() -> None:
    groups, others = find_smooth_groups(graph_of("fashion-vit"))
    found = {group.source: group.targets for group in groups}
    block = "blocks.0.attention"
    assert found["blocks.0.norm1"] == (f"{block}.query", f"{block}.key", f"{block}.value")
    assert found[f"{block}.value"] == (f"{block}.out",)
    assert found["blocks.0.norm2"] == ("blocks.0.fc1",)
    assert found["norm"] == ("classifier",)
    assert len(groups) == 16
    reasons = {one.source: one.reason for one in others}
    assert reasons["blocks.0.fc1"] == "gelu follows, which does not scale"
    assert reasons["blocks.0.fc2"] == "add follows, which does not scale"
    assert reasons["classifier"] == "its output is the network's"


def test_a_written_out_norm_and_the_gated_branch_are_found() -> None:
    found = pairs_of(small(gated_block))
    assert ("up", ("down",)) in found
    assert {"gate", "up"} in [set(targets) for _, targets in found]
    reasons = {one.source: one.reason for one in find_smooth_groups(small(gated_block))[1]}
    assert reasons["gate"] == "silu follows, which does not scale"


def test_fused_attention_has_its_value() -> None:
    assert ("v", ("out",)) in pairs_of(graph_of("attention"))


def with_outliers(graph: FloatGraph, size: float = 60.0) -> FloatGraph:
    """Return the graph with two wide channels in each group, of the same float function."""
    planted = graph.copy_graph()
    for group in find_smooth_groups(planted)[0]:
        scales = torch.ones(group.channels)
        scales[:2] = 1 / size
        rescale_group(planted, group, scales)
    return planted


def smooth(graph: FloatGraph, images: Tensor) -> Smoothed:
    return drain_steps(Smooth()(graph, [images]))


@pytest.mark.parametrize("name", ["gated-block", "attention", "fashion-vit"])
def test_outlier_channels_are_recovered_and_the_float_function_stays(name: str) -> None:
    graph = small(gated_block) if name == "gated-block" else FoldBatchNorm()(graph_of(name))
    images = inputs() if name == "gated-block" else CASES[name].inputs(12)
    planted = with_outliers(graph)
    wanted = graph(images)
    assert torch.allclose(planted(images), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    found = smooth(planted, images)
    change = (found.graph(images) - wanted).abs().max() / wanted.abs().max()
    assert float(change) <= 1e-4
    assert found.groups
    assert all(group.after < group.before for group in found.groups)

    def quality(one: FloatGraph) -> float:
        quantized = quantize_graph(
            one, uniform_config(8, 8), drain_steps(Calibrate()(one, [images]))
        )
        return sqnr_db(wanted, quantized(images))

    before, after, clean = quality(planted), quality(found.graph), quality(graph)
    assert after > before + 0.5 * (clean - before)
    assert after > clean - 3


def test_reordered_channels_are_refused_by_running_them() -> None:
    graph = small(shuffled)
    assert ("norm", ("head",)) in pairs_of(graph)
    found = smooth(graph, inputs())
    assert found.groups == ()
    assert "reordered" in {one.source: one.reason for one in found.others}["norm"]
    assert torch.equal(found.graph(inputs()), graph(inputs()))


def test_a_norm_without_a_weight_says_why_not() -> None:
    reasons = {one.source: one.reason for one in find_smooth_groups(small(bare_norm))[1]}
    assert reasons["0"] == "it has no weight of its own that can take a scale"


def test_without_images_smoothing_says_what_to_do() -> None:
    with pytest.raises(CalibrationError, match="at least one image"):
        drain_steps(Smooth()(graph_of("attention"), []))
