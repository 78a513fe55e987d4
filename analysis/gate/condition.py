"""A condition on a run in words, such as "drop > 0.5" or "energy > 1.2 mJ"."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from quant.errors import ConfigError


class Measure(StrEnum):
    """The subject of a condition; costs are costs of one image."""

    DROP = "drop"
    TOP1 = "top1"
    AGREEMENT = "agreement"
    SQNR = "sqnr"
    METRIC = "metric"
    LOSS = "loss"
    ENERGY = "energy"
    LATENCY = "latency"
    SIZE = "size"
    MEMORY = "memory"

    @property
    def is_cost(self) -> bool:
        """Whether the measure is estimated, without images and without chance."""
        return self in (Measure.ENERGY, Measure.LATENCY, Measure.SIZE, Measure.MEMORY)

    @property
    def is_share(self) -> bool:
        """Whether the measure is a share of images."""
        return self in (Measure.DROP, Measure.TOP1, Measure.AGREEMENT)


TIMES = "x"
"""The unit of a condition against another run: a multiple of the cost of that run."""
ALIASES = {
    "top-1": Measure.TOP1,
    "accuracy": Measure.TOP1,
    "top-1 drop": Measure.DROP,
    "peak memory": Measure.MEMORY,
    "metric loss": Measure.LOSS,
}
_BYTES = {
    "B": 1.0,
    "bytes": 1.0,
    "kB": 1e3,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
UNITS: dict[Measure, dict[str, float]] = {
    Measure.DROP: {"points": 0.01, "point": 0.01, "%": 0.01, "": 0.01},
    Measure.TOP1: {"%": 0.01, "": 0.01},
    Measure.AGREEMENT: {"%": 0.01, "": 0.01},
    Measure.SQNR: {"dB": 1.0, "": 1.0},
    Measure.METRIC: {"": 1.0},
    Measure.LOSS: {"": 1.0},
    Measure.ENERGY: {"pJ": 1.0, "nJ": 1e3, "uJ": 1e6, "µJ": 1e6, "mJ": 1e9, "J": 1e12},
    Measure.LATENCY: {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9},
    Measure.SIZE: _BYTES,
    Measure.MEMORY: _BYTES,
}
"""What a unit is in the unit of a run: shares of 1, dB, pJ, s, bytes. The first is the usual."""
_FORM = re.compile(
    r"\s*([A-Za-z0-9 -]*?)\s*(>=|<=|>|<)\s*([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*(\S*)\s*"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A breaking condition: a measure on one side of a limit.

    `limit` is in the unit of a run, such as pJ, or a multiple if `unit` is x. `text` is the user's
    text.
    """

    text: str
    measure: Measure
    operator: str
    limit: float
    unit: str

    @property
    def fails_above(self) -> bool:
        """Whether values above the limit break the run."""
        return self.operator.startswith(">")

    @property
    def is_relative(self) -> bool:
        """Whether the limit is a multiple of another run's cost."""
        return self.unit == TIMES

    def breaks_condition(self, value: float) -> bool:
        """Whether a value in the unit of a run, or a multiple, breaks the run."""
        if self.operator.endswith("=") and value == self.limit:
            return True
        return value > self.limit if self.fails_above else value < self.limit

    def in_unit(self, value: float) -> str:
        """Return a value for a reader, such as "0.5 points"."""
        factor = 1.0 if self.is_relative else UNITS[self.measure][self.unit]
        return f"{value / factor:.4g} {self.unit}".strip()


def read_condition(text: str) -> Condition:
    """Return the condition in a text such as "drop > 0.5", "top1 < 90 %" or "energy > 1.2 mJ".

    Raises:
        ConfigError: the text is no condition, the unit is unknown, or a share has none.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"A condition must be a measure, one of < <= > >=, a number and a unit; got {text!r}. "
            "Write 'drop > 0.5' or 'energy > 1.2 mJ', for example."
        )
    name, operator, number, unit = found.groups()
    measure = _read_measure(name, text)
    units = UNITS[measure]
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"The limit of a condition must be a number; got {number!r} in {text!r}.")
    if unit == TIMES and measure.is_cost:
        return Condition(text.strip(), measure, operator, value, TIMES)
    if unit not in units:
        offered = ", ".join(one for one in units if one)
        more = f", or {TIMES} for a multiple of the run after --against" if measure.is_cost else ""
        raise ConfigError(
            f"A condition on {measure} needs a unit of {offered or 'none'}{more}; got "
            f"{unit or 'none'!s} in {text!r}. Correct the unit."
        )
    if not unit and measure in (Measure.TOP1, Measure.AGREEMENT) and 0 < abs(value) <= 1:
        raise ConfigError(
            f"A condition on {measure} is in percent; got {number} without a unit. Write "
            f"'{measure} {operator} {100 * value:g} %', or '{number} %' if that is meant."
        )
    usual = unit or next(iter(units))
    return Condition(text.strip(), measure, operator, value * units[unit], usual)


def _read_measure(name: str, text: str) -> Measure:
    """Return the measure of a name."""
    lower = name.strip().lower()
    if lower in ALIASES:
        return ALIASES[lower]
    if lower not in list(Measure):
        raise ConfigError(
            f"A condition must be about one of {', '.join(Measure)}; got {name!r} in {text!r}."
        )
    return Measure(lower)
