"""Operations that write into values of others: spans without a restart."""

from collections.abc import Iterable
from typing import Any

from quant.engine.portable import PLACEHOLDER, PortableOperation, Value, function_of_target

# These give back what they were given, though their schema does not say so.
_SILENT_ALIASES = ("aten.dropout.default", "aten.feature_dropout.default", "operator.getitem")


def unsafe_restart_spans(
    operations: Iterable[tuple[int, PortableOperation]],
) -> list[tuple[int, int]]:
    """Return spans (first, last]: a restart inside would meet an overwritten value.

    `operations` come with places in the list of steps. A value made by step c and overwritten by
    step m is whole only before c or after m, through any view.
    """
    memory: dict[str, frozenset[str]] = {}  # the values whose memory a value may share
    made: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    for place, operation in operations:
        made[operation.name] = place
        shared: set[str] = set()
        for source, written, aliased in _tensor_roles(operation):
            if written:
                spans.extend((made.get(root, -1), place) for root in memory.get(source, {source}))
            if aliased or written:
                shared |= memory.get(source, frozenset({source}))
        memory[operation.name] = frozenset(shared or {operation.name})
    return spans


def _tensor_roles(operation: PortableOperation) -> Iterable[tuple[str, bool, bool]]:
    """Yield (name, whether written into, whether aliased) of the operation's tensors."""
    if operation.target == PLACEHOLDER:
        return
    schema: Any = getattr(function_of_target(operation.target), "_schema", None)
    if schema is None or operation.target in _SILENT_ALIASES:
        yield from ((source, False, True) for source in operation.source_names)
        return
    keywords = dict(operation.kwargs)
    for place, argument in enumerate(schema.arguments):
        given = (
            operation.args[place] if place < len(operation.args) else keywords.get(argument.name)
        )
        alias = argument.alias_info
        written = alias is not None and alias.is_write
        for item in given if isinstance(given, list | tuple) else (given,):
            if isinstance(item, Value):
                yield item.name, written, alias is not None
