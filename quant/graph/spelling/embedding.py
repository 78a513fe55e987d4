"""The picking of rows of a stored table, and sums of rows, as embeddings."""

import operator as operators
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch.fx.node import Argument

from quant.graph.node_facts import facts_of_node, shape_from_facts, write_node_facts
from quant.graph.operators import operator_name
from quant.graph.spelling.edits import Draft, aten, path_for_weight, schema_arguments

_BAGS = (
    "aten.embedding_bag.padding_idx",
    "aten.embedding_bag.default",
    "aten._embedding_bag.default",
    "aten._embedding_bag_forward_only.default",
)
_SUM, _MEAN, _MAXIMUM = range(3)
_REDUCTIONS = {
    _SUM: aten.sum.dim_IntList,
    _MEAN: aten.mean.dim,
    _MAXIMUM: aten.amax.default,
}


def spell_embeddings(draft: Draft) -> None:
    """Turn the picking of rows of a stored matrix by computed places into an embedding.

    Only then has the table an encoding, as the weight of a layer.
    """
    for node in list(draft.graph.nodes):
        if operator_name(node) in _BAGS:
            _spell_embedding_bag(draft, node)
            continue
        table, places = _table_and_places(node)
        held = draft.stored_real_tensor(table)
        if table is None or places is None or held is None or held.dim() != 2:
            continue
        if (
            facts_of_node(places).shape is not None
            and not facts_of_node(places).real
            and places.op != "get_attr"
        ):
            node.target = aten.embedding.default
            node.args, node.kwargs = (table, places), {}


def _table_and_places(node: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
    """Return (table, places) if the node picks rows of the table at the places; else None twice."""
    places: Any = None
    if operator_name(node) == "aten.index_select.default" and node.args[1] == 0:
        places = node.args[2]
    elif operator_name(node) == "aten.index.Tensor":
        picked = node.args[1]
        places = picked[0] if isinstance(picked, list | tuple) and len(picked) == 1 else None
    table = node.args[0] if node.args else None
    if not isinstance(table, fx.Node) or not isinstance(places, fx.Node):
        return None, None
    return table, places


def _spell_embedding_bag(draft: Draft, node: fx.Node) -> None:
    """Turn bags of one size, rows of places (N, L), into an embedding and a sum, mean or maximum.

    Bags of several sizes lack a batch axis and stay.
    """
    found = schema_arguments(node)
    table, flat = found["weight"], found["indices"]
    places = _source_of_row(flat)
    held = draft.stored_real_tensor(table)
    first = [user for user in node.users if user.target is operators.getitem and user.args[1] == 0]
    others = [user for user in node.users if user not in first and user.users]
    shape: tuple[int, ...] = shape_from_facts(places) if places is not None else ()
    weights, padding = found.get("per_sample_weights"), found.get("padding_idx")
    if padding is not None and padding < 0:  # torch's word for no padding
        padding = None
    if held is None or places is None or len(shape) != 2 or others or not first:
        return
    own = _source_of_row(weights)
    if weights is not None and own is None:
        return
    if not _are_bag_rows(draft, found["offsets"], shape[1]):
        return
    mode = found["mode"]
    if padding is not None:
        table = _table_with_silent_row(draft, node, table, padding, mode)
    rows, width = (1, shape[1]), held.shape[1]
    picked = draft.insert_call(node, aten.embedding.default, (table, places), (*rows, width))
    if own is not None:
        spread = draft.insert_call(node, aten.unsqueeze.default, (own, -1), (*rows, 1))
        picked = draft.insert_call(node, aten.mul.Tensor, (picked, spread), (*rows, width))
    reduction = _REDUCTIONS[_SUM if padding is not None and mode == _MEAN else mode]
    total = draft.insert_call(node, reduction, (picked, [1]), (1, width))
    if padding is not None and mode != _SUM:
        total = _without_padded_places(draft, node, total, places, padding, mode)
    for user in first:
        draft.replace_node(user, total)
    for user in list(node.users):
        draft.graph.erase_node(user)
    draft.graph.erase_node(node)


def _table_with_silent_row(
    draft: Draft, node: fx.Node, table: fx.Node, padding: int, mode: int
) -> fx.Node:
    """Return the table (R, W) with a row for the padding that changes no sum or maximum."""
    held = draft.stored_real_tensor(table)
    if held is None or len(held) < 2:
        return table
    rest = torch.cat([held[:padding], held[padding + 1 :]])
    row = rest.amin(0) if mode == _MAXIMUM else torch.zeros_like(held[padding])
    if torch.equal(held[padding], row):
        return table
    silent = held.clone()
    silent[padding] = row
    word = "maxima" if mode == _MAXIMUM else "sums"
    return draft.insert_constant(node, f"{path_for_weight(node)}_{word}", silent)


def _without_padded_places(
    draft: Draft, node: fx.Node, total: fx.Node, places: fx.Node, padding: int, mode: int
) -> fx.Node:
    """Return a sum (N, W) divided by the number of places (N, L) that count, or a maximum (N, W).

    A bag of paddings alone gives zeros, as torch's does.
    """
    shape = shape_from_facts(total)
    count = _insert_whole_call(
        draft, node, aten.ne.Scalar, (places, padding), shape_from_facts(places)
    )
    count = _insert_whole_call(draft, node, aten.sum.dim_IntList, (count, [1], True), (1, 1))
    limit = aten.clamp_max.default if mode == _MAXIMUM else aten.clamp_min.default
    count = _insert_whole_call(draft, node, limit, (count, 1), (1, 1))
    join = aten.mul.Tensor if mode == _MAXIMUM else aten.div.Tensor
    return draft.insert_call(node, join, (total, count), shape)


def _insert_whole_call(
    draft: Draft,
    before: fx.Node,
    target: Callable[..., object],
    arguments: Sequence[Argument],
    shape: Sequence[int],
) -> fx.Node:
    """Insert a call whose result, of shape `shape` for one image, holds whole numbers."""
    node = draft.insert_call(before, target, arguments, shape)
    write_node_facts(node, replace(facts_of_node(node), real=False))
    return node


def _are_bag_rows(draft: Draft, offsets: object, length: int) -> bool:
    """Whether bags begin at 0, L, 2 L and so on: as rows of L places do."""
    held = draft.stored_tensor_of(offsets)
    if held is not None:
        return bool(held.tolist() == [length * row for row in range(len(held))])
    if not isinstance(offsets, fx.Node) or operator_name(offsets) != "aten.arange.start_step":
        return False
    start, _, step = (*offsets.args, None, None, None)[:3]
    return bool(start == 0 and step == length)


def _source_of_row(node: object) -> fx.Node | None:
    """Return the node whose values this node joins into one row; None for other nodes."""
    if not isinstance(node, fx.Node) or len(shape_from_facts(node)) != 1:
        return None
    if operator_name(node) not in (
        "aten.reshape.default",
        "aten.view.default",
        "aten.flatten.using_ints",
    ):
        return None
    return node.all_input_nodes[0]
