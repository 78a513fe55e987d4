"""Operations that write into values held by other operations."""

import torch
from torch import fx

_FRESH = ("call_function",)


def writes_into_others(traced: fx.GraphModule) -> bool:
    """Tell whether an operation writes into a value read by another operation, or into a part.

    A quantizer returns new values; values written into the old tensor would be lost. A ReLU in
    place on the result of a convolution without other readers is safe.
    """
    return any(
        _node_writes_into_other(node) for node in traced.graph.nodes if node.op == "call_function"
    )


def _node_writes_into_other(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return False
    for place, argument in enumerate(schema.arguments):
        alias = argument.alias_info
        if alias is None or not alias.is_write:
            continue
        given = node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)
        for written in given if isinstance(given, list | tuple) else (given,):
            if isinstance(written, fx.Node) and not _owns_written_memory(written):
                return True
    return False


def _owns_written_memory(written: fx.Node) -> bool:
    """Tell whether a value has separate memory and a single reader."""
    if written.op not in _FRESH or len(written.users) != 1:
        return False
    schema = getattr(written.target, "_schema", None)
    if schema is None:
        return False
    if any(
        result.alias_info is not None and not result.alias_info.is_write
        for result in schema.returns
    ):
        return False
    if written.target in _MAYBE_VIEWS:
        return False
    if schema.is_mutable:  # a chain in place: what its first operation made
        first = written.args[0]
        return isinstance(first, fx.Node) and _owns_written_memory(first)
    return True


_MAYBE_VIEWS = (
    torch.ops.aten.reshape.default,
    torch.ops.aten.flatten.using_ints,
    torch.ops.aten.contiguous.default,
    torch.ops.aten.to.dtype,
    torch.ops.aten.dropout.default,
)
"""Operators that give back what they took where nothing has to be done."""
