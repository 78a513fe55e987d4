"""Choose the values of a graph that get an encoding: real, dependent on the input, no mask."""

import math
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, fx

from quant.graph import operators as ops
from quant.graph.node_facts import facts_of, mark_activation, shape_in, write_facts
from quant.graph.operators import operator

_MASK_SELECTIONS = ops.aten_names(
    "where.self where.ScalarOther where.ScalarSelf where.Scalar"
    " masked_fill.Scalar masked_fill.Tensor"
)
_MASK_VALUE = -1e3
"""A number at most this low, added before a softmax, masks a position (our choice)."""


def mark_activations(graph: fx.Graph, root: Mapping[str, object]) -> None:
    """Write `activation`, `masking` and the limit of tokens into the facts of every node.

    Whole numbers (tokens, positions, comparisons) get no encoding. Real numbers computed from whole
    numbers alone are masks and get no encoding, unless a layer with a stored matrix reads the
    numbers as its input: pixels. A stored matrix turns whole numbers into real activations: an
    embedding. Complex numbers get no encoding, but carry real ones from one side of a Fourier
    transform to the other. A sum with a mask before a softmax counts as pass-through, because an
    encoding that covers -1e9 resolves nothing else.

    Args:
        graph: nodes in execution order, with shapes and types in their facts.
        root: tensors by the target of get_attr nodes.
    """
    masks = _mark(graph, frozenset())
    pixels = _pixels(graph, masks)
    if pixels:
        masks = _mark(graph, pixels)
    for node in graph.nodes:
        masking = _is_masking(node, masks, root)
        write_facts(node, replace(facts_of(node), masking=masking))
        if operator(node) in ops.EMBEDDINGS:
            _note_rows(node)


def _mark(graph: fx.Graph, pixels: frozenset[fx.Node]) -> set[fx.Node]:
    """Write `activation`; return the real values computed from whole numbers alone: masks.

    `pixels` are nodes that turn whole numbers into real ones which are no masks.
    """
    whole: set[fx.Node] = set()
    masks: set[fx.Node] = set()
    carriers: set[fx.Node] = set()
    for node in graph.nodes:
        real = facts_of(node).real is not False
        sources = node.all_input_nodes
        # a size has no shape and tells nothing about values
        by_value = any(facts_of(s).activation and facts_of(s).real is not None for s in sources)
        from_real = by_value or any(source in carriers for source in sources)
        from_whole = any(source in whole or source in masks for source in sources)
        computed = from_real or node in pixels or (from_whole and _has_matrix(node))
        activation = real and (node.op == "placeholder" or computed)
        mark_activation(node, activation=activation)
        if node.op == "placeholder":
            if not real:
                whole.add(node)
        elif activation:
            continue
        elif facts_of(node).complex:
            if from_real:
                carriers.add(node)
        elif real and from_whole:
            masks.add(node)
        elif not real and (by_value or from_whole):
            whole.add(node)
    return masks


def _pixels(graph: fx.Graph, masks: set[fx.Node]) -> frozenset[fx.Node]:
    """Return the nodes at which whole numbers become the real ones that a layer reads.

    The search goes backwards from what convolutions, linear layers and norms read.
    """
    readers = ops.CONVOLUTIONS | ops.LINEARS | ops.NORMS
    waiting = [node.args[0] for node in graph.nodes if operator(node) in readers]
    found, seen = set[fx.Node](), set[fx.Node]()
    while waiting:
        node = waiting.pop()
        if node in seen or node not in masks:
            continue
        seen.add(node)
        before = [source for source in node.all_input_nodes if source in masks]
        waiting.extend(before)
        if not before:
            found.add(node)
    return frozenset(found)


def _has_matrix(node: fx.Node) -> bool:
    """Tell whether the node reads a stored real tensor of two or more axes."""
    return any(
        source.op == "get_attr" and facts_of(source).real and len(shape_in(source)) > 1
        for source in node.all_input_nodes
    )


def _is_masking(node: fx.Node, masks: set[fx.Node], root: Mapping[str, object]) -> bool:
    """Tell whether the node only masks positions before a softmax."""
    name = operator(node)
    if not facts_of(node).activation or not (name in ops.ADDS or name in _MASK_SELECTIONS):
        return False
    values = [source for source in node.all_input_nodes if facts_of(source).activation]
    others = [source for source in node.all_input_nodes if not facts_of(source).activation]
    if len(values) != 1 or not others or not _feeds_softmax(node):
        return False
    if name in ops.ADDS:
        return all(source in masks or _shuts(source, root) for source in others)
    return all(not facts_of(s).real or s in masks or _numel(s) == 1 for s in others)


def _feeds_softmax(node: fx.Node) -> bool:
    """Tell whether every path from the node leads to a softmax through pass-through nodes alone."""
    waiting = list(node.users)
    while waiting:
        user = waiting.pop()
        if operator(user) in ops.SOFTMAXES:
            continue
        if operator(user) not in ops.PASS_THROUGH and operator(user) not in _MASK_SELECTIONS:
            return False
        waiting.extend(user.users or [user])
        if not user.users:
            return False
    return bool(node.users)


def _shuts(node: fx.Node, root: Mapping[str, object]) -> bool:
    """Tell whether a value is a stored mask: at least one number is at most -1000."""
    while operator(node) in ops.PASS_THROUGH and node.all_input_nodes:
        node = node.all_input_nodes[0]
    tensor = root.get(str(node.target)) if node.op == "get_attr" else None
    return isinstance(tensor, Tensor) and bool((tensor <= _MASK_VALUE).any())


def _numel(node: fx.Node) -> int:
    """Return the number of elements of a value; 2 if the shape is unknown."""
    shape = facts_of(node).shape
    return 2 if shape is None else math.prod(shape)


def _note_rows(embedding: fx.Node) -> None:
    """Write the number of rows of an embedding's table into the facts of the indexing input."""
    table, node = embedding.args[:2]
    if not isinstance(table, fx.Node) or facts_of(table).shape is None:
        return
    rows = shape_in(table)[0]
    while isinstance(node, fx.Node):
        if node.op == "placeholder":
            facts = facts_of(node)
            write_facts(node, replace(facts, below=min(rows, facts.below or rows)))
            return
        if operator(node) == "aten.where.self":  # counts negative positions from the end
            node = node.args[2]
        elif operator(node) in ops.PASS_THROUGH | {"aten._to_copy.default"}:
            node = node.args[0]
        else:
            return
