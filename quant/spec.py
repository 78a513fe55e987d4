"""The spec of a tensor: bits, granularity, symmetry and estimator."""

from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, cast

from quant.errors import ConfigError

FLOAT_BITS = 32
WIDEST_BITS = 16
"""The widest integers; a width of a channel is one character, 1 to 9 and a to g."""
_DIGITS = "0123456789abcdefg"


class Granularity(StrEnum):
    """The values that share a scale."""

    PER_TENSOR = "per-tensor"
    PER_CHANNEL = "per-channel"
    PER_GROUP = "per-group"


class Estimator(StrEnum):
    """How a range is chosen (white paper, section 3.1)."""

    MIN_MAX = "min-max"
    PERCENTILE = "percentile"
    MSE = "mse"
    CROSS_ENTROPY = "cross-entropy"
    BATCH_NORM = "batch-norm"


class ScaleKind(StrEnum):
    """The numbers allowed as a scale."""

    FREE = "free"
    POWER_OF_TWO = "power-of-two"


@dataclass(frozen=True, slots=True)
class QuantSpec:
    """The spec of an encoding, independent of a particular tensor.

    `bits` lies between 1 and 16, or is 32 for float. One bit, for symmetric weights alone, has the
    two numbers -scale and +scale without zero. `narrow` leaves out the least number of a symmetric
    encoding, so that 2 bits are ternary: -1, 0, 1. `channel_bits` gives the output channels of a
    weight separate widths; `bits` is then the widest. `group_size` counts input channels with a
    common scale and matters only for per-group; `percentile` (of 100) only for that estimator.

    Raises:
        ConfigError: a field lies outside the bounds.
    """

    bits: int = 8
    symmetric: bool = True
    granularity: Granularity = Granularity.PER_TENSOR
    estimator: Estimator = Estimator.MSE
    scale: ScaleKind = ScaleKind.FREE
    group_size: int = 32
    percentile: float = 99.99
    narrow: bool = False
    channel_bits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not (1 <= self.bits <= WIDEST_BITS or self.bits == FLOAT_BITS):
            raise ConfigError(
                f"bits must lie between 1 and {WIDEST_BITS}, or be 32 for float; got {self.bits}."
            )
        if not self.symmetric and (self.bits == 1 or self.narrow or self.channel_bits):
            raise ConfigError(
                "1 bit, narrow encodings and a width for each channel belong to symmetric "
                "encodings; got an asymmetric one. Set symmetric to true."
            )
        self._check_channel_bits()
        if self.group_size < 1:
            raise ConfigError(f"group_size must be at least 1; got {self.group_size}.")
        if not 50 < self.percentile <= 100:
            raise ConfigError(f"percentile must be over 50 and at most 100; got {self.percentile}.")

    def _check_channel_bits(self) -> None:
        if not self.channel_bits:
            return
        if self.granularity is not Granularity.PER_CHANNEL:
            raise ConfigError(
                "A width for each channel needs a scale for each channel; got "
                f"{self.granularity}. Set granularity to per-channel."
            )
        if not all(1 <= bits <= WIDEST_BITS for bits in self.channel_bits):
            raise ConfigError(f"Widths of channels must lie between 1 and {WIDEST_BITS}.")
        if max(self.channel_bits) != self.bits:
            raise ConfigError(
                f"bits must be the widest of a weight's channels, {max(self.channel_bits)}; got "
                f"{self.bits}."
            )

    @property
    def mean_bits(self) -> float:
        """Bits a value on average: over the channels, if channels have separate widths."""
        if not self.channel_bits:
            return float(self.bits)
        return sum(self.channel_bits) / len(self.channel_bits)

    @property
    def is_float(self) -> bool:
        """Whether the tensor stays float."""
        return self.bits == FLOAT_BITS

    @property
    def levels(self) -> int:
        """Number of codes of the encoding; of the widest channel if channels differ.

        >>> QuantSpec(4).levels
        16
        """
        return int(2**self.bits) - int(self.narrow and self.bits > 1)

    def with_bits(self, bits: int) -> "QuantSpec":
        """Return the spec with one width for the channels."""
        return replace(self, bits=bits, channel_bits=())

    def to_dict(self) -> dict[str, object]:
        """Return the fields for JSON; rare fields only if not at the default."""
        values = _fields_for_json(asdict(self))
        return values if self.narrow else {k: v for k, v in values.items() if k != "narrow"}


@dataclass(frozen=True, slots=True)
class SpecChange:
    """The fields of a spec set by a rule; None leaves a field unchanged."""

    bits: int | None = None
    symmetric: bool | None = None
    granularity: Granularity | None = None
    estimator: Estimator | None = None
    scale: ScaleKind | None = None
    group_size: int | None = None
    percentile: float | None = None
    narrow: bool | None = None
    channel_bits: tuple[int, ...] | None = None

    def apply_to_spec(self, spec: QuantSpec) -> QuantSpec:
        """Return `spec` with the set fields replaced.

        Widths of channels set `bits` to the widest channel. A single width, or a granularity
        without a scale per channel, replaces widths of channels.

        Raises:
            ConfigError: a set field lies outside the bounds.
        """
        changes = self.set_fields()
        if not changes:
            return spec
        if self.channel_bits:
            changes["bits"] = max(self.channel_bits)
        elif self._ends_channel_bits:
            changes["channel_bits"] = ()
        return replace(spec, **changes)

    def merged_over(self, earlier: "SpecChange") -> "SpecChange":
        """Return the changes as one; the fields set here win over `earlier`."""
        before = earlier.set_fields()
        if self.channel_bits:
            before.pop("bits", None)
        elif self._ends_channel_bits:
            before.pop("channel_bits", None)
        return SpecChange(**{**before, **self.set_fields()})

    def to_dict(self) -> dict[str, object]:
        """Return only the set fields, for JSON."""
        return _fields_for_json(self.set_fields())

    @property
    def _ends_channel_bits(self) -> bool:
        other = self.granularity not in (None, Granularity.PER_CHANNEL)
        return self.channel_bits is None and (self.bits is not None or other)

    def set_fields(self) -> dict[str, Any]:
        """Return the set fields."""
        values = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in values if value is not None}


_ENUMS: dict[str, type[StrEnum]] = {
    "granularity": Granularity,
    "estimator": Estimator,
    "scale": ScaleKind,
}
_TYPES: dict[str, tuple[type, ...]] = {
    "bits": (int,),
    "symmetric": (bool,),
    "narrow": (bool,),
    "group_size": (int,),
    "percentile": (int, float),
}


def read_spec_fields(raw: object, where: str) -> dict[str, Any]:
    """Return the fields of a spec from JSON, checked by name and type.

    Raises:
        ConfigError: an unknown field, a value of the wrong type, or an unknown choice.
    """
    known = [field.name for field in fields(QuantSpec)]
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} must be an object of {', '.join(known)}; got {raw!r}.")
    result: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            raise ConfigError(f"{where} knows {', '.join(known)}; got {key!r}. Correct the name.")
        if key in _ENUMS:
            choices = [str(choice) for choice in _ENUMS[key]]
            if value not in choices:
                raise ConfigError(f"{where}.{key} must be one of {choices}; got {value!r}.")
            result[key] = _ENUMS[key](value)
            continue
        if key == "channel_bits":
            result[key] = read_widths_text(value, f"{where}.{key}")
            continue
        # bool is an int in Python, so `true` would pass for bits
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool) != (bool in _TYPES[key]):
            wanted = _TYPES[key][-1].__name__
            raise ConfigError(f"{where}.{key} must be of type {wanted}; got {value!r}.")
        result[key] = value
    return result


def write_widths_text(widths: tuple[int, ...]) -> str:
    """Return one character a channel: 1 to 9, then a (10) to g (16).

    >>> write_widths_text((1, 2, 8, 16))
    '128g'
    """
    return "".join(_DIGITS[width] for width in widths)


def read_widths_text(text: object, where: str) -> tuple[int, ...]:
    """Return the widths written by `write_widths_text`.

    Raises:
        ConfigError: other characters, or a value of another type than text.
    """
    if not isinstance(text, str) or not set(text) <= set(_DIGITS[1:]):
        raise ConfigError(
            f"{where} must be text of one character a channel, 1 to 9 and a to g (16); got "
            f"{str(text)[:40]!r}."
        )
    return tuple(map(_DIGITS.index, text))


def _fields_for_json(values: dict[str, object]) -> dict[str, object]:
    """Return fields for JSON: widths of channels as text, if there are widths of channels."""
    widths = values.pop("channel_bits", None)
    return (
        {**values, "channel_bits": write_widths_text(cast("tuple[int, ...]", widths))}
        if widths
        else values
    )
