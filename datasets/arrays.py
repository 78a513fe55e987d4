"""A `.npz` file with `inputs` and, where the data has labels, `labels`."""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.dataset import Dataset
from datasets.errors import DatasetError
from datasets.npy_member import map_member
from datasets.preprocessing import Preprocess

_BLOCK_BYTES = 16 * 1024**2
_KEYS = ("inputs", "labels")


@dataclass(frozen=True)
class ArraySource:
    """Inputs and labels that stay on disk until they are read.

    Attributes:
        inputs: uint8 images (N, C, H, W), or floats (N, ...) that the network takes as they are.
        labels: int64 (N,), or None.
        preprocess: what is done to uint8 images; floats are left alone.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64] | None
    preprocess: Preprocess

    def read(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return (float32 inputs, labels or None) of the given items, in this order."""
        chosen = list(indices)
        kept = np.uint8 if self.inputs.dtype == np.uint8 else np.float32
        values = torch.from_numpy(np.array(self.inputs[chosen], dtype=kept))
        labels = None if self.labels is None else torch.from_numpy(self.labels[chosen])
        if values.dtype != torch.uint8:
            return values, labels
        if self.preprocess.keeps_size and values.shape[1] == self.preprocess.channels:
            return self.preprocess.scale(values), labels
        images = values.permute(0, 2, 3, 1).numpy()
        return torch.stack([self.preprocess.apply(image) for image in images]), labels


def open_arrays(path: Path, preprocess: Preprocess) -> Dataset:
    """Return the `.npz` at `path` as a dataset; all values are read once, block by block.

    `inputs` is uint8 images (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels, or
    float16, float32 or float64 (N, ...). `labels` is whole numbers (N,) from 0 on.

    Raises:
        DatasetError: no such arrays, Python objects, shapes that do not fit, labels out of range,
            NaN or infinite values.
    """
    arrays = _mapped(path)
    inputs = _checked_inputs(arrays["inputs"], path.name)
    labels = _checked_labels(arrays.get("labels"), len(inputs), path.name)
    source = ArraySource(inputs, labels, preprocess)
    return Dataset(
        name=path.name,
        source=source,
        indices=tuple(range(len(inputs))),
        labelled=labels is not None,
        class_names=(),
        source_digest=cache(partial(array_digest, source)),
        largest_label=-1 if labels is None else int(labels.max()),
    )


def array_digest(source: ArraySource) -> str:
    """Return a SHA-256 over shapes, types, values (in blocks), labels and preprocessing."""
    total = hashlib.sha256(source.preprocess.to_json().encode())
    total.update(f"{source.inputs.dtype.str}{source.inputs.shape}".encode())
    for block in _blocks(source.inputs):
        total.update(np.ascontiguousarray(block).tobytes())
    if source.labels is not None:
        total.update(source.labels.astype("<i8").tobytes())
    return total.hexdigest()


def _mapped(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of the file under their names, on disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
            if "inputs" not in names or set(names) - set(_KEYS) or len(names) != len(set(names)):
                raise DatasetError(
                    f"{path.name} must hold the arrays inputs and, optionally, labels, got "
                    f"{', '.join(names[:5]) or 'none'}; write it with "
                    "numpy.savez(file, inputs=..., labels=...)."
                )
            return {
                name: map_member(path, archive, info)
                for name, info in zip(names, archive.infolist(), strict=True)
            }
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(
            f"{path.name} must be a readable .npz file, got damaged or other data "
            f"({type(error).__name__}); write it with numpy.savez."
        ) from None


def _checked_inputs(inputs: NDArray[Any], shown: str) -> NDArray[Any]:
    """Return images as (N, C, H, W), or floats as they are, after a look at every value."""
    if inputs.ndim < 2 or 0 in inputs.shape:
        raise DatasetError(
            f"inputs in {shown} must hold items along the first axis, (N, ...), got shape "
            f"{inputs.shape}."
        )
    if inputs.dtype == np.uint8:
        return _channels_first(inputs, shown)
    if inputs.dtype.kind != "f":
        raise DatasetError(
            f"inputs in {shown} must be uint8 (images) or float (ready for the network), got "
            f"{inputs.dtype}; convert them with astype."
        )
    for start, block in enumerate(_blocks(inputs)):
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is told
            finite = np.isfinite(block.astype(np.float32).reshape(len(block), -1)).all(axis=1)
        if not finite.all():
            index = start * _block_length(inputs) + int(np.argmin(finite))
            raise DatasetError(
                f"inputs in {shown} must be finite in float32, got NaN or infinity in item {index} "
                "(counted from 0); repair or remove it."
            )
    return inputs


def _channels_first(images: NDArray[Any], shown: str) -> NDArray[Any]:
    """Return uint8 images of any accepted form as a view (N, C, H, W)."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    raise DatasetError(
        f"uint8 inputs in {shown} must be images (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or "
        f"3 channels, got shape {images.shape}."
    )


def _checked_labels(
    labels: NDArray[Any] | None, count: int, shown: str
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


def _block_length(array: NDArray[Any]) -> int:
    """Return how many items make a block of about 16 MiB."""
    item_bytes = int(array.dtype.itemsize * array[0].size)
    return max(1, _BLOCK_BYTES // max(1, item_bytes))


def _blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the array in blocks along its first axis."""
    length = _block_length(array)
    for start in range(0, len(array), length):
        yield array[start : start + length]
