"""Smooth activations of transformers (SmoothQuant, Xiao et al. 2023): outliers go to weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.encoding import encode_range
from quant.errors import CalibrationError
from quant.graph.float_graph import FloatGraph
from quant.graph.walk import Walk
from quant.inputs import Inputs, first_output_of, split_batch
from quant.passes.equalize import tidy_graph
from quant.passes.smooth_groups import NotSmoothed, SmoothGroup, find_smooth_groups
from quant.progress import Progress, Steps
from quant.ranges.estimators import encode_weight
from quant.spec import Granularity, QuantSpec

STRENGTHS = (0.0, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
MOST_ROWS = 1024
LAW = 1e-4
"""The float function may change by this share of the largest output."""
SMALLEST, LARGEST = 1e-4, 1e4
"""Bounds of a scale: beyond them float32 loses digits (our choice)."""
CHECKED = 4  # inputs on which the float function is compared


@dataclass(frozen=True, slots=True)
class SmoothedGroup:
    """A group, the strength found for the group, and the error of products before and after.

    `before` and `after` are mean squares of the error, as shares of the mean square of the output.
    """

    group: SmoothGroup
    strength: float
    before: float
    after: float


@dataclass(frozen=True, eq=False, slots=True)
class Smoothed:
    """The smoothed graph, the rescaled groups, and the sources left alone, with the reason."""

    graph: FloatGraph
    groups: tuple[SmoothedGroup, ...]
    others: tuple[NotSmoothed, ...]


@dataclass(frozen=True, slots=True)
class Smooth:
    """Divide channels of activations by s and multiply the weights behind by s; exact in float.

    s_j = max|X_j|^a / max|W_j|^(1 - a) over the images (SmoothQuant, equation 4), scaled to a
    geometric mean of 1. The migration strength a is searched per group: of eight strengths and no
    scaling, the choice with the least error of products of quantized inputs and weights wins.
    Weights are rounded to `weight_bits` with a scale per channel or, with `per_tensor`, a single
    scale.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    per_tensor: bool = False

    def __call__(self, graph: FloatGraph, batches: Sequence[Inputs]) -> Steps[Smoothed]:
        """Return a smoothed copy of a graph.

        Raises:
            CalibrationError: the batches hold no image.
        """
        if not batches:
            raise CalibrationError("Smoothing needs at least one image; got none. Bring some.")
        result = graph.copy_graph()
        groups, others = find_smooth_groups(result)
        exact, refused = _exact_groups(result, groups, batches[0])
        walk = Walk(graph.module, batches)
        done: list[SmoothedGroup] = []
        order = {layer.name: place for place, layer in enumerate(graph.layers)}
        received: dict[str, Tensor] = {}  # by two groups, such as a gate and what it multiplies
        for number, group in enumerate(sorted(exact, key=lambda one: order[one.targets[0]])):
            yield Progress(number / len(exact), f"Smoothing {group.source}")
            first = group.targets[0]
            rows = received.get(first)
            if rows is None:
                rows = _rows(walk.input_of_node(graph[first].node))
            found, scales = self._search(result, group, rows)
            if scales is not None:
                rescale_group(result, group, scales)
                rows = rows / scales
                done.append(found)
            received[first] = rows
        return Smoothed(tidy_graph(result), tuple(done), (*others, *refused))

    def _search(
        self, graph: FloatGraph, group: SmoothGroup, rows: Tensor
    ) -> tuple[SmoothedGroup, Tensor | None]:
        """Return the best strength and scales (C,); None if no scaling is best."""
        weight = torch.cat([_weight(graph, name) for name in group.targets])
        wanted = rows @ weight.T
        signal = max(float(wanted.double().square().mean()), 1e-30)

        def error(scales: Tensor) -> float:
            inputs, weights = rows / scales, weight * scales
            got = self._rounded_inputs(inputs) @ self._rounded_weights(weights).T
            return float((got - wanted).double().square().mean()) / signal

        before = error(torch.ones(group.channels))
        tried = [(strength, _scales(rows, weight, strength)) for strength in STRENGTHS]
        errors = [error(scales) for _, scales in tried]
        best = min(range(len(tried)), key=errors.__getitem__)
        found = SmoothedGroup(group, tried[best][0], before, errors[best])
        return found, tried[best][1] if errors[best] < before else None

    def _rounded_inputs(self, inputs: Tensor) -> Tensor:
        spec = QuantSpec(self.activation_bits, symmetric=False)
        return encode_range(inputs.min(), inputs.max(), spec).fake_quantize(inputs)

    def _rounded_weights(self, weight: Tensor) -> Tensor:
        grain = Granularity.PER_TENSOR if self.per_tensor else Granularity.PER_CHANNEL
        return encode_weight(weight, QuantSpec(self.weight_bits, granularity=grain)).fake_quantize(
            weight
        )


def _scales(rows: Tensor, weight: Tensor, strength: float) -> Tensor:
    """Return s (C,) of a strength; a channel without inputs or weights keeps 1."""
    inputs, weights = rows.abs().amax(0), weight.abs().amax(0)
    alive = (inputs > 0) & (weights > 0)
    logs = strength * inputs.clamp(min=1e-30).log()
    logs = logs - (1 - strength) * weights.clamp(min=1e-30).log()
    logs = torch.where(alive, logs - logs[alive].mean(), torch.zeros_like(logs))
    return logs.exp().clamp(SMALLEST, LARGEST)


def _rows(values: list[Tensor]) -> Tensor:
    """Return evenly spaced rows (R, C) of inputs (N, ..., C)."""
    rows = torch.cat([value.detach().flatten(0, -2) for value in values])
    return rows[:: -(-len(rows) // MOST_ROWS)]


def _weight(graph: FloatGraph, layer: str) -> Tensor:
    return graph.stored_tensor(str(graph[layer].weight)).detach()


@torch.no_grad()
def rescale_group(graph: FloatGraph, group: SmoothGroup, scales: Tensor) -> None:
    """Divide channel i of the source by scales[i] (C,), and multiply the targets, in place."""
    for target in group.holders:
        held = graph.stored_tensor(target)
        vector = held.numel() == group.channels
        held.div_(scales.reshape(held.shape if vector else (-1, 1)))
    for name in group.targets:
        _weight(graph, name).mul_(scales)


def _exact_groups(
    graph: FloatGraph, groups: Sequence[SmoothGroup], batch: Inputs
) -> tuple[list[SmoothGroup], list[NotSmoothed]]:
    """Return the groups that keep the float function under arbitrary scales, and the rest.

    Reshapes between may reorder channels; only a run of the network is certain.
    """
    inputs = next(iter(split_batch(batch, CHECKED))) if graph.batch is None else batch
    wanted = first_output_of(graph.run(inputs))

    def keeps(some: Sequence[SmoothGroup]) -> bool:
        trial = graph.copy_graph()
        generator = torch.Generator().manual_seed(0)
        for group in some:
            scales = torch.exp2(2 * torch.rand(group.channels, generator=generator) - 1)
            rescale_group(trial, group, scales)
        change = (first_output_of(trial.run(inputs)) - wanted).abs().max()
        return float(change) <= LAW * max(float(wanted.abs().max()), 1e-30)

    if keeps(groups):
        return list(groups), []
    exact = [group for group in groups if keeps([group])]
    reason = "its channels are reordered on the way, so the float function would change"
    return exact, [NotSmoothed(one.source, reason) for one in groups if one not in exact]
