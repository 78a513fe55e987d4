"""Run operators on tensors without memory, to learn the needed memory."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from model_io.onnx_import.program.network import Results

_LOG = logging.getLogger("torch._subclasses.fake_tensor")


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


def bytes_of_results(results: Results) -> int:
    """Return the bytes of tensors; tensors without memory count as if they had memory."""
    tensors = [r for r in results if isinstance(r, Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors)
