"""Check the description of a tensor in a `.pt2` against the stored bytes."""

from model_io.errors import UnsafeFileError
from plain_files.read_json import JsonObject

# torch._export.serde.schema.ScalarType: bytes of one element
_ELEMENT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}
_STRIDED = 7


def check_tensor_bounds(path: str, meta: JsonObject, stored_bytes: int) -> None:
    """Raise UnsafeFileError unless the stored bytes hold every element of the tensor.

    torch would fill a tensor without bytes with zeros of unlimited size; wrong strides would read
    memory outside the tensor.

    Args:
        path: the tensor's name in the network.
        meta: the `tensor_meta`: dtype, sizes, strides, storage offset, layout.
        stored_bytes: number of bytes in the file.
    """
    try:
        element = _ELEMENT_BYTES[meta["dtype"]]
        sizes = [_natural_number(size["as_int"]) for size in meta["sizes"]]
        strides = [_natural_number(stride["as_int"]) for stride in meta["strides"]]
        offset = _natural_number(meta["storage_offset"]["as_int"])
        dense = meta["layout"] == _STRIDED and len(sizes) == len(strides) <= 8
    except (KeyError, TypeError, ValueError):
        dense = False
    if not dense:
        raise UnsafeFileError(
            f"{path} must be a plain dense tensor of a known type and fixed size, got another. "
            "Convert it before torch.export.export."
        )
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    needed = 0 if 0 in sizes else (last + 1) * element
    if needed > stored_bytes:
        raise UnsafeFileError(
            f"{path} must lie inside its stored bytes, got {stored_bytes} bytes for a tensor that "
            f"reaches to byte {needed}. Export the network again."
        )


def _natural_number(value: object) -> int:
    """Return a whole number from 0 on."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise ValueError(value)
    return value
