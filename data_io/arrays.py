"""A `.npz` file with the inputs and, if present, `labels` or `targets`."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_io.dataset import Dataset, Inputs, Targets
from data_io.errors import DatasetError
from data_io.npy_member import map_archive_member
from data_io.pixel_arrays import (
    blocks_of_array,
    check_pixel_range,
    holds_pixels,
    images_channels_first,
    items_per_block,
)
from data_io.preprocessing import Preprocess
from plain_files.open_zip import BoundedZip

_INPUTS, _LABELS, _TARGETS = "inputs", "labels", "targets"


class Wanted(Protocol):
    """A network input, as wanted from the data."""

    @property
    def name(self) -> str:
        """The name of the input's array."""

    @property
    def kind(self) -> str:
        """The type of the elements, such as float32 or int64."""

    @property
    def below(self) -> int | None:
        """An upper limit of the whole numbers, if known."""


@dataclass(frozen=True)
class ArraySource:
    """Inputs and labels that stay on disk until read.

    Attributes:
        inputs: images (N, C, H, W) with pixels of 0 to 255 in any type of whole numbers, floats
            (N, ...) passed on as they are, or whole numbers (N, ...) such as tokens.
        labels: int64 (N,), or None.
        preprocess: steps for images; floats are left alone, unless `table` says how the
            columns
            (N, F) of a table are standardised.
        others: further inputs of a network with several inputs.
        kinds: the type of the elements of each input; float32 by default.
        targets: values for a user's metric to compare outputs with, by name ("" for the only one).
    """

    inputs: NDArray[np.generic]
    labels: NDArray[np.int64] | None
    preprocess: Preprocess
    others: tuple[NDArray[np.generic], ...] = ()
    kinds: tuple[str, ...] = ("float32",)
    targets: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    @property
    def has_pixels(self) -> bool:
        """Whether an input holds images of 8 bits, which the preprocessing turns into numbers."""
        if self.preprocess.table is not None:
            return False
        every = zip((self.inputs, *self.others), self.kinds, strict=True)
        return any(holds_pixels(array) and _is_real_kind(kind) for array, kind in every)

    def read(self, indices: Sequence[int]) -> tuple[Inputs, Tensor | None]:
        """Return (inputs of shape (n, ...), labels (n,) or None) of the given items, in order."""
        chosen = list(indices)
        labels = None if self.labels is None else torch.from_numpy(self.labels[chosen])
        found = tuple(
            self._read_input(array, kind, chosen)
            for array, kind in zip((self.inputs, *self.others), self.kinds, strict=True)
        )
        return (found if self.others else found[0]), labels

    def read_targets(self, indices: Sequence[int]) -> Targets:
        """Return the targets of the given items, in order."""
        chosen = list(indices)
        found = {name: torch.from_numpy(array[chosen]) for name, array in self.targets.items()}
        return found.get("", found) if found else None

    def _read_input(self, array: NDArray[np.generic], kind: str, chosen: list[int]) -> Tensor:
        """Return an input of shape (n, ...) in the network's type."""
        if not _is_real_kind(kind):
            return torch.from_numpy(np.array(array[chosen], dtype=kind))
        if self.preprocess.table is not None:
            return torch.from_numpy(self.preprocess.table.standardize_rows(array[chosen]))
        kept = np.uint8 if holds_pixels(array) else np.float32
        values = torch.from_numpy(np.array(array[chosen], dtype=kept))
        if values.dtype != torch.uint8:
            corrections = self.preprocess.corrections
            return values if corrections is None else corrections.correct_floats(values)
        if self.preprocess.keeps_size and values.shape[1] == self.preprocess.channels:
            return self.preprocess.scale_pixels(values)
        images = values.permute(0, 2, 3, 1).numpy()
        return torch.stack([self.preprocess.preprocess_image(image) for image in images])


def _is_real_kind(kind: str) -> bool:
    return kind.startswith("float")


def open_array_file(path: Path, preprocess: Preprocess, wanted: Sequence[Wanted] = ()) -> Dataset:
    """Return the `.npz` at `path` as a dataset; the values are read once, block by block.

    `inputs` is images (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels and pixels of 0
    to 255, uint8 or any other type of whole numbers, or float16, float32 or float64 (N, ...).
    `labels` is whole numbers (N,) from 0 on. If `wanted` lists the network's inputs, there is an
    array for each input by name, real or of whole numbers; a single array may still be called
    inputs. `targets`, or arrays called targets.NAME, hold other values to compare outputs with, one
    item for each input.

    Raises:
        DatasetError: arrays are missing, Python objects, shapes that do not fit, labels out of
            range, NaN or infinite values.
    """
    arrays = _map_arrays(path, [one.name for one in wanted] or [_INPUTS])
    inputs = [
        _check_table_rows(arrays[name], path.name, name)
        if preprocess.table is not None
        else _check_input_values(arrays[name], path.name, name)
        if one is None or _is_real_kind(one.kind)
        else _check_whole_numbers(arrays[name], path.name, one)
        for name, one in zip(_names_of_inputs(arrays), wanted or (None,), strict=True)
    ]
    count = len(inputs[0])
    labels = _check_label_values(arrays.get(_LABELS), count, path.name)
    source = ArraySource(
        inputs[0],
        labels,
        preprocess,
        tuple(inputs[1:]),
        tuple(one.kind for one in wanted) or ("float32",),
        _targets_by_name(arrays),
    )
    _check_array_lengths(arrays, count, path.name)
    return Dataset(
        name=path.name,
        source=source,
        indices=tuple(range(count)),
        labelled=labels is not None,
        class_names=(),
        source_digest=cache(partial(digest_of_arrays, source)),
        largest_label=-1 if labels is None else int(labels.max()),
    )


def digest_of_arrays(source: ArraySource) -> str:
    """Return a SHA-256 over shapes, types, values (in blocks), labels and preprocessing."""
    total = hashlib.sha256(source.preprocess.to_json().encode())
    total.update(f"{source.inputs.dtype.str}{source.inputs.shape}".encode())
    for block in blocks_of_array(source.inputs):
        total.update(np.ascontiguousarray(block).tobytes())
    named = (
        *((f"input {i}", array) for i, array in enumerate(source.others)),
        *source.targets.items(),
    )
    for name, array in named:
        total.update(f"{name}{array.dtype.str}{array.shape}".encode())
        for block in blocks_of_array(array):
            total.update(np.ascontiguousarray(block).tobytes())
    if source.labels is not None:
        total.update(source.labels.astype("<i8").tobytes())
    return total.hexdigest()


def _names_of_inputs(arrays: dict[str, NDArray[np.generic]]) -> list[str]:
    """Return the names of the inputs, in the order of the network's."""
    return [name for name in arrays if name != _LABELS and not _is_target_name(name)]


def _is_target_name(name: str) -> bool:
    return name == _TARGETS or name.startswith(f"{_TARGETS}.")


def _targets_by_name(arrays: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    return {
        name.removeprefix(_TARGETS).removeprefix("."): array
        for name, array in arrays.items()
        if _is_target_name(name)
    }


def _check_array_lengths(arrays: dict[str, NDArray[np.generic]], count: int, shown: str) -> None:
    """Raise if an array lacks an item for an input, or has too many items."""
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != count or array.dtype.kind not in "fiub":
            raise DatasetError(
                f"{name} in {shown} must hold a number or more for each of {count} inputs, got "
                f"{array.dtype} {array.shape}; give all arrays the same first axis."
            )


def _map_arrays(path: Path, wanted: list[str]) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of the file by name, on disk, the wanted arrays first."""
    try:
        with BoundedZip(path) as archive:
            names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
            if len(wanted) == 1 and wanted[0] not in names:
                wanted = [_INPUTS]
            others = [name for name in names if name != _LABELS and not _is_target_name(name)]
            if set(others) != set(wanted) or len(names) != len(set(names)):
                raise DatasetError(
                    f"{path.name} must hold the arrays {', '.join(wanted)} and, optionally, labels "
                    f"or targets, got {', '.join(names[:5]) or 'none'}; write it with "
                    f"numpy.savez(file, {', '.join(f'{n}=...' for n in wanted)}, labels=...)."
                )
            found = {
                name: map_archive_member(path, archive, info)
                for name, info in zip(names, archive.infolist(), strict=True)
            }
            return {name: found[name] for name in (*wanted, *(set(names) - set(wanted)))}
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DatasetError(
            f"{path.name} must be a readable .npz file, got damaged or other data "
            f"({type(error).__name__}); write it with numpy.savez."
        ) from None


def _check_whole_numbers(
    values: NDArray[np.generic], shown: str, wanted: Wanted
) -> NDArray[np.generic]:
    """Return whole numbers such as tokens, after a check of every value."""
    if values.ndim < 1 or 0 in values.shape or values.dtype.kind not in "iub":
        raise DatasetError(
            f"{wanted.name} in {shown} must be whole numbers (N, ...), as the network takes "
            f"{wanted.kind}, got {values.dtype} {values.shape}; convert them with astype."
        )
    for start, block in enumerate(blocks_of_array(values)):
        low, high = int(block.min()), int(block.max())
        if low < 0 or (wanted.below is not None and high >= wanted.below):
            wrong = np.less(block, 0) if low < 0 else np.greater_equal(block, wanted.below or 0)
            index = start * items_per_block(values) + int(
                wrong.reshape(len(block), -1).any(1).argmax()
            )
            limit = "0 or more" if wanted.below is None else f"0 to {wanted.below - 1}"
            raise DatasetError(
                f"{wanted.name} in {shown} must be {limit}, as the network has no row for others, "
                f"got {low if low < 0 else high} in item {index} (counted from 0)."
            )
    return values


def _check_table_rows(rows: NDArray[np.generic], shown: str, name: str) -> NDArray[np.generic]:
    """Return the rows of a table, whole numbers or floats, after a check of every value."""
    if rows.ndim != 2 or rows.dtype.kind not in "iufb":
        raise DatasetError(
            f"{name} in {shown} must be a table of numbers (rows, columns), got {rows.dtype} "
            f"{rows.shape}; leave out what the preprocessing says of a table, or bring one."
        )
    return rows if rows.dtype.kind != "f" else _check_input_values(rows, shown, name)


def _check_input_values(
    inputs: NDArray[np.generic], shown: str, name: str = _INPUTS
) -> NDArray[np.generic]:
    """Return images as (N, C, H, W), or floats unchanged, after a check of every value."""
    if inputs.ndim < 2 or 0 in inputs.shape:
        raise DatasetError(
            f"{name} in {shown} must hold items along the first axis, (N, ...), got shape "
            f"{inputs.shape}."
        )
    if holds_pixels(inputs):
        check_pixel_range(inputs, shown, name)
        return images_channels_first(inputs, shown)
    if inputs.dtype.kind != "f":
        raise DatasetError(
            f"{name} in {shown} must be whole numbers (images) or float (ready for the network), "
            f"got {inputs.dtype}; convert them with astype."
        )
    for start, block in enumerate(blocks_of_array(inputs)):
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is told
            finite = np.isfinite(block.astype(np.float32).reshape(len(block), -1)).all(axis=1)
        if not finite.all():
            index = start * items_per_block(inputs) + int(np.argmin(finite))
            raise DatasetError(
                f"{name} in {shown} must be finite in float32, got NaN or infinity in item {index} "
                "(counted from 0); repair or remove it."
            )
    return inputs


def _check_label_values(
    labels: NDArray[np.generic] | None, count: int, shown: str
) -> NDArray[np.int64] | None:
    """Return the labels as int64 in memory."""
    if labels is None:
        return None
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise DatasetError(
            f"labels in {shown} must be whole numbers of shape ({count},), one for each input, got "
            f"{labels.dtype} {labels.shape}."
        )
    whole = np.array(labels).astype(np.int64)
    if whole.min() < 0:
        raise DatasetError(
            f"labels in {shown} must be 0 or more, got {whole.min()} for item {whole.argmin()} "
            "(counted from 0)."
        )
    return whole
