"""The layers of a graph: operations with a choice of bits, and the functions fused with a layer."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, fx, nn

from quant.graph import operators as ops
from quant.graph.node_facts import facts_of_node, shape_from_facts
from quant.graph.operators import Kind, operator_name

INPUT_LAYER = "input"
"""Name of the layer for the only real input; several inputs get `INPUT_PREFIX` and a name."""
INPUT_PREFIX = f"{INPUT_LAYER}:"


def layer_count(count: int) -> str:
    """Return a number of layers in words.

    >>> layer_count(1)
    '1 layer'
    """
    return f"{count} {'layer' if count == 1 else 'layers'}"


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation with a choice of bits, and the functions fused with the operation.

    Shapes hold for one image: the batch axis of `shape` and `input_shapes` is 1.

    Attributes:
        name: the path shown to people.
        kind: the operation's kind.
        node: the operation.
        output: the node of the layer's result.
        inputs: the nodes of the layer's inputs.
        shape: shape of the output, (1, C, H, W) for a convolution.
        input_shapes: shapes of the inputs.
        weight: path of the weight; None without a stored weight.
        bias: path of the bias; None without a stored bias.
        weight_shape: shape of the weight, (O, I, kh, kw) for a convolution.
        channel_axis: axis of output channels in the weight.
        parameters: number of weights and biases.
        macs: multiply-accumulates for one image.
    """

    name: str
    kind: Kind
    node: str
    output: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    input_shapes: tuple[tuple[int, ...], ...] = ()
    weight: str | None = None
    bias: str | None = None
    weight_shape: tuple[int, ...] = ()
    channel_axis: int = 0
    parameters: int = 0
    macs: int = 0


def shape_of_node(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of the node's value for a batch of 1; empty for values but tensors."""
    return shape_from_facts(node)


def is_activation_node(node: fx.Node) -> bool:
    """Tell whether the node's value is a real tensor and depends on the input."""
    return facts_of_node(node).activation


def is_input_name(layer: str) -> bool:
    """Tell whether a layer's name is the name of a network input.

    Example:
        >>> is_input_name("input:tokens"), is_input_name("conv1")
        (True, False)
    """
    return layer == INPUT_LAYER or layer.startswith(INPUT_PREFIX)


def layer_kind(node: fx.Node) -> Kind | None:
    """Return the kind of operation; None if values only pass through."""
    name = operator_name(node)
    if ops.is_pass_through(node) or facts_of_node(node).shape is None:
        return None
    if name in ops.CONVOLUTIONS:
        return Kind.DEPTHWISE if _is_depthwise_convolution(node) else Kind.CONV
    table = (
        (ops.LINEARS, Kind.LINEAR),
        (ops.RECURRENCES, Kind.RECURRENT),
        (ops.EMBEDDINGS, Kind.EMBEDDING),
        (ops.MATMULS | ops.EINSUMS, Kind.MATMUL),
        (ops.ATTENTIONS, Kind.ATTENTION),
        (ops.ADDS, Kind.ADD),
        (ops.MULTIPLIES, Kind.MULTIPLY),
        (ops.CONCATS, Kind.CONCAT),
        (ops.AVERAGE_POOLS, Kind.AVERAGE_POOL),
        (ops.NORMS, Kind.NORM),
        (ops.FUNCTIONS | ops.FUSED_FUNCTIONS, Kind.ACTIVATION),
    )
    for names, kind in table:
        if name in names:
            return kind
    if name in ops.MEANS and _is_spatial_mean(node):
        return Kind.AVERAGE_POOL
    return Kind.OTHER


def fused_function_chain(node: fx.Node) -> list[fx.Node]:
    """Return the functions applied by hardware before the operation's result is stored.

    The chain holds piece-wise linear functions and scalings. Each function is the only user of the
    node before.
    """
    chain: list[fx.Node] = []
    last = node
    while len(last.users) == 1:
        user = next(iter(last.users))
        if operator_name(user) not in ops.FUSED_FUNCTIONS and not ops.is_positive_scaling(user):
            break
        if user.all_input_nodes[0] is not last:
            break
        chain.append(user)
        last = user
    return chain


def stored_tensor(module: nn.Module, target: str) -> Tensor:
    """Return the parameter or buffer at the dotted path `target`, in the stored shape."""
    owner, _, name = target.rpartition(".")
    value: Tensor = getattr(module.get_submodule(owner), name)
    return value


def find_layers(module: fx.GraphModule) -> Iterator[Layer]:
    """Yield the inputs and the operations with an encoded output, in order of execution."""
    names: set[str] = set()
    fused: set[fx.Node] = set()
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    alone = sum(is_activation_node(node) for node in placeholders) == 1
    for node in module.graph.nodes:
        if node.op == "placeholder":
            if is_activation_node(node):  # whole numbers need no encoding
                name = INPUT_LAYER if alone else f"{INPUT_PREFIX}{facts_of_node(node).title}"
                yield Layer(name, Kind.INPUT, node.name, node.name, (), shape_of_node(node))
            continue
        if node.op != "call_function" or not is_activation_node(node) or node in fused:
            continue
        kind = layer_kind(node)
        if kind is None or not math.prod(shape_of_node(node)):  # no elements, no encoding
            continue
        chain = fused_function_chain(node)
        fused.update(chain)
        yield _layer_from_chain(module, node, kind, chain, names)


def _is_depthwise_convolution(node: fx.Node) -> bool:
    groups = node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1)
    source = node.args[0]
    if operator_name(node).startswith("aten.conv_transpose") or not isinstance(source, fx.Node):
        return False
    return isinstance(groups, int) and groups > 1 and groups == shape_of_node(source)[1]


def _is_spatial_mean(node: fx.Node) -> bool:
    source, axes = node.args[0], node.args[1]
    if not isinstance(source, fx.Node) or not isinstance(axes, list | tuple):
        return False
    rank = len(shape_of_node(source))
    return rank == 4 and {int(axis) % rank for axis in axes if isinstance(axis, int)} == {2, 3}


def _layer_from_chain(
    module: fx.GraphModule, node: fx.Node, kind: Kind, chain: list[fx.Node], names: set[str]
) -> Layer:
    weight, bias = _weight_paths(node, kind)
    owner = weight.rpartition(".")[0] if weight else ""
    if weight and weight.startswith(tuple(f"{owner}.weight_{one}" for one in ("ih", "hh", "hr"))):
        owner = f"{owner}.{weight.rpartition('.')[2].removeprefix('weight_')}"  # one of several
    name = _unique_layer_name(owner or _readable_layer_name(node), names)
    inputs = tuple(source for source in node.all_input_nodes if is_activation_node(source))
    weight_shape = tuple(stored_tensor(module, weight).shape) if weight else ()
    output = chain[-1] if chain else node
    return Layer(
        name=name,
        kind=kind,
        node=node.name,
        output=output.name,
        inputs=tuple(source.name for source in inputs),
        shape=shape_of_node(output),
        input_shapes=tuple(shape_of_node(source) for source in inputs),
        weight=weight,
        bias=bias,
        weight_shape=weight_shape,
        channel_axis=1 if operator_name(node).startswith("aten.conv_transpose") else 0,
        parameters=sum(stored_tensor(module, t).numel() for t in (weight, bias) if t),
        macs=_layer_macs(node, kind, weight_shape, inputs),
    )


_WEIGHTED = (Kind.CONV, Kind.DEPTHWISE, Kind.LINEAR, Kind.RECURRENT)


def _weight_paths(node: fx.Node, kind: Kind) -> tuple[str | None, str | None]:
    """Return the paths of weight and bias; None for a value other than a stored parameter."""
    if kind not in (*_WEIGHTED, Kind.EMBEDDING):
        return None, None
    if kind is Kind.EMBEDDING:
        table = node.args[0]
        if isinstance(table, fx.Node) and table.op == "get_attr":
            return str(table.target), None
        return None, None
    targets = [
        str(arg.target) if isinstance(arg, fx.Node) and arg.op == "get_attr" else None
        for arg in ([*node.args[1:3], None, None])[:2]
    ]
    return targets[0], targets[1]


def _readable_layer_name(node: fx.Node) -> str:
    """Return the path of the operation's module and the operator's name."""
    path = facts_of_node(node).path
    verb = operator_name(node).split(".")[1].strip("_")
    # a module that is one operation needs no operator after the path
    return path if path and facts_of_node(node).alone else f"{path}.{verb}" if path else verb


def _unique_layer_name(name: str, names: set[str]) -> str:
    """Return `name` with the first free number behind; add the result to `names`."""
    name = f"_{name}" if name.startswith(INPUT_PREFIX) else name
    candidate, count = name, 1
    while candidate in names or candidate == INPUT_LAYER:
        count += 1
        candidate = f"{name}_{count}"
    names.add(candidate)
    return candidate


def _layer_macs(
    node: fx.Node, kind: Kind, weight_shape: tuple[int, ...], inputs: tuple[fx.Node, ...]
) -> int:
    outputs = math.prod(shape_of_node(node))
    if kind is Kind.ATTENTION:
        # read the arguments: `inputs` names a tensor once that is query and key
        query, key, value = (
            shape_of_node(arg) for arg in node.args[:3] if isinstance(arg, fx.Node)
        )
        scores = math.prod(query[:-1]) * key[-2]
        return scores * (query[-1] + value[-1])
    if kind is Kind.MATMUL:
        first = node.args[0]  # may be a constant, which `inputs` leaves out
        if operator_name(node) in ops.EINSUMS:
            return _einsum_macs(node)
        return outputs * shape_of_node(first)[-1] if isinstance(first, fx.Node) else 0
    if kind not in _WEIGHTED:
        return 0
    if kind is Kind.RECURRENT:  # every step multiplies with the whole weight
        return math.prod(shape_of_node(node)[:2]) * math.prod(weight_shape)
    second = node.args[1]  # a weight that the graph computes has products too
    sizes = weight_shape or (shape_of_node(second) if isinstance(second, fx.Node) else ())
    if operator_name(node).startswith("aten.conv_transpose"):
        return math.prod(shape_of_node(inputs[0])) * math.prod(sizes[1:]) if inputs else 0
    return outputs * math.prod(sizes[1:]) if sizes else 0


def _einsum_macs(node: fx.Node) -> int:
    """Return the product of the sizes of the axes: a MAC for each combination of indices."""
    equation, operands = str(node.args[0]).replace(" ", ""), node.args[1]
    terms = equation.partition("->")[0].split(",")
    if not isinstance(operands, list | tuple) or "..." in equation or len(operands) < 2:
        return 0
    sizes = {
        letter: size
        for term, operand in zip(terms, operands, strict=True)
        if isinstance(operand, fx.Node)
        for letter, size in zip(term, shape_of_node(operand), strict=False)
    }
    return math.prod(sizes.values())
