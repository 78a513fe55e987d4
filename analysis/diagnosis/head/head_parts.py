"""The parts of a detector's head: which tensors meet in an output, with what ranges.

A head often joins boxes in pixels and scores of 0 to 1 by a concat, and one encoding of 8 bits for
0 to 640 leaves a score two codes. The parts are found from the outputs back, through operations
that move values, so the boxes and scores of any concat before an output are told apart.
"""

from dataclasses import dataclass
from enum import StrEnum

from analysis.diagnosis.value_sources import layer_before, layers_by_output
from analysis.ranges.distributions import Distribution
from analysis.ranges.tensors import RangeBook
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer
from quant.graph.operators import SOFTMAXES, Kind, aten_operator_names
from quant.graph.operators import operator_name as name_of

SIGMOIDS = aten_operator_names("sigmoid.default hardsigmoid.default")
MIXED = 8.0
"""Parts whose ranges differ by this factor lose 3 of 8 bits in one encoding (our choice)."""


class PartRole(StrEnum):
    """What a part of a head holds."""

    SCORES = "scores"
    BOXES = "boxes"
    CLASSES = "classes"


@dataclass(frozen=True, slots=True)
class HeadPart:
    """A tensor that meets others in an output.

    Attributes:
        output: number of the network's output.
        layer: the layer with the part's own encoding.
        concat: the concat that joins the part with others; "" for an output of its own.
        role: what the part holds, by its range and operation.
        low: the smallest value.
        high: the largest value.
    """

    output: int
    layer: str
    concat: str
    role: PartRole
    low: float
    high: float

    @property
    def reach(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, slots=True)
class DetectorHead:
    """The parts of a head, and the concats that join unlike ranges.

    `decoding` names the layers behind the last weights, which turn raw numbers into boxes and
    scores; `sigmoids` those of them that are sigmoids.
    """

    parts: tuple[HeadPart, ...]
    mixed: tuple[str, ...]
    decoding: tuple[str, ...]
    sigmoids: tuple[str, ...]

    def codes_of_part(self, part: HeadPart, bits: int) -> float:
        """Return how many codes of the shared encoding a part's range covers, of 2 ** bits."""
        joined = [one for one in self.parts if one.concat == part.concat] if part.concat else [part]
        low = min(0.0, *(one.low for one in joined))
        high = max(0.0, *(one.high for one in joined))
        width = high - low
        return (2**bits - 1) * (part.high - part.low) / width + 1 if width > 0 else 1.0


def find_head(book: RangeBook) -> DetectorHead | None:
    """Return the head of a calibrated network; None without parts that meet in an output."""
    graph = book.graph
    by_output = layers_by_output(graph)
    parts: list[HeadPart] = []
    mixed: list[str] = []
    for number, node in enumerate(graph.output_nodes):
        layer = layer_before(node, by_output)
        if layer is None:
            continue
        for concat, sources in _joined_layers(graph, layer, by_output):
            found = [
                _part_of_layer(graph, number, source, concat, book.activations[source.name])
                for source in sources
                if source.name in book.activations
            ]
            parts += found
            reaches = [part.reach for part in found if part.reach > 0]
            if concat and len(reaches) > 1 and max(reaches) >= MIXED * min(reaches):
                mixed.append(concat)
    if len({part.layer for part in parts}) < 2:
        return None
    decoding = _layers_behind_weights(graph)
    sigmoids = tuple(
        name for name in decoding if name_of(graph.node_named(graph[name].node)) in SIGMOIDS
    )
    return DetectorHead(tuple(parts), tuple(dict.fromkeys(mixed)), decoding, sigmoids)


def _joined_layers(
    graph: FloatGraph, layer: Layer, by_output: dict[str, Layer]
) -> list[tuple[str, list[Layer]]]:
    """Return (concat, joined layers) of the concats before an output, or ("", the layer)."""
    if layer.kind is not Kind.CONCAT:
        return [("", [layer])]
    found: list[tuple[str, list[Layer]]] = []
    sources = []
    for node in graph.node_named(layer.node).all_input_nodes:
        source = layer_before(node, by_output)
        if source is None:
            continue
        sources.append(source)
        if source.kind is Kind.CONCAT:
            found += _joined_layers(graph, source, by_output)
    return [(layer.name, sources), *found]


def _part_of_layer(
    graph: FloatGraph, output: int, layer: Layer, concat: str, values: Distribution
) -> HeadPart:
    squashed = name_of(graph.node_named(layer.output)) in SIGMOIDS | SOFTMAXES
    role = PartRole.SCORES if squashed or 0 <= values.low <= values.high <= 1 else PartRole.BOXES
    return HeadPart(output, layer.name, concat, role, values.low, values.high)


def _layers_behind_weights(graph: FloatGraph) -> tuple[str, ...]:
    """Return the layers without a layer with weights behind them, and without weights."""
    before_weights: set[str] = set()
    for layer in reversed(graph.layers):
        if layer.weight is None and layer.output not in before_weights:
            continue
        pending = list(graph.node_named(layer.node).all_input_nodes)
        while pending:
            node = pending.pop()
            if node.name not in before_weights:
                before_weights.add(node.name)
                pending += node.all_input_nodes
    return tuple(
        layer.name
        for layer in graph.layers
        if layer.weight is None and layer.output not in before_weights and layer.inputs
    )
