"""Steps in an executable order: no circle, a producer for every value."""

import heapq

from model_io.errors import ModelError
from model_io.onnx_import.program.steps import OnnxStep, values_read_by


def order_steps(steps: list[OnnxStep], known: set[str], shown: str) -> list[OnnxStep]:
    """Return the steps with producers before readers, otherwise in the file's order.

    Raises:
        ModelError: a value with two producers or none, or a circle of steps.
    """
    writer = _writer_by_value(steps, known, shown)
    waiting = [0] * len(steps)
    readers: dict[int, list[int]] = {}
    for index, step in enumerate(steps):
        for name in values_read_by(step):
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


def _writer_by_value(steps: list[OnnxStep], known: set[str], shown: str) -> dict[str, int]:
    """Return the position of the producer of each value; two producers raise an error."""
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
