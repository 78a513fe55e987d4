"""What flows between operators: tensors, and small whole numbers kept in Python.

Shapes, axes and counts must be plain numbers when torch.export traces a network, and where the
batch is free they hold its symbol. So they are arrays of Python objects here (`Known`), on which
numpy's indexing, concatenation and arithmetic work as on any others.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Known = NDArray[np.object_]
Value = Tensor | Known

MOST_KNOWN = 1024
"""Elements of a constant that is still handed out as plain numbers."""


def known(values: Any) -> Known:
    """Return numbers, a list of them, or an array, as an array of Python objects."""
    if isinstance(values, np.ndarray):
        return values.astype(object)
    result = np.empty(np.shape(values) if not _symbolic(values) else _shape(values), object)
    result[...] = values
    return result


def _symbolic(values: Any) -> bool:
    items = values if isinstance(values, list | tuple) else [values]
    return any(isinstance(item, torch.SymInt | torch.SymFloat | torch.SymBool) for item in items)


def _shape(values: Any) -> tuple[int, ...]:
    return (len(values),) if isinstance(values, list | tuple) else ()


def from_tensor(tensor: Tensor) -> Known:
    """Return a small constant tensor as plain numbers."""
    return known(np.asarray(tensor.detach().cpu().numpy()))


def is_known(value: object) -> bool:
    """Whether a value is plain numbers."""
    return isinstance(value, np.ndarray)


def to_tensor(value: Value) -> Tensor:
    """Return a value as a tensor: whole numbers as int64, real ones as float32."""
    if isinstance(value, Tensor):
        return value
    flat: list[Any] = value.ravel().tolist()
    if _symbolic(flat):
        kind = torch.float32 if any(isinstance(v, float | torch.SymFloat) for v in flat) else None
        parts = [torch.scalar_tensor(v, dtype=kind or torch.int64) for v in flat]
        return torch.stack(parts).reshape(value.shape)
    if any(isinstance(v, float) for v in flat):
        return torch.tensor(flat, dtype=torch.float32).reshape(value.shape)
    kind = torch.bool if flat and all(isinstance(v, bool) for v in flat) else torch.int64
    return torch.tensor(flat, dtype=kind).reshape(value.shape)


def constant(value: Tensor, *, setting: bool = False) -> Value:
    """Return a constant as plain numbers where it is small or a setting, else as it is."""
    few = value.numel() <= (1 if value.is_floating_point() else MOST_KNOWN)
    return from_tensor(value) if few or setting else value
