"""Map a `.npy` file, or such a member of a `.npz`, without loading it and without trust in it."""

import io
import math
import shutil
import tempfile
import tokenize
import zipfile
from pathlib import Path
from typing import IO, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from data_io.errors import DatasetError

MAX_BYTES = 16 * 1024**3
"""The most that one array may hold."""
FREE_BYTES = 64 * 1024**2
MAX_RATIO = 200
"""A compressed array of more than `FREE_BYTES` may hold so many times the bytes it takes; images
and real numbers stay below 20."""
MAX_UNPACKED_BYTES = 4 * 1024**3
"""The most that one compressed array may take on disk once it is unpacked."""
_HEADER_BYTES = 64 * 1024


def map_archive_member(
    path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> NDArray[np.generic]:
    """Return an array of the archive as a read-only map of a file.

    A stored member is mapped in place. A compressed member is unpacked in blocks into a temporary
    file, which vanishes with the array.

    Raises:
        DatasetError: not an array of plain numbers, larger than `MAX_BYTES`, or cut short.
    """
    shown = f"{info.filename[:60]} in {path.name}"
    if info.file_size > MAX_BYTES:
        raise DatasetError(f"{shown} must hold at most {MAX_BYTES} bytes, got {info.file_size}.")
    _check_compression_ratio(info, shown)
    with archive.open(info) as member:
        header = io.BytesIO(member.read(_HEADER_BYTES))
    shape, order, dtype = _read_npy_header(header, shown, info.file_size)
    if math.prod(shape) * dtype.itemsize == 0:
        return np.empty(shape, dtype)
    if info.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as file:
            offset = _offset_of_data(file, info) + header.tell()
            return _map_open_file(file, dtype, offset, shape, order)
    with archive.open(info) as member, tempfile.TemporaryFile() as file:
        shutil.copyfileobj(member, file, 1024**2)
        file.flush()
        return _map_open_file(file, dtype, header.tell(), shape, order)


def map_npy_file(path: Path) -> NDArray[np.generic]:
    """Return the array of a `.npy` file as a read-only map of the file.

    Raises:
        DatasetError: not an array of plain numbers, or cut short.
    """
    with path.open("rb") as file:
        shape, order, dtype = _read_npy_header(file, path.name, path.stat().st_size)
        if math.prod(shape) * dtype.itemsize == 0:
            return np.empty(shape, dtype)
        return _map_open_file(file, dtype, file.tell(), shape, order)


def _check_compression_ratio(info: zipfile.ZipInfo, shown: str) -> None:
    """Raise where a compressed member would fill the disk."""
    if info.compress_type == zipfile.ZIP_STORED or info.file_size <= FREE_BYTES:
        return
    if info.file_size > min(MAX_UNPACKED_BYTES, MAX_RATIO * max(1, info.compress_size)):
        raise DatasetError(
            f"{shown} must unpack to at most {MAX_RATIO} times its size and "
            f"{MAX_UNPACKED_BYTES // 1024**3} GiB, got {info.file_size} bytes from "
            f"{info.compress_size}; write it with numpy.savez, uncompressed."
        )


def _map_open_file(
    file: IO[bytes],
    dtype: np.dtype[np.generic],
    offset: int,
    shape: tuple[int, ...],
    order: Literal["F", "C"],
) -> NDArray[np.generic]:
    """Return a read-only map of an open file; the map outlives the file object."""
    mapped: NDArray[np.generic] = np.memmap(
        cast(BinaryIO, file), dtype=dtype, mode="r", offset=offset, shape=shape, order=order
    )
    return mapped


def _read_npy_header(
    file: IO[bytes], shown: str, size: int
) -> tuple[tuple[int, ...], Literal["F", "C"], np.dtype[np.generic]]:
    """Return (shape, order, type) and leave `file`, of `size` bytes, at the first byte of data."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, fortran, dtype = readers[np.lib.format.read_magic(file)](file)
    except (
        ValueError,
        EOFError,
        TypeError,
        SyntaxError,
        KeyError,
        MemoryError,
        RecursionError,
        OverflowError,
        tokenize.TokenError,
    ):
        raise DatasetError(
            f"{shown} must be an array in numpy's format 1 or 2, got something else; write it "
            "with numpy.save or numpy.savez."
        ) from None
    if dtype.hasobject:
        raise DatasetError(
            f"{shown} must hold plain numbers, got Python objects: those are pickled, and reading "
            "a pickle can run code. Convert it with numpy.asarray(..., dtype=numpy.float32)."
        )
    if min(shape, default=0) < 0:
        raise DatasetError(f"{shown} must have lengths of 0 or more, got shape {shape}.")
    length = math.prod(shape) * dtype.itemsize
    if file.tell() + length != size:
        raise DatasetError(
            f"{shown} must hold {length} bytes of data for shape {shape}, got "
            f"{size - file.tell()}; write it again with numpy."
        )
    return shape, "F" if fortran else "C", dtype


def _offset_of_data(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Return the start of a stored member's data: after local header, name and extra field."""
    file.seek(info.header_offset + 26)
    lengths = np.frombuffer(file.read(4), "<u2")
    return info.header_offset + 30 + int(lengths.sum())
