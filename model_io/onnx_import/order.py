"""Steps in an order that runs: no circle, no value from nowhere."""

import heapq

from onnx import GraphProto

from model_io.errors import ModelError
from model_io.onnx_import.steps import Step


def in_order(steps: list[Step], known: set[str], shown: str) -> list[Step]:
    """Return the steps so that each comes after those it reads from, else in the file's order.

    Raises:
        ModelError: a value that two steps write, that none writes, or steps in a circle.
    """
    writer = _writers(steps, known, shown)
    waiting = [0] * len(steps)
    readers: dict[int, list[int]] = {}
    for index, step in enumerate(steps):
        for name in reads(step):
            if name in writer:
                waiting[index] += 1
                readers.setdefault(writer[name], []).append(index)
            elif name not in known:
                raise ModelError(
                    f"Every value in {shown} must come from somewhere, got {name[:80]!r}, which "
                    f"{step.name[:80]!r} reads and nothing writes. Export it again."
                )
    ready = [index for index, count in enumerate(waiting) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(steps[index])
        for reader in readers.get(index, []):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(steps):
        stuck = next(s for i, s in enumerate(steps) if waiting[i])
        raise ModelError(
            f"The nodes of {shown} must form no circle, got one through {stuck.name[:80]!r}. "
            "Export it again."
        )
    return order


def _writers(steps: list[Step], known: set[str], shown: str) -> dict[str, int]:
    """Return which step writes each value; raise where two do."""
    writer: dict[str, int] = {}
    for index, step in enumerate(steps):
        for name in filter(None, step.outputs):
            if name in writer or name in known:
                raise ModelError(
                    f"Every value in {shown} must be written once, got {name[:80]!r} written "
                    f"again by {step.name[:80]!r}. Export it again."
                )
            writer[name] = index
    return writer


def reads(step: Step) -> set[str]:
    """Return all values that a step reads, those its branches read from outside included."""
    names = set(filter(None, step.inputs))
    for graph in (g for g in step.attributes.values() if isinstance(g, GraphProto)):
        names |= outer_reads(graph)
    return names


def outer_reads(graph: GraphProto) -> set[str]:
    """Return the values that a branch reads from the graph around it."""
    own = {t.name for t in graph.initializer} | {v.name for v in graph.input}
    read: set[str] = {o.name for o in graph.output}
    for node in graph.node:
        own.update(node.output)
        read.update(filter(None, node.input))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                read |= outer_reads(attribute.g)
    return read - own
