"""The picking of rows of a stored table, and sums of rows, as embeddings."""

import operator as operators
from typing import Any

from torch import fx

from quant.graph.node_facts import facts_of, shape_in
from quant.graph.operators import operator
from quant.graph.spelling.edits import Draft, arguments_of, aten

_BAGS = ("aten.embedding_bag.padding_idx", "aten.embedding_bag.default",
         "aten._embedding_bag.default", "aten._embedding_bag_forward_only.default")  # fmt: skip
_REDUCTIONS = {0: aten.sum.dim_IntList, 1: aten.mean.dim, 2: aten.amax.default}


def spell_embedding(draft: Draft) -> None:
    """Turn the picking of rows of a stored matrix by computed places into an embedding.

    Only then has the table an encoding, as the weight of a layer.
    """
    for node in list(draft.graph.nodes):
        if operator(node) in _BAGS:
            _spell_bag(draft, node)
            continue
        table, places = _picked_rows(node)
        held = draft.stored_real(table)
        if table is None or places is None or held is None or held.dim() != 2:
            continue
        if (
            facts_of(places).shape is not None
            and not facts_of(places).real
            and places.op != "get_attr"
        ):
            node.target = aten.embedding.default
            node.args, node.kwargs = (table, places), {}


def _picked_rows(node: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
    """Return (table, places) where the node picks along the first axis of one by the other."""
    places: Any = None
    if operator(node) == "aten.index_select.default" and node.args[1] == 0:
        places = node.args[2]
    elif operator(node) == "aten.index.Tensor":
        picked = node.args[1]
        places = picked[0] if isinstance(picked, list | tuple) and len(picked) == 1 else None
    table = node.args[0] if node.args else None
    if not isinstance(table, fx.Node) or not isinstance(places, fx.Node):
        return None, None
    return table, places


def _spell_bag(draft: Draft, node: fx.Node) -> None:
    """Turn bags of one size, rows of places (N, L), into an embedding and a sum, mean or maximum.

    Bags of several sizes have no batch axis, and stay.
    """
    found = arguments_of(node)
    table, flat = found["weight"], found["indices"]
    places = _source(flat)
    held = draft.stored_real(table)
    first = [user for user in node.users if user.target is operators.getitem and user.args[1] == 0]
    others = [user for user in node.users if user not in first and user.users]
    shape: tuple[int, ...] = shape_in(places) if places is not None else ()
    weights, padding = found.get("per_sample_weights"), found.get("padding_idx")
    plain = padding is None or padding < 0 or operator(node) == "aten.embedding_bag.default"
    if held is None or len(shape) != 2 or others or not first or not plain:
        return
    own = _source(weights)
    if weights is not None and own is None:
        return
    if not _are_rows(draft, found["offsets"], shape[1]):
        return
    rows, width = (1, shape[1]), held.shape[1]
    picked = draft.call(node, aten.embedding.default, (table, places), (*rows, width))
    if own is not None:
        spread = draft.call(node, aten.unsqueeze.default, (own, -1), (*rows, 1))
        picked = draft.call(node, aten.mul.Tensor, (picked, spread), (*rows, width))
    reduction = _REDUCTIONS[found["mode"]]
    total = draft.call(node, reduction, (picked, [1]), (1, width))
    for user in first:
        draft.replace(user, total)
    for user in list(node.users):
        draft.graph.erase_node(user)
    draft.graph.erase_node(node)


def _are_rows(draft: Draft, offsets: object, length: int) -> bool:
    """Whether bags begin at 0, L, 2 L and so on: as rows of L places do."""
    held = draft.stored(offsets)
    if held is not None:
        return bool(held.tolist() == [length * row for row in range(len(held))])
    if not isinstance(offsets, fx.Node) or operator(offsets) != "aten.arange.start_step":
        return False
    start, _, step = (*offsets.args, None, None, None)[:3]
    return bool(start == 0 and step == length)


def _source(node: object) -> fx.Node | None:
    """Return the node whose values this one puts into one row; None for any other node."""
    if not isinstance(node, fx.Node) or len(shape_in(node)) != 1:
        return None
    if operator(node) not in ("aten.reshape.default", "aten.view.default",
                              "aten.flatten.using_ints"):  # fmt: skip
        return None
    return node.all_input_nodes[0]
