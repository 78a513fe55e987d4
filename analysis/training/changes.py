"""What a training changed: encodings, whole numbers of the weights, and widths of channels."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.runs.apply_recipe import Stage
from quant.encoding import Encoding
from quant.simulation.plan import Side, weight_site_name
from quant.training.state.trained_state import TrainedState

HISTOGRAM_BINS = 81


@dataclass(frozen=True, slots=True)
class EncodingChange:
    """The range of a tensor's encoding before and after a training.

    `moved` is the share of the weights with another whole number; None for an activation. A weight
    with a scale per channel has the range of all channels.
    """

    site: str
    layer: str
    side: Side
    before: tuple[float, float]
    after: tuple[float, float]
    moved: float | None = None

    @property
    def growth(self) -> float:
        """The width of the range after training over the width before."""
        width = self.before[1] - self.before[0]
        return (self.after[1] - self.after[0]) / width if width else 1.0


@dataclass(frozen=True, slots=True)
class CodeHistogram:
    """Shares of a layer's weights by value in steps of the encoding: before, and after training."""

    layer: str
    edges: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def list_encoding_changes(start: Stage, state: TrainedState) -> Iterator[EncodingChange]:
    """Yield the change of each encoding, in the order of the network's sites."""
    for site in start.quantized.sites:
        before, after = (
            start.quantized.quantizers[site.name].encoding,
            state.encodings.get(site.name),
        )
        if before is None or after is None:
            continue
        moved = None
        if site.side is Side.WEIGHTS:
            old, new = _codes_before_and_after(start, state, site.layer, before, after)
            moved = float((old != new).float().mean())
        yield EncodingChange(
            site.name, site.layer, site.side, _range_of(before), _range_of(after), moved
        )


def weight_histogram(start: Stage, state: TrainedState, layer: str) -> CodeHistogram | None:
    """Return the weights of a layer in steps, before and after; None without an encoding.

    The middle of each step is a whole number: peaks there are weights at rest, and weights between
    two peaks are those that may jump.
    """
    site = weight_site_name(layer)
    before, after = start.quantized.quantizers[site].encoding, state.encodings.get(site)
    target = start.network.graph[layer].weight
    if before is None or after is None or target is None:
        return None
    values = (
        _weight_of(start, target).div(before.scale).flatten(),
        _trained_weight(start, state, target).div(after.scale).flatten(),
    )
    low = min(before.qmin, after.qmin) - 1.0
    high = max(before.qmax, after.qmax) + 1.0
    edges = torch.linspace(low, high, HISTOGRAM_BINS + 1)
    counts = [torch.histc(one.clamp(low, high), HISTOGRAM_BINS, low, high) for one in values]
    first, second = (tuple((one / one.sum()).tolist()) for one in counts)
    return CodeHistogram(layer, tuple(edges.tolist()), first, second)


def _codes_before_and_after(
    start: Stage, state: TrainedState, layer: str, before: Encoding, after: Encoding
) -> tuple[Tensor, Tensor]:
    """Return the whole numbers of a layer's weight, two tensors of the weight's shape."""
    target = str(start.network.graph[layer].weight)
    old = before.quantize(_weight_of(start, target))
    return old, after.quantize(_trained_weight(start, state, target))


def _weight_of(start: Stage, target: str) -> Tensor:
    """Return the weight with a name before training, of any shape."""
    return start.quantized.graph.stored_tensor(target).detach()


def _trained_weight(start: Stage, state: TrainedState, target: str) -> Tensor:
    """Return the weight with a name after training, of any shape."""
    found = state.tensors.get(target)
    return _weight_of(start, target) if found is None else found


def _range_of(encoding: Encoding) -> tuple[float, float]:
    """Return the least and the greatest value of an encoding over its channels."""
    return float(encoding.low.min()), float(encoding.high.max())
