"""Loops over numbers that become machine code when they are first called."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")

VECTORS = frozenset({"reassoc", "contract", "nsz", "nnan", "ninf"})
"""What lets sums become vector instructions: any order of terms, and no value that is special."""


def compiled(
    allowed: frozenset[str] = frozenset(),
) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Decorate a function that Numba understands; `allowed` are freedoms with real numbers.

    Numba, which takes 60 MB, is imported by the first call. What it makes is kept on disk, and the
    lock of the interpreter is let go while it runs.
    """

    def decorate(loop: Callable[Given, Made]) -> Callable[Given, Made]:
        made: list[Any] = []

        @wraps(loop)
        def call(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            if not made:
                from numba import njit  # noqa: PLC0415

                made.append(njit(cache=True, nogil=True, fastmath=set(allowed))(loop))
            result: Made = made[0](*args, **kwargs)
            return result

        return call

    return decorate
