"""Turn a table of a TOML file into a frozen dataclass, refusing unknown keys."""

import difflib
import math
import types
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import (
    Any,
    Literal,
    NewType,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

T = TypeVar("T")

LARGEST_NUMBER = 1e15
MAX_LIST = 64


def decode_table(kind: type[T], table: Mapping[str, object], path: str = "") -> T:
    """Build the dataclass `kind` from `table`; the field names are the keys.

    Raises ValueError naming the dotted key for an unknown or missing key, a value of the wrong
    type, and a number that is negative, not finite or absurdly large.
    """
    known = _declared_fields(cast("Hashable", kind))
    for key in table:
        if key not in known:
            raise ValueError(_explain_unknown(_join_key(path, key), key, tuple(known)))
    values: dict[str, object] = {}
    for name, (field, hint) in known.items():
        if name in table:
            values[name] = _read_by_hint(hint, table[name], _join_key(path, name))
        elif type(None) in get_args(hint):
            values[name] = None
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{_join_key(path, name)} must be given, it is missing; add the key")
    return kind(**values)


def keys_of_numbers(table: Mapping[str, object], path: str = "") -> Iterator[str]:
    """Yield the dotted key of every number in `table`; lists of tables share a key.

    >>> sorted(keys_of_numbers({"array": {"rows": 4}, "name": "a"}))
    ['array.rows']
    """
    for key, value in table.items():
        dotted = _join_key(path, key)
        if isinstance(value, dict):
            yield from keys_of_numbers(value, dotted)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from keys_of_numbers(item, dotted)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield dotted


@cache
def _declared_fields(kind: Hashable) -> dict[str, tuple[Field[Any], Any]]:
    declared = cast("type", kind)
    hints = get_type_hints(declared)
    return {field.name: (field, hints[field.name]) for field in fields(declared)}


def _read_by_hint(hint: Any, value: object, path: str) -> object:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_tagged_table(
            [arg for arg in get_args(hint) if arg is not type(None)], value, path
        )
    if origin is tuple:
        return _read_typed_list(get_args(hint)[0], value, path)
    if origin is Literal:
        return _read_listed_choice(get_args(hint), value, path)
    if isinstance(hint, NewType):
        return _read_scalar_value(cast("type", hint.__supertype__), value, path, signed=True)
    if is_dataclass(hint):
        return decode_table(cast("type", hint), _expect_table(value, path), path)
    if issubclass(hint, StrEnum):
        return hint(_read_listed_choice(tuple(member.value for member in hint), value, path))
    return _read_scalar_value(hint, value, path)


def _read_tagged_table(variants: list[Any], value: object, path: str) -> object:
    """Choose among tagged tables by the key `kind`."""
    if len(variants) == 1:
        return _read_by_hint(variants[0], value, path)
    table = _expect_table(value, path)
    by_tag = {get_args(_declared_fields(variant)["kind"][1])[0]: variant for variant in variants}
    tag = _read_listed_choice(tuple(by_tag), table.get("kind"), _join_key(path, "kind"))
    return decode_table(by_tag[tag], table, path)


def _read_typed_list(item: Any, value: object, path: str) -> tuple[object, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LIST:
        raise ValueError(f"{path} must be a list of 1 to {MAX_LIST} entries; correct it")
    return tuple(_read_by_hint(item, entry, path) for entry in value)


def _read_listed_choice(choices: tuple[str, ...], value: object, path: str) -> str:
    if value not in choices:
        raise ValueError(f"{path} must be one of {', '.join(choices)}, got {value!r}; choose one")
    return str(value)


def _read_scalar_value(kind: type, value: object, path: str, *, signed: bool = False) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise ValueError(
            f"{path} must be {_WORDS[kind]}, got {str(value)[:60]!r}; correct the value"
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_finite_number(abs(value) if signed else value, path)
    return value


def _check_finite_number(value: float, path: str) -> None:
    if not math.isfinite(value) or not 0 <= value <= LARGEST_NUMBER:
        raise ValueError(
            f"{path} must be a finite number from 0 to {LARGEST_NUMBER:g}, got {value}; correct it"
        )


def _expect_table(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{path} must be a table, got {str(value)[:60]!r}; write [{path}]")
    return value


def _explain_unknown(dotted: str, key: str, known: tuple[str, ...]) -> str:
    with_unit = [name for name in known if name.startswith(f"{key}_")]
    if with_unit:
        return f"{dotted} must carry its unit, it has none; write {' or '.join(with_unit)}"
    near = difflib.get_close_matches(key, known, n=1) or sorted(known)
    return f"{dotted} must be a known key, it is not; write {' or '.join(near)}"


def _join_key(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


_WORDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
}
