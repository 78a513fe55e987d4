"""Walk the bytes of an ONNX file before parsing.

A parser makes an object of a hundred bytes from two bytes for an empty message, so a file within
the limits of an upload could fill the memory. The walk makes no objects: the walk follows lengths,
counts messages and strings, and stops at a length beyond the end.
"""

from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from onnx import ModelProto

from model_io.errors import ModelError, UnsafeFileError

MAX_PARTS = 3_000_000
"""Messages and strings in one file; a network of ten thousand nodes has about 200 000."""
MAX_FIELDS = 10_000_000
"""Fields of all messages; walking them takes seconds. A network of ten thousand nodes has a few
hundred thousand: the numbers of a tensor are one field."""
MAX_DEPTH = 60
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_wire_format(data: bytes, shown: str) -> None:
    """Raise an error if the bytes of a ModelProto are cut short or would grow while parsing.

    Raises:
        ModelError: a length reaches beyond the end of the file.
        UnsafeFileError: too many parts, or too deep nesting.
    """
    _Walk(data, shown).walk_message(ModelProto.DESCRIPTOR, 0, len(data), 0)


@cache
def _message_fields(message: Descriptor) -> dict[int, Descriptor | None]:
    """Return the fields that make objects, by number: the message type, or None for a string."""
    strings = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
    return {
        field.number: field.message_type
        for field in message.fields
        if field.message_type is not None or (field.is_repeated and field.type in strings)
    }


class _Walk:
    """The bytes, the name of the file in sentences, and the counts so far."""

    def __init__(self, data: bytes, shown: str) -> None:
        self.data = data
        self.shown = shown
        self.parts = 0
        self.fields = 0

    def walk_message(self, kind: Descriptor, at: int, end: int, depth: int) -> None:
        """Walk one message between two positions."""
        if depth > MAX_DEPTH:
            raise UnsafeFileError(
                f"{self.shown} must nest at most {MAX_DEPTH} parts deep, got more. Export the "
                "network without nested control flow."
            )
        parts = _message_fields(kind)
        while at < end:
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise self._too_many_parts_error()
            key, at = self._read_varint(at, end)
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                _, at = self._read_varint(at, end)
                continue
            length = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
            if wire == _BYTES:
                length, at = self._read_varint(at, end)
            if length < 0 or at + length > end:
                raise self._cut_short_error()
            if wire == _BYTES and number in parts:
                self._count_part()
                if (inner := parts[number]) is not None:
                    self.walk_message(inner, at, at + length, depth + 1)
            at += length

    def _read_varint(self, at: int, end: int) -> tuple[int, int]:
        """Return (number, next position)."""
        value = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            value |= (byte & 0x7F) << shift
            at += 1
            if byte < 0x80:
                return value, at
            shift += 7
        raise self._cut_short_error()

    def _count_part(self) -> None:
        """Count a part; too many parts raise an error."""
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise self._too_many_parts_error()

    def _too_many_parts_error(self) -> UnsafeFileError:
        return UnsafeFileError(
            f"{self.shown} must hold at most {MAX_PARTS} parts, got more: reading it would "
            "fill the memory. Export the network alone, without debug data."
        )

    def _cut_short_error(self) -> ModelError:
        return ModelError(
            f"{self.shown} must be a complete ONNX file, got one that is cut short or damaged: a "
            "length in it reaches beyond its end. Copy it or export it again."
        )
