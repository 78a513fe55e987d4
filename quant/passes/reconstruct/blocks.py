"""Blocks of a graph: stretches between values that all later computation passes through."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor, fx
from torch.fx.node import Argument

from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import WEIGHTED, is_shared_argument
from quant.graph.layers import Layer, shape_of_node
from quant.graph.node_facts import facts_of_node
from quant.simulation.quant_graph import QuantGraph

MOST_LAYERS = 3
"""Neighbouring stretches join up to this number of layers with weights (our choice): three are a
block of MobileNet, and a basic block of ResNet with the shortcut's convolution."""


@dataclass(frozen=True, slots=True)
class LayerBlock:
    """A stretch of a network that learns together.

    `start` is the layer whose output enters; empty for the inputs of the network. `end` is the
    layer whose output leaves; empty for the outputs of the network. `layers` are the layers with
    weights inside, in order.
    """

    start: str
    end: str
    layers: tuple[str, ...]

    @property
    def title(self) -> str:
        """The block in words, by the first and the last layer."""
        if not self.layers:
            return self.end or "the outputs"
        first, last = self.layers[0], self.layers[-1]
        return first if first == last else f"{first} to {last}"

    def without_layers(self, names: Collection[str]) -> "LayerBlock":
        """Return the block with fewer layers that learn."""
        return replace(self, layers=tuple(name for name in self.layers if name not in names))


def find_cut_layers(graph: FloatGraph) -> tuple[str, ...]:
    """Return the layers through whose output all later computation passes, in order.

    A node is such a cut if no other value behind a weight waits for a reader when the node has run.
    Values that depend on the inputs alone, such as masks, are computed anew where they are needed
    and cut nothing. The first axis of a cut's value must count the samples.
    """
    outputs = {layer.output: layer.name for layer in graph.layers}
    weighted = {layer.node for layer in graph.layers if layer.weight is not None}
    behind: set[fx.Node] = set()
    readers: dict[fx.Node, int] = {}
    waiting: set[fx.Node] = set()
    cuts: list[str] = []
    for node in graph.module.graph.nodes:
        sources = node.all_input_nodes
        for source in sources:
            if source in waiting:
                readers[source] -= 1
                if not readers[source]:
                    waiting.discard(source)
        if node.name in weighted or any(source in behind for source in sources):
            behind.add(node)
            if node.users:
                readers[node] = len(node.users)
                waiting.add(node)
        if waiting == {node} and node.name in outputs and _counts_samples(node):
            cuts.append(outputs[node.name])
    return tuple(cuts)


def _counts_samples(node: fx.Node) -> bool:
    shape = shape_of_node(node)
    return len(shape) > 1 and shape[0] == 1 and bool(facts_of_node(node).real)


def find_blocks(graph: FloatGraph, most_layers: int = MOST_LAYERS) -> tuple[LayerBlock, ...]:
    """Return the blocks of a graph, in order; each layer with a weight is in one block.

    A stretch between two cuts is never divided. Neighbouring stretches join as long as the block
    has at most `most_layers` layers with weights.
    """
    stretches = list(_stretches(graph))
    blocks: list[LayerBlock] = []
    for stretch in stretches:
        last = blocks[-1] if blocks else None
        joined = (*last.layers, *stretch.layers) if last is not None else ()
        if last is not None and (
            len(joined) <= most_layers or not last.layers or not stretch.layers
        ):
            blocks[-1] = LayerBlock(last.start, stretch.end, joined)
        else:
            blocks.append(stretch)
    return tuple(block for block in blocks if block.layers)


def _stretches(graph: FloatGraph) -> Iterator[LayerBlock]:
    """Yield the stretches between neighbouring cuts; some hold no layer with a weight."""
    cuts, start = set(find_cut_layers(graph)), ""
    inside: list[str] = []
    last = graph.output_nodes[0].name if len(graph.output_nodes) == 1 else ""
    end = None
    for layer in graph.layers:
        if learns(layer):
            inside.append(layer.name)
        if layer.name in cuts:
            end = "" if layer.output == last else layer.name
            yield LayerBlock(start, end, tuple(inside))
            start, inside = layer.name, []
    if end != "":  # what follows the last cut, if only a reshape
        yield LayerBlock(start, "", tuple(inside))


def site_node(quantized: QuantGraph, layer: str) -> fx.Node:
    """Return the node of the quantizer behind a layer's output.

    Raises:
        KeyError: the layer has no quantizer.
    """
    for node in quantized.module.graph.nodes:
        if node.op == "call_module" and facts_of_node(node).site == layer:
            found: fx.Node = node
            return found
    raise KeyError(f"The output of {layer!r} has no quantizer.")


def learns(layer: Layer) -> bool:
    """Tell whether the rounding of the layer's weight can learn."""
    return layer.kind in WEIGHTED and layer.weight is not None


def shared_biases(graph: FloatGraph) -> Iterator[str]:
    """Yield the names of biases that several operations read."""
    for layer in graph.layers:
        if layer.bias is not None and is_shared_argument(graph.node_named(layer.node), 2):
            yield layer.bias


class BlockRun:
    """Runs the nodes of a block: from the value that enters and the network's inputs to the ends.

    `start` is the node of the entering value, or None; `ends` are the nodes of the results. Nodes
    that do not depend on `start` are computed from the inputs.
    """

    def __init__(
        self, module: fx.GraphModule, start: fx.Node | None, ends: Sequence[fx.Node]
    ) -> None:
        self.module, self.start, self.ends = module, start, tuple(ends)
        needed: set[fx.Node] = set()
        stack = list(self.ends)
        while stack:
            node = stack.pop()
            if node in needed or node is start:
                continue
            needed.add(node)
            stack.extend(node.all_input_nodes)
        self.nodes = [node for node in module.graph.nodes if node in needed]
        self.inputs = [node for node in module.graph.nodes if node.op == "placeholder"]

    @property
    def site_names(self) -> set[str]:
        """The sites whose quantizers run."""
        return {facts_of_node(node).site for node in self.nodes if node.op == "call_module"}

    def __call__(self, entering: Tensor | None, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the values of the ends, shapes (N, ...), for an entering value (N, ...)."""
        values: dict[fx.Node, Argument] = dict(zip(self.inputs, inputs, strict=True))
        if self.start is not None:
            values[self.start] = entering
        for node in self.nodes:
            if node not in values:
                values[node] = self._value_of_node(node, values)
        return tuple(cast("Tensor", values[node]) for node in self.ends)

    def _value_of_node(self, node: fx.Node, values: Mapping[fx.Node, Argument]) -> Argument:
        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            return cast("Tensor", getattr(self.module.get_submodule(owner), name))
        arguments = fx.node.map_arg(node.args, lambda one: values[one])
        keywords = fx.node.map_arg(node.kwargs, lambda one: values[one])
        if node.op == "call_module":
            module = self.module.get_submodule(str(node.target))
            return cast("Tensor", module(*arguments, **keywords))
        result = node.target(*arguments, **keywords)  # type: ignore[operator]
        return cast("Argument", result)


def plain_run(graph: FloatGraph, block: LayerBlock) -> BlockRun:
    """Return the float form of a block."""
    start = graph.node_named(graph[block.start].output) if block.start else None
    ends = (graph.node_named(graph[block.end].output),) if block.end else graph.output_nodes
    return BlockRun(graph.module, start, ends)


def rounded_run(quantized: QuantGraph, block: LayerBlock) -> BlockRun:
    """Return the simulated form of a block, from quantizer to quantizer."""
    start = site_node(quantized, block.start) if block.start else None
    ends = (site_node(quantized, block.end),) if block.end else quantized.graph.output_nodes
    return BlockRun(quantized.module, start, ends)
