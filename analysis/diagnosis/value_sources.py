"""The layer that gives a value its encoding, before slices and other moves of the value."""

from torch import fx

from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer
from quant.graph.operators import is_pass_through


def layers_by_output(graph: FloatGraph) -> dict[str, Layer]:
    """Return the layers of a graph by the node with the encoded value."""
    return {layer.output: layer for layer in graph.layers}


def layer_before(node: fx.Node, by_output: dict[str, Layer]) -> Layer | None:
    """Return the layer whose encoding a node's value has; None where the value has none."""
    while node.name not in by_output:
        if not is_pass_through(node) or not node.all_input_nodes:
            return None
        node = node.all_input_nodes[0]
    return by_output[node.name]
