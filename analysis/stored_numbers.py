"""Numbers in results that a file brings: NaN nowhere, infinity only in decibels."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from analysis.sensitivity.sweep import Question, Sweep
from quant.errors import QuantError

DECIBELS = ("sqnr_db", "sqnr_ci95")
MOST_DB = 10_000.0
"""Above what energies of doubles can reach."""


def check_stored_numbers(result: object, *, noise_finite: bool) -> None:
    """Check every number in a result of dataclasses; `noise_finite` refuses noise without end.

    A signal-to-noise ratio of +infinity says that there is no noise.

    Raises:
        QuantError: a number is NaN, infinite or too large; the sentence names its place.
    """
    for place, name, number in _numbers_in(result, type(result).__name__, ""):
        endless = math.isinf(number) and name in DECIBELS and not (noise_finite and number < 0)
        if not endless and not math.isfinite(number):
            raise QuantError(
                f"{place} must be a finite number; got {number}. Take the file from a newer run."
            )
        if name in DECIBELS and math.isfinite(number) and abs(number) > MOST_DB:
            raise QuantError(
                f"{place} must lie between {-MOST_DB:g} and {MOST_DB:g} dB; got {number:g}. "
                "Take the file from a newer run."
            )


def _numbers_in(value: object, place: str, name: str) -> Iterator[tuple[str, str, float]]:
    """Yield each float with its place and the name of the field that holds it."""
    if isinstance(value, float):
        yield place, name, value
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _numbers_in(item, f"{place}[{number}]", name)
    elif is_dataclass(value) and not isinstance(value, Question | Sweep):
        for field in fields(value):
            inner = name if name in DECIBELS else field.name
            yield from _numbers_in(getattr(value, field.name), f"{place}.{field.name}", inner)
