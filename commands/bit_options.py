"""The texts about bits on the command line: budgets, pins and widths."""

import math
from collections.abc import Sequence

from analysis.cost.quantity import Quantity
from analysis.mixed_precision.choices import Pin, Rules
from analysis.mixed_precision.proposal import Budget
from quant.errors import ConfigError
from quant.spec import FLOAT_BITS, Granularity


def read_budget(text: str, *, relative: bool) -> Budget:
    """Return the budget in a text such as energy=0.6.

    Raises:
        ConfigError: the text names no quantity, or no number above 0.
    """
    name, _, number = text.partition("=")
    names = [str(quantity) for quantity in Quantity]
    try:
        most = float(number)
    except ValueError:
        most = math.nan
    if name not in names or not (0 < most < math.inf):
        raise ConfigError(
            f"A budget must be one of {', '.join(names)}, = and a number above 0; got {text!r}. "
            "Write energy=0.6, for example."
        )
    return Budget(Quantity(name), most, relative)


def read_pin(text: str) -> Pin:
    """Return the pin in a text such as head.0=8/8: bits of weight/output, - for free bits.

    Raises:
        ConfigError: the text is no pin, or a width is not from 2 to 16, or 32.
    """
    name, _, widths = text.rpartition("=")
    parts = [_read_width(part, text) for part in widths.split("/")]
    if not name or len(parts) != 2 or parts == [None, None]:
        raise _bad_pin_error(text)
    return Pin(name, *parts)


def _read_width(text: str, whole: str) -> int | None:
    """Return the width in a text, or None for "-"."""
    if text == "-":
        return None
    if not text.isdecimal() or not (2 <= int(text) <= 16 or int(text) == FLOAT_BITS):
        raise _bad_pin_error(whole)
    return int(text)


def _bad_pin_error(text: str) -> ConfigError:
    return ConfigError(
        f"A pin must be a layer, = and its bits for weight/output, each 2 to 16, 32 for float or "
        f"- for free; got {text!r}. Write head.0=8/8, for example."
    )


def read_bit_choices(text: str) -> tuple[int, ...]:
    """Return the widths in a text such as 2,3,4,6,8, the widest first.

    Raises:
        ConfigError: a width is not a number from 2 to 16.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 2 <= int(part) <= 16 for part in parts):
        raise ConfigError(
            f"Bits on offer must be numbers from 2 to 16; got {text!r}. Write 2,4,8, for example."
        )
    return tuple(sorted({int(part) for part in parts}, reverse=True))


def read_uniform_bits(text: str) -> tuple[int, int] | None:
    """Return the bits of weights and activations in a text such as w8a8; None for other texts."""
    weight, _, activation = text.lower().removeprefix("w").partition("a")
    if not text.lower().startswith("w") or not (weight.isdecimal() and activation.isdecimal()):
        return None
    return int(weight), int(activation)


def read_granularities(text: str) -> tuple[Granularity, ...] | None:
    """Return the granularities in a text such as per-tensor,per-channel; None for an empty text.

    Raises:
        ConfigError: a word is no granularity.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    if not set(parts) <= set(Granularity):
        raise ConfigError(
            f"Granularities must be of {', '.join(Granularity)}, with commas between; got "
            f"{text!r}. Write per-tensor,per-channel, for example."
        )
    return tuple(dict.fromkeys(Granularity(part) for part in parts)) or None


def read_choice_rules(
    bits: str, pins: Sequence[str], edge_bits: int | None, granularities: str = ""
) -> Rules:
    """Return the rules from texts about widths, pins and granularities."""
    given = tuple(read_pin(pin) for pin in pins)
    return Rules(
        read_bit_choices(bits), given, edge_bits, granularities=read_granularities(granularities)
    )
