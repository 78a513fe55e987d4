"""Encodings that can stand earlier than in the simulation, next to the operation, without effect.

A runtime computes an operation in integers only if the quantizer follows directly. Moves, and
limits on the encoding, can follow the quantizer: rounding is monotone and elementwise.
"""

from collections import defaultdict
from dataclasses import dataclass

from onnx import NodeProto

from model_io.onnx_export.float_onnx import MarkedOnnx
from model_io.onnx_export.moves_values import only_moves_values

_TAKEN_IN = frozenset({"Relu", "Clip"})
"""Runtimes take these in themselves, where the ends of the grid's type do the same."""
_LIMITS = frozenset({"Clip", "Max", "Min"})


@dataclass(frozen=True, slots=True)
class Early:
    """The site tensor with the encoding, for values that can have the encoding early.

    `limits` names the site tensor for nodes whose constant limits need rounding to the encoding.
    """

    tensors: dict[str, str]
    limits: dict[str, str]


def find_early_quantizers(marked: MarkedOnnx) -> Early:
    """Find the operations with only moves and limits between operation and site."""
    graph = marked.model.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    readers: defaultdict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for value in node.input:
            readers[value].append(node)
    makers = {node.name: node for node in graph.node}
    tensors: dict[str, str] = {}
    limits: dict[str, str] = {}
    for layer, name in marked.nodes.items():
        start, end = makers[name].output[0], marked.tensors[layer].name
        chain = _sole_reader_chain(start, end, readers)
        if not chain or all(node.op_type in _TAKEN_IN for node in chain):
            continue
        bounds = {node.name for node in chain if _is_limit_operation(node, held)}
        if all(node.name in bounds or only_moves_values(node, held) for node in chain):
            tensors[start] = end
            limits.update(dict.fromkeys(bounds, end))
    return Early(tensors, limits)


def _sole_reader_chain(
    start: str, end: str, readers: defaultdict[str, list[NodeProto]]
) -> list[NodeProto]:
    """Return the nodes from `start` to `end`; nothing if a value on the way has two readers."""
    chain: list[NodeProto] = []
    value = start
    while value != end:
        if len(readers[value]) != 1 or readers[value][0].input[0] != value:
            return []
        chain.append(readers[value][0])
        value = chain[-1].output[0]
    return chain


def _is_limit_operation(node: NodeProto, held: dict[str, object]) -> bool:
    return node.op_type in _LIMITS and all(not value or value in held for value in node.input[1:])
