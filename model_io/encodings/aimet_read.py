"""Read AIMET encodings of 2.0.0, 1.0.0 and 0.6.1; JSON from anywhere, checked value by value."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from model_io.encodings import aimet_v1_records as aimet_lists
from model_io.encodings import aimet_v2_records as aimet_records
from model_io.encodings.aimet_values import Unreadable, readable_tensor_name
from model_io.encodings.tensor_encoding import FileEncoding
from model_io.errors import ModelError
from plain_files.read_json import JsonError, JsonObject, parse_json

MAX_BYTES = 200 * 2**20
MOST_RECORDS = 100_000


@dataclass(frozen=True, slots=True)
class Encodings:
    """The encodings in a file; `version` is the version of the file format."""

    version: str
    encodings: tuple[FileEncoding, ...]


def is_encodings_text(text: str) -> bool:
    """Whether JSON text looks like encodings, rather than a configuration or another document."""
    return any(f'"{key}"' in text for key in ("encodings", *_SECTIONS))


def read_aimet_encodings(content: str | bytes, shown: str) -> Encodings:
    """Return the encodings in the text of a file; `shown` is the name of the file in sentences.

    Raises:
        ModelError: the text holds no encodings, an unknown version, or an impossible value; the
            sentence names the tensor.
    """
    raw = _parse_json(content, shown)
    version = encodings_version(raw)
    if version not in _READERS:
        raise ModelError(
            f"Encodings must be of AIMET's version 2.0.0, 1.0.0 or 0.6.1, got {version[:40]!r} in "
            f"{shown}. Export them as one of these."
        )
    found: dict[tuple[str, bool | None], FileEncoding] = {}
    for name, parameter, record in _READERS[version](raw):
        if len(found) >= MOST_RECORDS:
            raise ModelError(f"{shown} must hold at most {MOST_RECORDS} tensors, got more.")
        try:
            encoding = _GRIDS[version](readable_tensor_name(name), parameter, record)
        except Unreadable as problem:
            raise ModelError(
                f"The encoding of {str(name)[:80]!r} in {shown} {problem}. Export it again."
            ) from None
        found[encoding.tensor, parameter] = encoding
    return Encodings(version, tuple(found.values()))


def _parse_json(content: str | bytes, shown: str) -> JsonObject | list[object]:
    if len(content) > MAX_BYTES:
        raise ModelError(f"Encodings must be at most {MAX_BYTES} bytes, got {len(content)}.")
    try:
        found = parse_json(content, MAX_BYTES)
    except JsonError as error:
        raise ModelError(f"Encodings must be JSON, got {shown} that is none: {error}.") from None
    if not isinstance(found, dict | list) or not found:
        raise ModelError(f"Encodings must be a JSON object of tensors, got none in {shown}.")
    return found


def encodings_version(raw: JsonObject | list[object]) -> str:
    """Return the version in the file; without a version, the JSON's shape decides, as in AIMET."""
    if isinstance(raw, dict) and isinstance(raw.get("version"), str):
        named = raw["version"]
        return "2.0.0" if named.startswith("2.0.0.") else named
    if isinstance(raw, dict):
        if "encodings" in raw:
            return "2.0.0"
        listed = any(isinstance(raw.get(key), list) for key in _SECTIONS)
        return "1.0.0" if listed else "0.6.1"
    first = raw[0]
    new = isinstance(first, dict) and ("y_scale" in first or "per_block_int_scale" in first)
    return "2.0.0" if new else "1.0.0"


Named = Iterator[tuple[object, bool | None, Any]]
_SECTIONS = {"activation_encodings": False, "param_encodings": True}


def _records_of_v2(raw: JsonObject | list[object]) -> Named:
    """Yield the records of 2.0.0; version 2.0.0 does not separate weights from activations."""
    for record in _section_list(
        raw.get("encodings") if isinstance(raw, dict) else raw, "encodings"
    ):
        yield record.get("name"), None, record


def _records_of_v1(raw: JsonObject | list[object]) -> Named:
    # a list holds the encodings of parameters alone
    sections = {"param_encodings": raw} if isinstance(raw, list) else raw
    for section, parameter in _SECTIONS.items():
        for record in _section_list(sections.get(section) or [], section):
            yield record.get("name"), parameter, record


def _records_of_v061(raw: JsonObject | list[object]) -> Named:
    plain = isinstance(raw, list) or not any(section in raw for section in _SECTIONS)
    sections: JsonObject = {"param_encodings": raw} if isinstance(raw, list) or plain else raw
    for section, parameter in _SECTIONS.items():
        table = sections.get(section) or {}
        if not isinstance(table, dict):
            raise ModelError(f"{section} of 0.6.1 must be an object by tensor, got a list.")
        for name, records in table.items():
            yield name, parameter, records


def _section_list(found: object, section: str) -> list[JsonObject]:
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise ModelError(f"{section} must be a list of records, got something else.")
    return found


_READERS = {"2.0.0": _records_of_v2, "1.0.0": _records_of_v1, "0.6.1": _records_of_v061}
_GRIDS = {
    "2.0.0": aimet_records.read_v2_record,
    "1.0.0": aimet_lists.read_v1_record,
    "0.6.1": aimet_lists.read_v061_records,
}
