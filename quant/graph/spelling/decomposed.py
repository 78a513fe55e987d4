"""Spell operators of torch's decompositions as the operators that people call."""

import math
import operator as operators
from collections.abc import Callable
from typing import Any

from torch import fx
from torch.fx.node import Argument

from quant.graph.node_facts import facts_of_node, shape_from_facts, write_node_facts
from quant.graph.operators import operator_name
from quant.graph.spelling.edits import Draft, aten, schema_arguments

_CONVOLUTIONS = {
    1: aten.conv1d.default,
    2: aten.conv2d.default,
    3: aten.conv3d.default,
}
_TRANSPOSED = {
    1: aten.conv_transpose1d.default,
    2: aten.conv_transpose2d.input,
    3: aten.conv_transpose3d.input,
}
_SAFE_SOFTMAX: Any = aten._safe_softmax.default  # noqa: SLF001  torch has no public name for it
_BILINEAR_AXES = [[1, 3], [0], [1, 2], [2, 3]]
"""The new axes of the three operands and the summed axes, by which a bilinear layer is written."""
_PADDED = {f"aten.conv{n}d.padding": target for n, target in _CONVOLUTIONS.items()}


def spell_decomposed_operators(draft: Draft) -> None:
    """Turn convolutions, norms, pools, softmax and attention into the operators of the table.

    `torch.export` keeps the operators; `run_decompositions` replaces the operators by operators of
    the backends.
    """
    for node in list(draft.graph.nodes):
        if node.op != "call_function":
            continue
        name = operator_name(node)
        if name == "aten.convolution.default":
            _spell_general_convolution(node)
        elif name in _PADDED:
            _spell_named_padding(node)
        elif name in _FIRST_RESULTS:
            target, order = _FIRST_RESULTS[name]
            _spell_first_result(draft, node, target, order)
        elif name in _SAME_ARGUMENTS:
            target, count = _SAME_ARGUMENTS[name]
            node.target, node.args = target, node.args[:count]
        elif name == "aten.where.self":
            _spell_safe_softmax(node)
        elif name == "aten._trilinear.default" and list(node.args[3:7]) == _BILINEAR_AXES:
            first, weight, second = node.args[:3]
            node.target, node.args = aten.bilinear.default, (first, second, weight, None)
    draft.graph.eliminate_dead_code()


def _spell_general_convolution(node: fx.Node) -> None:
    found = schema_arguments(node)
    weight = found["weight"]
    rank = len(shape_from_facts(weight)) - 2 if isinstance(weight, fx.Node) else 0
    table = _TRANSPOSED if found["transposed"] else _CONVOLUTIONS
    if rank not in table:
        return
    head = (found["input"], weight, found["bias"], found["stride"], found["padding"])
    tail: tuple[Any, ...]
    if found["transposed"]:
        tail = (found["output_padding"], found["groups"], found["dilation"])
    else:
        tail = (found["dilation"], found["groups"])
    node.target, node.args, node.kwargs = table[rank], (*head, *tail), {}


def _spell_named_padding(node: fx.Node) -> None:
    """Write "same" and "valid" as numbers where the padding is equal before and after."""
    found = schema_arguments(node)
    weight, words = found["weight"], found["padding"]
    sizes = shape_from_facts(weight)[2:] if isinstance(weight, fx.Node) else ()
    dilation = list(found["dilation"]) * (len(sizes) if len(found["dilation"]) == 1 else 1)
    totals = [
        d * (size - 1) if words == "same" else 0 for size, d in zip(sizes, dilation, strict=False)
    ]
    if not sizes or any(total % 2 for total in totals):
        return
    padding = [total // 2 for total in totals]
    given = (found["input"], weight, found["bias"], found["stride"], padding)
    target = _PADDED[operator_name(node)]
    node.target, node.args, node.kwargs = target, (*given, found["dilation"], found["groups"]), {}


def _spell_safe_softmax(node: fx.Node) -> None:
    """Write a softmax with zeros where a mask hides a whole row as the safe softmax."""
    rows, zeros, softmax = node.args
    if not all(isinstance(one, fx.Node) for one in node.args) or not isinstance(softmax, fx.Node):
        return
    if operator_name(softmax) != "aten.softmax.int" or not _holds_zeros(zeros):
        return
    scores, axis = softmax.args[:2]
    seen = _argument_of(_argument_of(rows, "aten.logical_not.default"), "aten.any.dim", axis, 1)
    hidden = _argument_of(seen, "aten.logical_not.default")
    hidden = hidden or _argument_of(rows, "aten.all.dim", axis, 1)
    if scores is _argument_of(hidden, "aten.eq.Scalar", -math.inf):
        node.target, node.args = _SAFE_SOFTMAX, (scores, axis)


def _argument_of(node: Argument, name: str, *rest: object) -> Argument:
    """Return the first argument of an operator whose other arguments are `rest`; else None."""
    if not isinstance(node, fx.Node) or operator_name(node) != name or node.args[1:] != rest:
        return None
    return node.args[0]


def _holds_zeros(node: Argument) -> bool:
    if not isinstance(node, fx.Node):
        return False
    filled = operator_name(node) in ("aten.full_like.default", "aten.full.default")
    return operator_name(node) == "aten.zeros_like.default" or (filled and bool(node.args[1] == 0))


Call = tuple[tuple[Argument, ...], dict[str, Argument]]
Order = Callable[[dict[str, Argument]], Call]


def _spell_first_result(
    draft: Draft, node: fx.Node, target: Callable[..., object], order: Order
) -> None:
    """Replace an operator of several results by an operator of the first, if the rest is unread."""
    readers = [user for user in node.users if user.users]
    first = [user for user in readers if user.target is operators.getitem and user.args[1] == 0]
    if not first or len(first) < len(readers):
        return
    args, kwargs = order(schema_arguments(node))
    shape = facts_of_node(first[0]).shape
    if shape is None:
        return
    with draft.graph.inserting_before(node):
        new = draft.graph.call_function(target, args, kwargs)
    write_node_facts(new, facts_of_node(first[0]))
    for user in first:
        user.replace_all_uses_with(new)
        draft.graph.erase_node(user)
    draft.graph.eliminate_dead_code()


def _batch_norm_order(a: dict[str, Argument]) -> Call:
    given = (a["input"], a["weight"], a["bias"], a["running_mean"], a["running_var"])
    return (*given, False, a["momentum"], a["eps"], False), {}


def _layer_norm_order(a: dict[str, Argument]) -> Call:
    return (a["input"], a["normalized_shape"], a["weight"], a["bias"], a["eps"]), {}


def _group_norm_order(a: dict[str, Argument]) -> Call:
    return (a["input"], a["group"], a["weight"], a["bias"], a["eps"]), {}


def _pool_order(a: dict[str, Argument]) -> Call:
    names = ("self", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    return tuple(a[name] for name in names), {}


def _attention_order(a: dict[str, Argument]) -> Call:
    given = (a["query"], a["key"], a["value"], a["attn_mask"], a["dropout_p"], a["is_causal"])
    return given, {"scale": a["scale"]}


_FIRST_RESULTS: dict[str, tuple[Callable[..., Any], Order]] = {
    "aten._native_batch_norm_legit_no_training.default": (
        aten.batch_norm.default,
        _batch_norm_order,
    ),
    "aten.native_layer_norm.default": (aten.layer_norm.default, _layer_norm_order),
    "aten.native_group_norm.default": (aten.group_norm.default, _group_norm_order),
    "aten.max_pool1d_with_indices.default": (aten.max_pool1d.default, _pool_order),
    "aten.max_pool2d_with_indices.default": (aten.max_pool2d.default, _pool_order),
    "aten.max_pool3d_with_indices.default": (aten.max_pool3d.default, _pool_order),
    "aten._scaled_dot_product_flash_attention_for_cpu.default": (
        aten.scaled_dot_product_attention.default,
        _attention_order,
    ),
}
_SAME_ARGUMENTS: dict[str, tuple[Callable[..., Any], int]] = {
    "aten._softmax.default": (aten.softmax.int, 2),
    "aten._log_softmax.default": (aten.log_softmax.int, 2),
    "aten._unsafe_view.default": (aten.reshape.default, 2),
    "aten.view.default": (aten.reshape.default, 2),
}
"""The operator that stands for another, and how many of its arguments that one takes."""
