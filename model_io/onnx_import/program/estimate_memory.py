"""Run operators on tensors without memory, to learn how much they would take."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from model_io.onnx_import.program.network import Results

_LOG = logging.getLogger("torch._subclasses.fake_tensor")


@contextmanager
def without_memory() -> Iterator[None]:
    """Let every tensor that is made in this context have a shape and a type, but no values.

    Operators that do not fit their inputs are told in an error of ours; torch need not log them.
    """
    level = _LOG.level
    _LOG.setLevel(logging.CRITICAL)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        _LOG.setLevel(level)


def bytes_of(results: Results) -> int:
    """Return the bytes that tensors hold, or would."""
    tensors = [r for r in results if isinstance(r, Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors)
