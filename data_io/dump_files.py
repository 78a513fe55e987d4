"""Tensors written by a device or another simulator: .npz, .npy, or a folder with raw files."""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_io.errors import DatasetError
from data_io.npy_member import map_archive_member, map_npy_file
from plain_files.open_zip import BoundedZip
from plain_files.read_json import JsonError, parse_json

RAW_ENDINGS = (".raw", ".bin")
MOST_TENSORS = 10_000
MOST_BYTES = 4 * 1024**3


@dataclass(frozen=True, eq=False, slots=True)
class DumpedTensor:
    """A tensor under the device's name.

    `values` has the shape of the file; bytes (n,) of unknown type and shape if `raw`.
    """

    name: str
    values: NDArray[np.generic]
    raw: bool = False


def read_dump(path: Path) -> tuple[DumpedTensor, ...]:
    """Return the tensors of a .npz or .npy file, or of a folder, in the order of names.

    A raw file (.raw, .bin) is named by the stem. Folders Result_0, Result_1, ... hold an image
    each, as written by QNN and SNPE; the tensors are joined along the first axis.

    Raises:
        DatasetError: an empty place, too much data, or a file without plain numbers.
    """
    if path.is_dir():
        results = sorted(path.glob("Result_*"), key=_result_number)
        folders = [one for one in results if one.is_dir()]
        found = _join_results(folders) if folders else tuple(_folder_tensors(path))
    elif path.suffix.lower() == ".npz" and path.is_file():
        found = tuple(_npz_tensors(path))
    elif path.suffix.lower() == ".npy" and path.is_file():
        found = (_npy_tensor(path),)
    else:
        raise DatasetError(
            f"A dump must be an .npz file, an .npy file, or a folder of .npy, .raw or .bin files; "
            f"got {path.name}. Write the tensors with numpy.savez."
        )
    if not found:
        raise DatasetError(f"A dump must hold tensors; {path.name} has none. Check the folder.")
    size = sum(one.values.nbytes for one in found)
    if len(found) > MOST_TENSORS or size > MOST_BYTES:
        raise DatasetError(
            f"A dump may hold {MOST_TENSORS} tensors and {MOST_BYTES // 1024**3} GiB; got "
            f"{len(found)} and {size} bytes. Record fewer images."
        )
    return found


def read_dump_names(content: bytes, shown: str) -> dict[str, str]:
    """Return the map from names of a dump to layers in JSON.

    Raises:
        DatasetError: the content is no such map; the sentence names the file `shown`.
    """
    try:
        found = parse_json(content)
    except JsonError as error:
        raise DatasetError(f"{shown} must be JSON; {error}. Correct the file.") from None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise DatasetError(
            f'{shown} must map names of the dump to layers, such as {{"conv_out": "conv1"}}; got '
            "something else. Correct the file."
        )
    return found


def _result_number(path: Path) -> tuple[int, str]:
    number = path.name.rpartition("_")[2]
    return (int(number) if number.isdecimal() and len(number) < 10 else MOST_TENSORS, path.name)


def _folder_tensors(folder: Path) -> Iterator[DumpedTensor]:
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in RAW_ENDINGS and file.is_file():
            content: NDArray[np.uint8] = (
                np.memmap(file, np.uint8, "r") if file.stat().st_size else np.zeros(0, np.uint8)
            )
            yield DumpedTensor(file.stem, content, raw=True)
        elif file.suffix.lower() == ".npy" and file.is_file():
            yield _npy_tensor(file)


def _join_results(folders: list[Path]) -> tuple[DumpedTensor, ...]:
    """Return the tensors of the folders, one image each, joined along the first axis."""
    parts = [{one.name: one for one in _folder_tensors(folder)} for folder in folders]
    joined = []
    for name, first in parts[0].items():
        same = [part[name] for part in parts if name in part]
        shapes = {one.values.shape for one in same}
        if len(same) < len(parts) or len(shapes) > 1:
            raise DatasetError(
                f"Every folder Result_... must hold the same tensors; {name} has {len(same)} of "
                f"{len(parts)} and {len(shapes)} sizes. Record all images alike."
            )
        joined.append(
            DumpedTensor(name, np.concatenate([one.values for one in same]), raw=first.raw)
        )
    return tuple(joined)


def _npy_tensor(file: Path) -> DumpedTensor:
    return _checked(file.stem, map_npy_file(file))


def _npz_tensors(path: Path) -> Iterator[DumpedTensor]:
    try:
        with BoundedZip(path) as archive:
            for info in archive.infolist()[: MOST_TENSORS + 1]:
                name = info.filename.removesuffix(".npy")
                yield _checked(name, map_archive_member(path, archive, info))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(
            f"{path.name} must be a readable .npz file; got damaged or other data "
            f"({type(error).__name__}). Write the file with numpy.savez."
        ) from None


def _checked(name: str, values: NDArray[np.generic]) -> DumpedTensor:
    if values.dtype.kind not in "fiub":
        raise DatasetError(
            f"Tensors of a dump must hold numbers; {name[:80]} has {values.dtype}. Convert the "
            "tensor before it is written."
        )
    return DumpedTensor(name, values)
