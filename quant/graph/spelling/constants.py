"""Compute values independent of the input once: a weight times a norm becomes a weight."""

import math
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Argument

from quant.errors import CaptureError
from quant.graph.node_facts import facts_of_node, write_node_facts
from quant.graph.operators import operator_name
from quant.graph.spelling.edits import Draft, path_for_weight

LARGEST = 2**28
"""Elements of a constant that is computed here; larger ones are computed at every run."""
_WORDS = {1: "weight", 2: "bias"}
"""What a layer reads at these places."""


def fold_stored_constants(draft: Draft) -> None:
    """Store the tensors that follow from stored tensors alone.

    The results of weight_norm, spectral_norm, weight standardization, a transpose, or int8 numbers
    times a scale become weights: the result is stored beside the module of the reader.

    Raises:
        CaptureError: a constant cannot be computed.
    """
    constant = _input_free_nodes(draft)
    values: dict[fx.Node, Argument] = {}
    for node in list(draft.graph.nodes):
        if node not in constant or node.op == "get_attr":
            continue
        readers = [user for user in node.users if user not in constant]
        shape = facts_of_node(node).shape
        if not readers or shape is None or math.prod(shape) > LARGEST:
            continue
        value = _constant_value(node, draft, values)
        if isinstance(value, Tensor):
            _store_constant(draft, node, readers[0], value)
    draft.drop_unused_nodes()


def _input_free_nodes(draft: Draft) -> set[fx.Node]:
    """Return the nodes independent of inputs and with equal results at repeated runs."""
    found: set[fx.Node] = set()
    for node in draft.graph.nodes:
        if node.op == "get_attr":
            if isinstance(draft.root.get(str(node.target)), Tensor):
                found.add(node)
        elif _is_pure_node(node) and all(source in found for source in node.all_input_nodes):
            found.add(node)
    return found


def _is_pure_node(node: fx.Node) -> bool:
    return (
        node.op == "call_function" and not draws_random_numbers(node) and not _writes_in_place(node)
    )


def draws_random_numbers(node: fx.Node) -> bool:
    """Whether the node gives random numbers."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    schema: Any = getattr(node.target, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema else []
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    if "train" in given or "training" in given:
        return bool(given.get("train", given.get("training")))
    share = given.get("dropout_p", given.get("p", 0.0 if "dropout_p" in names else 1.0))
    return share != 0


def _writes_in_place(node: fx.Node) -> bool:
    schema: Any = getattr(node.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


@torch.no_grad()
def _constant_value(node: fx.Node, draft: Draft, values: dict[fx.Node, Argument]) -> Argument:
    """Return the result of a constant node; `values` holds the results known already."""
    waiting = [node]
    while waiting:
        last = waiting[-1]
        missing = [source for source in last.all_input_nodes if source not in values]
        if last in values:
            waiting.pop()
        elif missing:
            waiting.extend(missing)
        else:
            values[last] = _run_constant_node(last, draft, values)
            waiting.pop()
    return values[node]


def _run_constant_node(node: fx.Node, draft: Draft, values: dict[fx.Node, Argument]) -> Argument:
    if node.op == "get_attr":
        return cast("Argument", draft.root[str(node.target)])
    arguments = fx.node.map_arg(node.args, lambda source: values[source])
    keywords = fx.node.map_arg(node.kwargs, lambda source: values[source])
    try:
        return cast("Argument", node.target(*arguments, **keywords))  # type: ignore[operator]
    except Exception as error:
        line = next(iter(str(error).splitlines()), "")[:200]
        raise CaptureError(
            f"What the network computes from its weights alone must be computable; {node.name} "
            f"({operator_name(node)}) stopped with: {line} Export the network again."
        ) from error


def _store_constant(draft: Draft, node: fx.Node, reader: fx.Node, value: Tensor) -> None:
    """Store a constant of any shape in place of the computing node."""
    place = next((i for i, arg in enumerate(reader.args) if arg is node), -1)
    word = _WORDS.get(place, "") if value.is_floating_point() else ""
    path = path_for_weight(reader, word or node.name)
    with torch.no_grad():
        held = value.detach().clone(memory_format=torch.contiguous_format)
    target = draft.free_tensor_path(path)
    if value.is_floating_point():
        draft.root[target] = nn.Parameter(held, requires_grad=False)
    else:
        draft.root[target] = held
    with draft.graph.inserting_before(node):
        stored = draft.graph.get_attr(target)
    write_node_facts(stored, replace(facts_of_node(node), shape=tuple(value.shape)))
    node.replace_all_uses_with(stored)
    draft.graph.erase_node(node)
