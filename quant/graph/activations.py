"""Choose the values of a graph with an encoding: real, dependent on the input, not a mask."""

import math
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, fx

from quant.graph import operators as ops
from quant.graph.node_facts import (
    facts_of_node,
    mark_activation,
    shape_from_facts,
    write_node_facts,
)
from quant.graph.operators import operator_name

_MASK_SELECTIONS = ops.aten_operator_names(
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
    masks = _mark_real_values(graph, frozenset())
    pixels = _pixel_nodes(graph, masks)
    if pixels:
        masks = _mark_real_values(graph, pixels)
    for node in graph.nodes:
        masking = _is_masking_node(node, masks, root)
        write_node_facts(node, replace(facts_of_node(node), masking=masking))
        if operator_name(node) in ops.EMBEDDINGS:
            _write_table_rows(node)


def _mark_real_values(graph: fx.Graph, pixels: frozenset[fx.Node]) -> set[fx.Node]:
    """Write `activation`; return the real values computed from whole numbers alone: masks.

    `pixels` are nodes where whole numbers become real numbers but not masks.
    """
    whole: set[fx.Node] = set()
    masks: set[fx.Node] = set()
    carriers: set[fx.Node] = set()
    for node in graph.nodes:
        real = facts_of_node(node).real is not False
        sources = ops.value_inputs(node)
        # a size has no shape and tells nothing about values
        by_value = any(
            facts_of_node(s).activation and facts_of_node(s).real is not None for s in sources
        )
        from_real = by_value or any(source in carriers for source in sources)
        from_whole = any(
            facts_of_node(source).real is not None and (source in whole or source in masks)
            for source in sources
        )
        from_table = from_whole and _reads_stored_matrix(node) and not _selects_mask(node)
        computed = from_real or node in pixels or from_table
        activation = real and (node.op == "placeholder" or computed)
        mark_activation(node, activation=activation)
        if node.op == "placeholder":
            if not real:
                whole.add(node)
        elif activation:
            continue
        elif facts_of_node(node).complex:
            if from_real:
                carriers.add(node)
        elif real and from_whole:
            masks.add(node)
        elif not real and (by_value or from_whole):
            whole.add(node)
    return masks


def _pixel_nodes(graph: fx.Graph, masks: set[fx.Node]) -> frozenset[fx.Node]:
    """Return the nodes at which whole numbers become the real inputs of a layer.

    The search goes backwards from the inputs of convolutions, linear layers and norms.
    """
    readers = ops.CONVOLUTIONS | ops.LINEARS | ops.NORMS
    waiting = [node.args[0] for node in graph.nodes if operator_name(node) in readers]
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


def _reads_stored_matrix(node: fx.Node) -> bool:
    """Tell whether the node reads a stored real tensor of two or more axes."""
    return any(
        source.op == "get_attr" and facts_of_node(source).real and len(shape_from_facts(source)) > 1
        for source in node.all_input_nodes
    )


def _selects_mask(node: fx.Node) -> bool:
    """Tell whether the node puts a number that masks, such as -inf, in some places."""
    numbers = [one for one in node.args if isinstance(one, int | float)]
    return operator_name(node) in _MASK_SELECTIONS and any(one <= _MASK_VALUE for one in numbers)


def _is_masking_node(node: fx.Node, masks: set[fx.Node], root: Mapping[str, object]) -> bool:
    """Tell whether the node only masks positions before a softmax."""
    name = operator_name(node)
    if not facts_of_node(node).activation or not (name in ops.ADDS or name in _MASK_SELECTIONS):
        return False
    values = [source for source in node.all_input_nodes if facts_of_node(source).activation]
    others = [source for source in node.all_input_nodes if not facts_of_node(source).activation]
    if len(values) != 1 or not others or not _feeds_only_softmax(node):
        return False
    if name in ops.ADDS:
        return all(source in masks or _is_stored_mask(source, root) for source in others)
    return all(not facts_of_node(s).real or s in masks or _element_count(s) == 1 for s in others)


def _feeds_only_softmax(node: fx.Node) -> bool:
    """Tell whether the paths from the node lead to a softmax through pass-through nodes alone."""
    waiting = list(node.users)
    while waiting:
        user = waiting.pop()
        if operator_name(user) in ops.SOFTMAXES:
            continue
        if (
            operator_name(user) not in ops.PASS_THROUGH
            and operator_name(user) not in _MASK_SELECTIONS
        ):
            return False
        waiting.extend(user.users or [user])
        if not user.users:
            return False
    return bool(node.users)


def _is_stored_mask(node: fx.Node, root: Mapping[str, object]) -> bool:
    """Tell whether a value is a stored mask: at least one number is at most -1000."""
    while operator_name(node) in ops.PASS_THROUGH and node.all_input_nodes:
        node = node.all_input_nodes[0]
    tensor = root.get(str(node.target)) if node.op == "get_attr" else None
    return isinstance(tensor, Tensor) and bool((tensor <= _MASK_VALUE).any())


def _element_count(node: fx.Node) -> int:
    """Return the number of elements of a value; 2 if the shape is unknown."""
    shape = facts_of_node(node).shape
    return 2 if shape is None else math.prod(shape)


def _write_table_rows(embedding: fx.Node) -> None:
    """Write the number of rows of an embedding's table into the facts of the indexing input."""
    table, node = embedding.args[:2]
    if not isinstance(table, fx.Node) or facts_of_node(table).shape is None:
        return
    rows = shape_from_facts(table)[0]
    while isinstance(node, fx.Node):
        if node.op == "placeholder":
            facts = facts_of_node(node)
            write_node_facts(node, replace(facts, below=min(rows, facts.below or rows)))
            return
        if operator_name(node) == "aten.where.self":  # counts negative positions from the end
            node = node.args[2]
        elif operator_name(node) in ops.PASS_THROUGH | {"aten._to_copy.default"}:
            node = node.args[0]
        else:
            return
