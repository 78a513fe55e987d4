"""A lock around the process-wide parts of torch: tracing, exporting, loading.

torch.export, torch.onnx.export and torch.export.load change modes and functions for the threads of
the whole process, and fail or mix up graphs when two threads run them at once. Meanwhile oneDNN is
off, too: a forward of another thread then rounds otherwise, by 1e-6 of the output and by a whole
step of a quantized output. So a thread that traces waits until the forwards end, and forwards wait
until the tracing ends. Tracing replaces functions of Python's module math, too, so Numba must
neither be imported nor compile meanwhile: whatever calls Numba waits like a forward.

A traced graph holds no Python stacks: to collect the stacks took a quarter of an ONNX export, and a
file would tell the folders of the machine that made it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch.fx.config as fx_config

Given = ParamSpec("Given")
Made = TypeVar("Made")


class _Gate:
    """Lets many threads compute, or one thread trace; a thread inside may enter again."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._computing = 0
        self._waiting = 0
        self._tracer = 0
        self._own = threading.local()

    @contextmanager
    def enter_to_compute(self) -> Iterator[None]:
        """Keep other threads from tracing."""
        depth: int = getattr(self._own, "depth", 0)
        outermost = depth == 0 and self._tracer != threading.get_ident()
        if outermost:
            with self._change:
                self._change.wait_for(lambda: not self._tracer and not self._waiting)
                self._computing += 1
        self._own.depth = depth + 1
        try:
            yield
        finally:
            self._own.depth = depth
            if outermost:
                with self._change:
                    self._computing -= 1
                    self._change.notify_all()

    @contextmanager
    def enter_to_trace(self) -> Iterator[None]:
        """Keep other threads from tracing and from computing."""
        if self._tracer == threading.get_ident():
            yield
            return
        with self._change:
            self._waiting += 1
            own = 1 if getattr(self._own, "depth", 0) else 0
            self._change.wait_for(lambda: not self._tracer and self._computing <= own)
            self._waiting -= 1
            self._tracer = threading.get_ident()
        stackless, fx_config.do_not_emit_stack_traces = fx_config.do_not_emit_stack_traces, True
        try:
            yield
        finally:
            fx_config.do_not_emit_stack_traces = stackless
            with self._change:
                self._tracer = 0
                self._change.notify_all()


_GATE = _Gate()


def exclusive_torch() -> AbstractContextManager[None]:
    """Let only the calling thread trace, export or load programs; the thread may enter again."""
    return _GATE.enter_to_trace()


def wait_while_tracing(forward: Callable[Given, Made]) -> Callable[Given, Made]:
    """Make a forward wait while another thread traces, and the tracing wait during a forward."""

    @wraps(forward)
    def run_forward(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        with _GATE.enter_to_compute():
            return forward(*args, **kwargs)

    return run_forward
