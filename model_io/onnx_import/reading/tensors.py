"""Tensors of a file: the shape fixes the number of bytes, in the file or in the folder."""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from model_io.errors import ModelError, UnsafeFileError
from model_io.onnx_import.reading.open_file import MAX_BYTES

Array = NDArray[np.generic]
_HALF_BYTES = {TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1}
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


class TensorReader:
    """Checks the tensors of one file; the sum of the bytes stays within `MAX_BYTES`."""

    def __init__(self, shown: str, folder: Path | None) -> None:
        self.shown = shown
        self.folder = folder
        self.total = 0
        self.outside = 0
        """How many tensors lay in files beside this one."""

    def check_tensor(self, tensor: TensorProto, name: str) -> None:
        """Raise an error if bytes and shape of a tensor differ; read a tensor from another file.

        Raises:
            ModelError: an unsupported type, or a wrong number of bytes for the shape.
            UnsafeFileError: bytes outside the file's folder, or too many bytes.
        """
        bits = _bits_per_value(tensor, name)
        count = self._claimed_value_count(tensor, name)
        self._claim_bytes((count * bits + 7) // 8, name)
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(self._with_outside_bytes(tensor, name, (count * bits + 7) // 8))
        held = _held_value_count(tensor, bits)
        if held != count and not (bits == 4 and held == count + count % 2):
            raise ModelError(
                f"The tensor {name!r} of {self.shown} must hold {count} values as its shape says, "
                f"got {held}. The file is damaged; export it again."
            )

    def _claimed_value_count(self, tensor: TensorProto, name: str) -> int:
        """Return the number of values in the shape."""
        dims = list(tensor.dims)
        if len(dims) > 16 or any(d < 0 for d in dims) or math.prod(dims) > MAX_BYTES:
            raise UnsafeFileError(
                f"The tensor {name!r} of {self.shown} must have a shape of at most {MAX_BYTES} "
                f"values, got {dims[:16]}. Export a smaller network."
            )
        return math.prod(dims)

    def _claim_bytes(self, size: int, name: str) -> None:
        self.total += size
        if self.total > MAX_BYTES:
            raise UnsafeFileError(
                f"The tensors of {self.shown} must hold at most {MAX_BYTES} bytes together, got "
                f"more at {name!r}. Export a smaller network."
            )

    def _with_outside_bytes(self, tensor: TensorProto, name: str, size: int) -> TensorProto:
        """Return a copy with the bytes, read from a file in the model's own folder."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = self._file_inside_folder(entries.get("location", ""), name)
        offset, length = (
            entries.get(key, default)
            for key, default in (
                ("offset", "0"),
                ("length", str(size)),
            )
        )
        if not (offset.isdecimal() and len(offset) < 20 and length == str(size)):
            raise ModelError(
                f"The tensor {name!r} of {self.shown} must lie at an offset, with the {size} bytes "
                f"of its shape, got offset {offset[:20]!r} and length {length[:20]!r}. Export it "
                "again."
            )
        if int(offset) + size > path.stat().st_size:
            raise ModelError(
                f"The tensor {name!r} of {self.shown} must lie inside {path.name[:80]!r}, got a "
                "place beyond its end. Copy that file again."
            )
        with path.open("rb") as file:
            file.seek(int(offset))
            raw = file.read(size)
        self.outside += 1
        return TensorProto(
            name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=raw
        )

    def _file_inside_folder(self, location: str, name: str) -> Path:
        """Return the file beside the model that a tensor names; forbidden paths raise an error."""
        if self.folder is None:
            raise UnsafeFileError(
                f"An uploaded ONNX file must hold its weights, got the tensor {name!r} in another "
                "file. Save it as one file: onnx.save(onnx.load('model.onnx'), 'one.onnx')."
            )
        root = self.folder.resolve()
        path = (root / location).resolve() if _is_plain_location(location) else root
        # a link inside the folder can lead outside: only the resolved path counts
        if path == root or not path.is_relative_to(root):
            raise UnsafeFileError(
                f"Tensors of {self.shown} must lie in the model's own folder, got {name!r} in a "
                "place outside it. Move the file there and name it by its name alone."
            )
        if not path.is_file():
            raise ModelError(
                f"The tensor {name!r} of {self.shown} must lie in a file beside it, got none named "
                f"{Path(location).name[:80]!r}. Copy that file into the model's folder."
            )
        return path


def _is_plain_location(location: str) -> bool:
    return bool(location) and "\0" not in location and len(location) < 1000


def _bits_per_value(tensor: TensorProto, name: str) -> int:
    """Return the bits of one value."""
    kind = tensor.data_type
    if kind in _HALF_BYTES:
        return 4
    if kind in (TensorProto.STRING, TensorProto.UNDEFINED):
        raise ModelError(
            f"A tensor must hold numbers, got {name!r} that holds strings or nothing. Export the "
            "network without its pre-processing."
        )
    try:
        return int(helper.tensor_dtype_to_np_dtype(kind).itemsize) * 8
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"A tensor must be of a type that the ONNX standard knows, got type {kind} for "
            f"{name!r}. Export with a lower opset."
        ) from None


def _held_value_count(tensor: TensorProto, bits: int) -> int:
    """Return the number of values in the message."""
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data) * 8 // bits if len(tensor.raw_data) * 8 % bits == 0 else -1
    typed = max(len(getattr(tensor, name)) for name in _TYPED)
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return typed // 2
    if tensor.data_type in _HALF_BYTES:
        return typed * 2
    return typed


def array_of_tensor(tensor: TensorProto) -> Array:
    """Return the values of a checked tensor."""
    return np.asarray(numpy_helper.to_array(tensor))


def torch_from_array(array: Array, name: str) -> Tensor:
    """Return a tensor of equal shape: real values as float32, integers as int64, bool unchanged.

    Raises:
        ModelError: complex numbers.
    """
    if array.dtype == np.bool_:
        return torch.from_numpy(array.copy())
    if array.dtype.kind == "c":
        raise ModelError(
            f"A tensor must hold real numbers, got complex ones in {name!r}. Export the network "
            "from after its Fourier transform."
        )
    whole = array.dtype.kind in "iu" or array.dtype.name in ("int4", "uint4", "int2", "uint2")
    # numpy 2 warns of overflow; too large values (uint64, double) become infinity
    with np.errstate(all="ignore"):
        return torch.from_numpy(array.astype(np.int64 if whole else np.float32))
