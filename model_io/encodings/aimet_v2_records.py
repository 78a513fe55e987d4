"""One record of AIMET 2.0.0 and its meaning, as in onnx::QuantizeLinear of opset 23."""

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model_io.encodings.aimet_values import (
    Unreadable,
    read_number_array,
    read_positive_scales,
    read_whole_number,
    read_zero_points,
    zero_missing_reason,
)
from model_io.encodings.tensor_encoding import FileEncoding
from plain_files.read_json import JsonObject

_INTEGER = re.compile(r"(u?)int([2-9]|[12]\d|3[0-2])")
_FLOATS = ("float4e2m1", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")
_BETA_BITS, _BETA_MOST = 4, 16
"""The beta of 2.0.0 wrote the width before compression: int8 for 4 bits times at most 16."""


def read_v2_record(tensor: str, parameter: bool | None, record: JsonObject) -> FileEncoding:
    """Return the encoding in a record; null stands for an absent field.

    Raises:
        Unreadable: a field is missing or impossible.
    """
    kind = record.get("output_dtype")
    if kind in _FLOATS:
        return FileEncoding(
            tensor,
            8,
            parameter=parameter,
            problem=f"An encoding must be of whole numbers, got {kind} for {tensor!r}. "
            "Choose one here instead.",
        )
    match = _INTEGER.fullmatch(kind) if isinstance(kind, str) else None
    if match is None:
        raise Unreadable(f"must have an integer type as output_dtype, got {str(kind)[:40]!r}")
    signed, bits = not match[1], int(match[2])
    block = record.get("block_size")
    scale = _lpbq_scales(record) if record.get("per_block_int_scale") is not None else None
    if scale is not None:
        if block is None:
            raise Unreadable("must have a block_size beside per_block_int_scale")
        if bits == 2 * _BETA_BITS and np.max(record["per_block_int_scale"]) <= _BETA_MOST:
            bits = _BETA_BITS
    else:
        scale = read_positive_scales(record.get("y_scale"), "y_scale")
    return _complete_encoding(
        FileEncoding(tensor, bits, signed, parameter=parameter), record, scale, block
    )


def _complete_encoding(
    start: FileEncoding, record: JsonObject, scale: NDArray[np.float32], block: object
) -> FileEncoding:
    """Return the encoding with scales, zero points and axis."""
    axis = record.get("axis")
    if scale.size > 1 and axis is None and block is None:
        raise Unreadable("must have an axis, since it has several scales")
    zero_point = read_zero_points(record.get("y_zero_point"), scale.shape)
    problem = (
        "" if (zero_point == np.round(zero_point)).all() else zero_missing_reason(start.tensor)
    )
    several = scale.size > 1 or block is not None or (axis is not None and scale.ndim > 0)
    middle = 0 if start.signed else 1 << (start.bits - 1)
    symmetric = bool((zero_point == middle).all())
    whole_zero = tuple(int(z) for z in np.round(zero_point).ravel().tolist())
    encoding = replace(
        start,
        symmetric=symmetric,
        scale=tuple(scale.ravel().tolist()),
        zero_point=whole_zero,
        shape=tuple(scale.shape) if several else (),
        axis=read_whole_number(axis, "axis", -8, 8) if several and axis is not None else None,
        block_size=read_whole_number(block, "block_size", 1, 2**31) if block is not None else None,
        problem=problem,
    )
    if symmetric and not start.signed:  # the same steps around zero, as the simulation has them
        return replace(encoding, signed=True, zero_point=(0,) * len(whole_zero))
    return encoding


def _lpbq_scales(record: JsonObject) -> NDArray[np.float32]:
    """Return the scales of LPBQ: the integer of a block times the scale of the channel."""
    blocks = read_number_array(record["per_block_int_scale"], "per_block_int_scale")
    channels = read_positive_scales(
        record.get("per_channel_float_scale"), "per_channel_float_scale"
    )
    if channels.ndim < blocks.ndim:  # one a channel, which comes first
        channels = channels.reshape(*channels.shape, *(1,) * (blocks.ndim - channels.ndim))
    try:
        found = blocks.astype(np.float32) * channels
    except ValueError:
        found = np.zeros(0, np.float32)
    if found.shape != blocks.shape or not (found > 0).all():
        raise Unreadable("must have scales of channels that fit those of blocks, all positive")
    return found
