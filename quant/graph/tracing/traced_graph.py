"""A traced network before it is spelled anew: the graph, the stored values, facts of the values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

_KEY = "quantscope_traced"


@dataclass(frozen=True, slots=True)
class TracedValue:
    """The tensor that a node of a traced graph gives.

    Attributes:
        dtype: type of the elements.
        shape: shape for a batch of 1.
        first: size of axis 0, None where the batch decides the size.
        batched: whether axis 0 is the free batch alone, no product or sum of the batch.
        free: the first axis whose size depends on the batch; None without a free axis.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    first: int | None
    batched: bool
    free: int | None

    @property
    def is_real(self) -> bool:
        """Whether the tensor holds real numbers."""
        return self.dtype.is_floating_point


@dataclass(frozen=True, eq=False, slots=True)
class TracedGraph:
    """A traced graph.

    Attributes:
        graph: the nodes in order of execution.
        stored: returns the parameter or constant at the target of a get_attr node.
        narrowed: whether the network asked for another precision by autocast.
    """

    graph: fx.Graph
    stored: Callable[[str], Any]
    narrowed: bool = False


def write_traced_value(node: fx.Node, value: TracedValue) -> None:
    """Write what a node gives."""
    node.meta[_KEY] = value


def traced_value_of(node: fx.Node) -> TracedValue | None:
    """Return what a node of a traced graph gives; None for other values than tensors."""
    written = node.meta.get(_KEY)
    if isinstance(written, TracedValue):
        return written
    value = node.meta.get("val")
    return _describe_tensor(value) if isinstance(value, Tensor) else None


def _describe_tensor(value: Tensor) -> TracedValue:
    open_axes = [axis for axis, size in enumerate(value.shape) if not isinstance(size, int)]
    first = value.shape[0] if value.dim() else None
    symbol = getattr(getattr(first, "node", None), "expr", None)
    return TracedValue(
        value.dtype,
        tuple(_size_for_image(size) for size in value.shape),
        first if isinstance(first, int) else None,
        bool(getattr(symbol, "is_Symbol", False)),  # a symbol alone: no 4 * batch
        open_axes[0] if open_axes else None,
    )


def _size_for_image(size: int | torch.SymInt) -> int:
    """Return a size for batch 1: 4 for tokens merged with the batch into 4 n rows."""
    if isinstance(size, int):
        return size
    return int(size.node.expr.subs(dict.fromkeys(size.node.expr.free_symbols, 1)))
