"""The meaning of a table's columns: label, features, standardisation; kept with a model."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from data_io.errors import DatasetError


@dataclass(frozen=True)
class TableColumns:
    """From rows of a table to inputs: `(value - mean) / std`, column by column.

    A network learns on standardised columns and needs the numbers of the training table for ever:
    the numbers belong to the preprocessing kept with the network.

    Attributes:
        label: the column with the class of a row; empty without labels.
        target: the column with the number predicted by a regression; empty without targets.
        features: the network's columns, in order; empty for the rest of the columns.
        classes: the values of the label in the order of the network's outputs; empty if the labels
            are the numbers 0, 1, 2, ... or stand in alphabetical order.
        mean: subtracted, one number a feature; empty: values stay unchanged.
        std: divides after the mean, one number a feature; empty as `mean`.

    Raises:
        DatasetError: mean and std do not fit together or do not fit the features.
    """

    label: str = ""
    target: str = ""
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that the numbers belong together."""
        numbers = (*self.mean, *self.std)
        if len(self.mean) != len(self.std) or not all(map(math.isfinite, numbers)):
            raise DatasetError(
                "mean and std of a table must hold as many finite numbers, one a column, got "
                f"{len(self.mean)} and {len(self.std)}."
            )
        if self.std and min(self.std) <= 0:
            raise DatasetError(f"std of a table must be above 0, got {min(self.std):g}.")
        if self.features and self.mean and len(self.features) != len(self.mean):
            raise DatasetError(
                f"mean and std must hold one number for each of {len(self.features)} features, got "
                f"{len(self.mean)}."
            )
        if self.label and self.label == self.target:
            raise DatasetError(f"label and target must be two columns, got {self.label} twice.")

    def standardize_rows(self, rows: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return rows (N, F) as float32, standardised with mean and std, if known.

        Raises:
            DatasetError: the rows have another number of columns than `mean`.
        """
        values = np.asarray(rows, np.float64)
        if self.mean and values.shape[1] == len(self.mean):
            values = (values - np.asarray(self.mean)) / np.asarray(self.std)
        elif self.mean:
            raise DatasetError(
                f"A table must have the {len(self.mean)} columns that mean and std were measured "
                f"on, got {values.shape[1]}; name the features."
            )
        return values.astype(np.float32)

    def to_dict(self) -> dict[str, object]:
        """Return the fields but the empty ones, for JSON."""
        return {key: value for key, value in asdict(self).items() if value}

    @classmethod
    def from_dict(cls, raw: object) -> Self:
        """Return the columns written by `to_dict`.

        Raises:
            DatasetError: an unknown key or a value of the wrong type.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(raw, dict) or set(raw) - set(known):
            raise DatasetError(f"table must be an object of {', '.join(known)}, got {raw!r}.")
        return cls(**{key: _typed_field_value(key, value) for key, value in raw.items()})


def _typed_field_value(key: str, value: object) -> Any:
    """Return a JSON value in the type of the field."""
    if key in ("label", "target"):
        if isinstance(value, str):
            return value
        raise DatasetError(f"table.{key} must name a column, got {value!r}.")
    kind, words = ((int, float), "numbers") if key in ("mean", "std") else ((str,), "names")
    items = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(item, kind) and not isinstance(item, bool) for item in items):
        raise DatasetError(f"table.{key} must be a list of {words}, got {value!r}.")
    return tuple(items)


def measure_table_columns(
    columns: TableColumns, rows: NDArray[np.generic], names: tuple[str, ...] = ()
) -> TableColumns:
    """Return `columns` with the mean and standard deviation of rows (N, F) of a training table.

    A constant column gets the deviation 1: the column carries no information, and becomes 0.
    """
    values = np.asarray(rows, np.float64)
    std = values.std(0)
    return TableColumns(
        columns.label,
        columns.target,
        names or columns.features,
        columns.classes,
        tuple(map(float, values.mean(0))),
        tuple(map(float, np.where(std > 0, std, 1.0))),
    )
