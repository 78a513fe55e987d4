"""One record of AIMET 1.0.0 and 0.6.1: offsets are negative, for codes without a sign."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model_io.encodings.aimet_values import (
    MOST_BITS,
    Unreadable,
    read_number_array,
    read_positive_scales,
    read_whole_number,
    read_zero_points,
    zero_missing_reason,
)
from model_io.encodings.tensor_encoding import FileEncoding, float_tensor_record
from plain_files.read_json import JsonObject

_TYPES = ("PER_TENSOR", "PER_CHANNEL", "PER_BLOCK", "LPBQ")


def read_v1_record(tensor: str, parameter: bool | None, record: JsonObject) -> FileEncoding:
    """Return the encoding in a record of 1.0.0.

    Raises:
        Unreadable: a field is missing or impossible.
    """
    kind = str(record.get("dtype")).upper()
    if kind == "FLOAT":
        return float_tensor_record(tensor, parameter=bool(parameter))
    type_ = record.get("enc_type", "PER_TENSOR")
    if kind != "INT" or type_ not in _TYPES:
        raise Unreadable(f"must be INT or FLOAT and one of {', '.join(_TYPES)}")
    bits = read_whole_number(record.get("bw"), "bw", 2, MOST_BITS)
    scale = read_positive_scales(record.get("scale"), "scale").ravel()
    offset = record.get("offset")
    block = None
    if type_ in ("PER_BLOCK", "LPBQ"):
        block = read_whole_number(record.get("block_size"), "block_size", 1, 2**31)
    if type_ == "PER_TENSOR" and scale.size != 1:
        raise Unreadable(f"must have one scale where it is PER_TENSOR, got {scale.size}")
    if type_ == "LPBQ":  # bw is the width of a block's whole scale and its codes together
        bits = read_whole_number(record.get("compressed_bw"), "compressed_bw", 2, bits)
        scale, offset = _lpbq_block_scales(record, scale), -(1 << (bits - 1))
    encoding = _encoding_from_offsets(
        tensor, bits, _truth_value(record.get("is_sym")), scale, offset, parameter, block
    )
    if read_number_array(record.get("zero_point_shift") or 0, "zero_point_shift").any():
        return replace(encoding, problem=zero_missing_reason(tensor))
    return encoding if type_ == "PER_TENSOR" else replace(encoding, shape=(scale.size,))


def read_v061_records(tensor: str, parameter: bool | None, records: object) -> FileEncoding:
    """Return the encoding in the list of records of 0.6.1, one record for each channel.

    Raises:
        Unreadable: a field is missing or impossible.
    """
    records = [records] if isinstance(records, dict) else records
    if not isinstance(records, list) or not records or not all(map(_is_json_object, records)):
        raise Unreadable("must be a list of records")
    if any(str(record.get("dtype", "int")).lower() == "float" for record in records):
        return float_tensor_record(tensor, parameter=bool(parameter))
    bits = read_whole_number(records[0].get("bitwidth"), "bitwidth", 2, MOST_BITS)
    if any(record.get("bitwidth") != records[0]["bitwidth"] for record in records):
        raise Unreadable("must have one bitwidth for all channels")
    steps = [_scale_and_offset(record, bits) for record in records]
    scale = read_positive_scales([step[0] for step in steps], "scale")
    symmetric = all(_truth_value(record.get("is_symmetric")) for record in records)
    encoding = _encoding_from_offsets(
        tensor, bits, symmetric, scale, [s[1] for s in steps], parameter, None
    )
    return encoding if len(records) == 1 else replace(encoding, shape=(len(records),))


def _scale_and_offset(record: JsonObject, bits: int) -> tuple[object, object]:
    """Return (scale, offset); early files have only the limits."""
    if record.get("scale") is not None and record.get("offset") is not None:
        return record["scale"], record["offset"]
    low, high = (float(read_number_array(record.get(end), end)) for end in ("min", "max"))
    scale = (high - low) / (2**bits - 1)
    return scale, round(low / scale) if scale > 0 else 0


def _encoding_from_offsets(
    tensor: str,
    bits: int,
    symmetric: bool,
    scale: NDArray[np.float32],
    offset: object,
    parameter: bool | None,
    block: int | None,
) -> FileEncoding:
    """Return the encoding of the offsets: signed if the middle of a symmetric encoding is zero."""
    shift = -read_zero_points(offset, scale.shape)
    if not (shift == np.round(shift)).all():
        return FileEncoding(tensor, bits, parameter=parameter, problem=zero_missing_reason(tensor))
    middle = 1 << (bits - 1)
    signed = symmetric and bool((shift == middle).all())
    return FileEncoding(
        tensor,
        bits,
        signed,
        symmetric,
        tuple(scale.tolist()),
        tuple(int(zero) - (middle if signed else 0) for zero in shift.tolist()),
        block_size=block,
        parameter=parameter,
    )


def _lpbq_block_scales(record: JsonObject, channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scales of LPBQ: the integer of a block times the scale of the channel."""
    held = read_number_array(record.get("per_block_int_scale"), "per_block_int_scale").ravel()
    if held.size % channels.size or not (held > 0).all():
        raise Unreadable("must have as many positive per_block_int_scale for every channel")
    table: NDArray[np.float32] = held.reshape(channels.size, -1).astype(np.float32)
    return (table * channels[:, None]).ravel()


def _truth_value(value: object) -> bool:
    """Return a truth value; version 0.6.1 writes truth values as text."""
    return value is True or str(value).lower() == "true"


def _is_json_object(record: object) -> bool:
    return isinstance(record, dict)
