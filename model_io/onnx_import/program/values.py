"""The values between operators: tensors, and small integers kept in Python.

Shapes, axes and counts must be plain numbers while torch.export traces a network; with a free batch
they contain the batch symbol. Therefore they are arrays of Python objects (`Known`): numpy's
indexing, concatenation and arithmetic work on the arrays as usual.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Known = NDArray[np.object_]
Value = Tensor | Known

MOST_KNOWN = 1024
"""Elements of a constant that is still handed out as plain numbers."""


def known_array(values: ArrayLike) -> Known:
    """Return numbers, a list of numbers, or an array, as an array of Python objects."""
    if isinstance(values, np.ndarray):
        return values.astype(object)
    result = np.empty(
        np.shape(values) if not _is_symbolic(values) else _nested_shape(values), object
    )
    result[...] = values
    return result


def _is_symbolic(values: object) -> bool:
    items = values if isinstance(values, list | tuple) else [values]
    return any(isinstance(item, torch.SymInt | torch.SymFloat | torch.SymBool) for item in items)


def _nested_shape(values: object) -> tuple[int, ...]:
    return (len(values),) if isinstance(values, list | tuple) else ()


def known_from_tensor(tensor: Tensor) -> Known:
    """Return a small constant tensor as plain numbers, in the tensor's shape."""
    return known_array(np.asarray(tensor.detach().cpu().numpy()))


def is_known_value(value: object) -> bool:
    """Whether a value is plain numbers."""
    return isinstance(value, np.ndarray)


def tensor_from_value(value: Value) -> Tensor:
    """Return a value as a tensor of equal shape: integers as int64, real numbers as float32."""
    if isinstance(value, Tensor):
        return value
    flat: list[Any] = value.ravel().tolist()
    if _is_symbolic(flat):
        kind = torch.float32 if any(isinstance(v, float | torch.SymFloat) for v in flat) else None
        parts = [torch.scalar_tensor(v, dtype=kind or torch.int64) for v in flat]
        return torch.stack(parts).reshape(value.shape)
    if any(isinstance(v, float) for v in flat):
        return torch.tensor(flat, dtype=torch.float32).reshape(value.shape)
    kind = torch.bool if flat and all(isinstance(v, bool) for v in flat) else torch.int64
    return torch.tensor(flat, dtype=kind).reshape(value.shape)


def constant_to_value(value: Tensor, *, setting: bool = False) -> Value:
    """Return a small constant or a setting as plain numbers of equal shape, another unchanged."""
    few = value.numel() <= (1 if value.is_floating_point() else MOST_KNOWN)
    return known_from_tensor(value) if few or setting else value
