"""Write AIMET encodings: 2.0.0 is one flat list after ONNX, 1.0.0 is two lists."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from model_io.encodings.tensor_encoding import FileEncoding
from model_io.errors import ModelError
from quant.spec import Granularity

T = TypeVar("T")
PRODUCER = {"package": "quantscope", "version": "0.1.0"}
VERSIONS = ("2.0.0", "1.0.0")
_WIDTHS = (2, 4, 8, 16, 32)
"""The integers that 2.0.0 has types for."""
_TYPES = {
    Granularity.PER_TENSOR: "PER_TENSOR",
    Granularity.PER_CHANNEL: "PER_CHANNEL",
    Granularity.PER_GROUP: "PER_BLOCK",
}


def write_aimet_encodings(
    encodings: Sequence[FileEncoding],
    version: str = "2.0.0",
    settings: dict[str, object] | None = None,
) -> str:
    """Return the encodings of a network as JSON text for AIMET's tool chain.

    Args:
        encodings: encodings of weights, of activations and, for integer biases, of biases.
        version: "2.0.0" or "1.0.0".
        settings: the `quantizer_args` of 1.0.0.

    Raises:
        ModelError: the version is unknown.
    """
    if version not in VERSIONS:
        raise ModelError(f"Encodings are written as {' or '.join(VERSIONS)}, got {version!r}.")
    whole: dict[str, object]
    if version == "2.0.0":
        records = [
            _v2_record(widen_to_type(encoding)) for encoding in encodings if not encoding.floating
        ]
        whole = {"producer": PRODUCER, "version": version, "encodings": records}
    else:
        whole = {
            "producer": PRODUCER,
            "version": version,
            "activation_encodings": [
                _v1_record(encoding) for encoding in encodings if not encoding.parameter
            ],
            "param_encodings": [
                _v1_record(encoding) for encoding in encodings if encoding.parameter
            ],
            "quantizer_args": settings or {},
            "excluded_layers": [],
        }
    return json.dumps(whole, indent=2, allow_nan=False)


def version_notes(encodings: Iterable[FileEncoding], version: str) -> tuple[str, ...]:
    """Return the losses of a version, a sentence for each loss."""
    if version != "2.0.0":
        return ()
    encodings = tuple(encodings)
    wide = Counter(encoding.bits for encoding in encodings if encoding.bits not in _WIDTHS)
    notes = [
        f"{count} {'tensor' if count == 1 else 'tensors'} of {bits} bits: 2.0.0 has no such type, "
        f"so the next wider one, of {integer_type_bits(bits)} bits, holds the same steps; it "
        "clips later. "
        "1.0.0 keeps the width."
        for bits, count in sorted(wide.items())
    ]
    floating = sum(encoding.floating for encoding in encodings)
    if floating:
        notes.append(
            f"{floating} tensors stay float and have no record; a converter may give them "
            "encodings of its own unless told not to."
        )
    return tuple(notes)


def integer_type_bits(bits: int) -> int:
    """Return the bits of the smallest integer type of 2.0.0 with at least `bits` bits."""
    return next(width for width in _WIDTHS if width >= bits)


def widen_to_type(encoding: FileEncoding) -> FileEncoding:
    """Return an encoding in the integer type of 2.0.0; activations are unsigned, as in AIMET."""
    bits = integer_type_bits(encoding.bits)
    if not encoding.signed or encoding.parameter:
        return replace(encoding, bits=bits)
    shifted = tuple(zero + (1 << (bits - 1)) for zero in encoding.zero_point)
    return replace(encoding, bits=bits, signed=False, zero_point=shifted)


def _v2_record(encoding: FileEncoding) -> dict[str, object]:
    """Return a record of 2.0.0; fields with a default value are left out."""
    record: dict[str, object] = {
        "name": encoding.tensor,
        "output_dtype": f"{'' if encoding.signed else 'u'}int{encoding.bits}",
        "y_scale": _nested_lists(encoding.scale, encoding.shape),
    }
    if any(encoding.zero_point):
        record["y_zero_point"] = _nested_lists(encoding.zero_point, encoding.shape)
    if encoding.axis is not None:
        record["axis"] = encoding.axis
    if encoding.block_size is not None:
        record["block_size"] = encoding.block_size
    return record


def _nested_lists(values: Sequence[float], shape: tuple[int, ...]) -> object:
    """Return values as nested lists of the given shape; an empty shape gives the value alone."""
    if not shape:
        return values[0]
    step = len(values) // shape[0]
    return [_nested_lists(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _v1_record(encoding: FileEncoding) -> dict[str, object]:
    """Return a record of 1.0.0: flat lists, offsets for codes without a sign."""
    if encoding.floating:
        return {
            "name": encoding.tensor,
            "enc_type": "PER_TENSOR",
            "dtype": "FLOAT",
            "bw": encoding.bits,
        }
    least = 1 << (encoding.bits - 1) if encoding.signed else 0
    record: dict[str, object] = {
        "name": encoding.tensor,
        "enc_type": _TYPES[encoding.scale_granularity],
        "dtype": "INT",
        "bw": encoding.bits,
        "is_sym": encoding.symmetric,
        "scale": list(_order_outputs_first(encoding, encoding.scale)),
        "offset": [-zero - least for zero in _order_outputs_first(encoding, encoding.zero_point)],
    }
    if encoding.block_size is not None:
        record["block_size"] = encoding.block_size
    return record


def _order_outputs_first(encoding: FileEncoding, values: Sequence[T]) -> Sequence[T]:
    """Return the values of blocks ordered by output channel, as 1.0.0 prescribes."""
    if encoding.block_size is None or encoding.axis != 0:
        return values
    blocks, outputs = encoding.shape[:2]
    return [values[block * outputs + out] for out in range(outputs) for block in range(blocks)]
