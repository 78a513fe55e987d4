"""Stored real tensors in products but without an encoding: float at any width."""

from dataclasses import dataclass

from torch import fx

from quant.graph import operators as ops
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer
from quant.graph.node_facts import facts_of_node, shape_from_facts
from quant.graph.operator_classes import OperatorClass, class_of_operator
from quant.graph.operators import operator_name, weight_argument_position

FACTOR = "it scales values element by element, which is no layer with a weight"
OPERAND = "the operation takes it in a place that is no weight of a layer"
UNKNOWN = "the operation is none that has weights with encodings here"
COMPUTED = "it is computed at every run from stored tensors alone"


_MULTIPLYING = (OperatorClass.PRODUCT, OperatorClass.FACTOR)


@dataclass(frozen=True, slots=True)
class FloatWeight:
    """A tensor without an encoding, float at any width.

    Attributes:
        tensor: path of the tensor in the network; for a computed tensor the name of the node.
        layer: the layer, or else the operation, with the tensor as an operand.
        elements: number of elements.
        reason: why the tensor has no encoding.
    """

    tensor: str
    layer: str
    elements: int
    reason: str

    def sentence(self) -> str:
        """Return a sentence about the tensor for people."""
        what = f"{self.tensor} ({self.elements} numbers, read by {self.layer})"
        return f"{what} stays float: {self.reason}."


def find_float_weights(graph: FloatGraph) -> tuple[FloatWeight, ...]:
    """Return the real tensors in products that depend on no input and have no encoding.

    Biases are not factors. Tensors of norms belong to layers computed in float.

    Example:
        >>> from torch import nn
        >>> from quant.graph.capture import capture_graph
        >>> find_float_weights(capture_graph(nn.Sequential(nn.Linear(4, 2)), (4,)))
        ()
    """
    layers = {layer.node: layer for layer in graph.layers}
    known = {layer.weight for layer in graph.layers if layer.weight}
    constant = _constant_real_nodes(graph)
    found: dict[str, FloatWeight] = {}
    for node in graph.module.graph.nodes:
        name = operator_name(node)
        if class_of_operator(name) not in _MULTIPLYING:
            continue
        layer = layers.get(node.name)
        for source in node.all_input_nodes:
            tensor = str(source.target) if source.op == "get_attr" else source.name
            if source not in constant or tensor in known or _is_bias_operand(node, source):
                continue
            elements = (
                graph.stored_tensor(tensor).numel()
                if source.op == "get_attr"
                else _node_element_count(source)
            )
            if elements > 1:
                one = FloatWeight(
                    tensor, _place_in_words(node, layer), elements, _reason_in_words(node, source)
                )
                found.setdefault(tensor, one)
    return tuple(found.values())


def summarize_float_weights(weights: tuple[FloatWeight, ...]) -> tuple[str, ...]:
    """Return a sentence for each reason, with the first tensors by name."""
    by_reason: dict[str, list[FloatWeight]] = {}
    for one in weights:
        by_reason.setdefault(one.reason, []).append(one)
    return tuple(_group_sentence(reason, group) for reason, group in by_reason.items())


def _group_sentence(reason: str, group: list[FloatWeight]) -> str:
    if len(group) == 1:
        return group[0].sentence()
    named = ", ".join(one.tensor for one in group[:3])
    more = f" and {len(group) - 3} more" if len(group) > 3 else ""
    total = sum(one.elements for one in group)
    return f"{named}{more} ({total} numbers) stay float, for each of them: {reason}."


def _constant_real_nodes(graph: FloatGraph) -> set[fx.Node]:
    """Return the nodes with real values independent of the inputs' values; sizes may count."""
    found: set[fx.Node] = set()
    for node in graph.module.graph.nodes:
        tensors = [one for one in ops.value_inputs(node) if facts_of_node(one).real is not None]
        computed = node.op == "call_function" and tensors
        if node.op == "get_attr" or (computed and all(one in found for one in tensors)):
            found.add(node)
    return {node for node in found if facts_of_node(node).real}


def _is_bias_operand(node: fx.Node, source: fx.Node) -> bool:
    """Tell whether a layer adds the tensor, or a recurrent layer starts from the tensor."""
    if operator_name(node) in ops.RECURRENCES:
        places = (1, *ops.borrowed_weight_positions(operator_name(node)))
        return not any(node.args[place] is source for place in places if place < len(node.args))
    adds = operator_name(node) in ops.CONVOLUTIONS | ops.LINEARS
    return adds and len(node.args) > 2 and node.args[2] is source


def _place_in_words(node: fx.Node, layer: Layer | None) -> str:
    if layer is not None:
        return layer.name
    path = facts_of_node(node).path
    verb = operator_name(node).split(".")[1]
    return f"{path}.{verb}" if path else verb


def _reason_in_words(node: fx.Node, source: fx.Node) -> str:
    name = operator_name(node)
    if source.op != "get_attr":
        return COMPUTED
    if class_of_operator(name) is OperatorClass.FACTOR:
        return FACTOR
    weighted = name in ops.CONVOLUTIONS | ops.LINEARS | ops.EMBEDDINGS
    if weighted and node.args[weight_argument_position(name)] is not source:
        return OPERAND
    return OPERAND if name in ops.MATMULS | ops.EINSUMS | ops.ATTENTIONS else UNKNOWN


def _node_element_count(node: fx.Node) -> int:
    count = 1
    for size in shape_from_facts(node):
        count *= size
    return count
