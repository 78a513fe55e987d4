"""Run operators on tensors without memory, to learn the needed memory."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from model_io.onnx_import.program.values import Value

_LOG = logging.getLogger("torch._subclasses.fake_tensor")


class _MetaState(threading.local):
    on_meta = False


_STATE = _MetaState()


def held_tensor(tensor: Tensor) -> Tensor:
    """Return a stored tensor of any shape as the context wants it."""
    return tensor.to("meta") if _STATE.on_meta else tensor


@contextmanager
def without_memory() -> Iterator[None]:
    """Give new tensors of the context a shape and a type, but no values.

    QuantScope reports operators that do not fit the inputs; logs of torch are off.
    """
    level = _LOG.level
    _LOG.setLevel(logging.CRITICAL)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        _LOG.setLevel(level)


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Let networks and new tensors of the context live on torch's meta device.

    That takes a tenth of the time of `without_memory`, but operators that read numbers out of
    tensors cannot run.
    """
    before, _STATE.on_meta = _STATE.on_meta, True
    try:
        with torch.device("meta"):
            yield
    finally:
        _STATE.on_meta = before


def bytes_of_results(results: Sequence[Value | None]) -> int:
    """Return the bytes of tensors; tensors without memory count as if they had memory."""
    tensors = [r for r in results if isinstance(r, Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors)
