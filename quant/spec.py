"""The wish for one tensor: how it is to be put on an integer grid."""

from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

from quant.errors import ConfigError

FLOAT_BITS = 32


class Granularity(StrEnum):
    """How many values share one scale."""

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
    """Which numbers a scale may be."""

    FREE = "free"
    POWER_OF_TWO = "power-of-two"


@dataclass(frozen=True, slots=True)
class QuantSpec:
    """How one tensor is put on a grid; says nothing of any particular tensor.

    `bits` lies between 2 and 16, or is 32 for float. `group_size` counts input channels that share
    a scale and matters only for per-group; `percentile` (of 100) only for that estimator.

    Raises:
        ConfigError: a field lies outside its bounds.
    """

    bits: int = 8
    symmetric: bool = True
    granularity: Granularity = Granularity.PER_TENSOR
    estimator: Estimator = Estimator.MSE
    scale: ScaleKind = ScaleKind.FREE
    group_size: int = 32
    percentile: float = 99.99

    def __post_init__(self) -> None:
        if not (2 <= self.bits <= 16 or self.bits == FLOAT_BITS):
            raise ConfigError(
                f"bits must lie between 2 and 16, or be 32 for float; got {self.bits}."
            )
        if self.group_size < 1:
            raise ConfigError(f"group_size must be at least 1; got {self.group_size}.")
        if not 50 < self.percentile <= 100:
            raise ConfigError(f"percentile must be over 50 and at most 100; got {self.percentile}.")

    @property
    def is_float(self) -> bool:
        """Whether the tensor stays as it is."""
        return self.bits == FLOAT_BITS

    @property
    def levels(self) -> int:
        """Number of integers on the grid."""
        return int(2**self.bits)


@dataclass(frozen=True, slots=True)
class SpecChange:
    """The fields of a spec that a rule sets; None leaves a field as it was."""

    bits: int | None = None
    symmetric: bool | None = None
    granularity: Granularity | None = None
    estimator: Estimator | None = None
    scale: ScaleKind | None = None
    group_size: int | None = None
    percentile: float | None = None

    def apply(self, spec: QuantSpec) -> QuantSpec:
        """Return `spec` with the fields that are set here replaced.

        Raises:
            ConfigError: a field set here lies outside its bounds.
        """
        return replace(spec, **self.to_dict())

    def over(self, earlier: "SpecChange") -> "SpecChange":
        """Return both changes as one; where both set a field, this one wins."""
        return SpecChange(**{**earlier.to_dict(), **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """Return only the fields that are set."""
        return {key: value for key, value in asdict(self).items() if value is not None}


_ENUMS: dict[str, type[StrEnum]] = {
    "granularity": Granularity,
    "estimator": Estimator,
    "scale": ScaleKind,
}
_TYPES: dict[str, tuple[type, ...]] = {
    "bits": (int,),
    "symmetric": (bool,),
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
        # bool is an int in Python, so `true` would pass for bits
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool) != (key == "symmetric"):
            wanted = _TYPES[key][-1].__name__
            raise ConfigError(f"{where}.{key} must be of type {wanted}; got {value!r}.")
        result[key] = value
    return result
