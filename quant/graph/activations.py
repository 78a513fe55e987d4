"""Which values of a graph get a grid: real ones that depend on the input and are no masks."""

from typing import Any

import torch
from torch import Tensor, fx

from quant.graph import operators as ops
from quant.graph.operators import operator

_WHERES = frozenset({"aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf",
                     "aten.where.Scalar", "aten.masked_fill.Scalar",
                     "aten.masked_fill.Tensor"})  # fmt: skip
_SHUTS = -1e3
"""A number as low as this, added before a softmax, shuts a place out: it is a mask."""


def mark_activations(graph: fx.Graph, root: dict[str, Any]) -> None:
    """Note for each node whether its value gets a grid; for whole inputs, which numbers are valid.

    Whole numbers (tokens, places, comparisons) get none, nor do real numbers made of them alone:
    those are masks. What a stored matrix makes of whole numbers is real again: an embedding.
    Sums with a mask before a softmax pass values through, for a grid that holds -1e9 holds
    nothing else.
    """
    whole: set[fx.Node] = set()
    masks: set[fx.Node] = set()
    for node in graph.nodes:
        real = bool(node.meta.get("real", True))
        sources = node.all_input_nodes
        from_real = any(source.meta.get("activation") for source in sources)
        # sizes, which have no shape, say nothing of values
        by_value = any(s.meta.get("activation") and "real" in s.meta for s in sources)
        from_whole = any(source in whole or source in masks for source in sources)
        node.meta["activation"] = False
        if node.op == "placeholder":
            node.meta["activation"] = real
            if not real:
                whole.add(node)
        elif real and (from_real or (from_whole and _has_matrix(node))):
            node.meta["activation"] = True
        elif real and from_whole:
            masks.add(node)
        elif not real and (by_value or from_whole):
            whole.add(node)
    for node in graph.nodes:
        node.meta["masking"] = _is_masking(node, masks, root)
        if operator(node) in ops.EMBEDDINGS:
            _note_rows(node)


def _has_matrix(node: fx.Node) -> bool:
    """Whether the node reads a stored tensor of several real numbers."""
    return any(
        source.op == "get_attr" and source.meta.get("real") and len(source.meta["shape"]) > 1
        for source in node.all_input_nodes
    )


def _is_masking(node: fx.Node, masks: set[fx.Node], root: dict[str, Any]) -> bool:
    """Whether the node only shuts places out that a softmax behind it shall not see."""
    name = operator(node)
    if not node.meta["activation"] or not (name in ops.ADDS or name in _WHERES):
        return False
    values = [source for source in node.all_input_nodes if source.meta["activation"]]
    others = [source for source in node.all_input_nodes if not source.meta["activation"]]
    if len(values) != 1 or not others or not _feeds_softmax(node):
        return False
    if name in ops.ADDS:
        return all(source in masks or _shuts(source, root) for source in others)
    return all(not s.meta.get("real", False) or s in masks or _numel(s) == 1 for s in others)


def _feeds_softmax(node: fx.Node) -> bool:
    """Whether every way from the node leads, through moves alone, to a softmax."""
    waiting = list(node.users)
    while waiting:
        user = waiting.pop()
        if operator(user) in ops.SOFTMAXES:
            continue
        if operator(user) not in ops.PASS_THROUGH and operator(user) not in _WHERES:
            return False
        waiting.extend(user.users or [user])
        if not user.users:
            return False
    return bool(node.users)


def _shuts(node: fx.Node, root: dict[str, Any]) -> bool:
    """Whether a value is a stored mask: some of its numbers are so low that nothing else counts."""
    while operator(node) in ops.PASS_THROUGH and node.all_input_nodes:
        node = node.all_input_nodes[0]
    held = root.get(str(node.target)) if node.op == "get_attr" else None
    return isinstance(held, Tensor) and bool((held <= _SHUTS).any())


def _numel(node: fx.Node) -> int:
    return torch.Size(node.meta.get("shape", (2,))).numel()


def _note_rows(embedding: fx.Node) -> None:
    """Note at the input that an embedding's places come from how many rows there are."""
    table, node = embedding.args[:2]
    if not isinstance(table, fx.Node) or "shape" not in table.meta:
        return
    rows = int(table.meta["shape"][0])
    while isinstance(node, fx.Node):
        if node.op == "placeholder":
            node.meta["below"] = min(rows, node.meta.get("below") or rows)
            return
        if operator(node) == "aten.where.self":  # negative places counted from the end
            node = node.args[2]
        elif operator(node) in ops.PASS_THROUGH | {"aten._to_copy.default"}:
            node = node.args[0]
        else:
            return
