"""Frozen results to plain JSON values and back, with a check of the types."""

import math
import types
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def plain_from_result(value: object) -> Any:
    """Return dicts, lists, numbers and strings for a result; infinities become strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain_from_result(getattr(value, field.name)) for field in fields(value)
        }
    if isinstance(value, dict):
        return {str(key): plain_from_result(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_from_result(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    return value


def result_from_plain(kind: type[T], raw: object) -> T:
    """Return the result of type `kind` in the output of `plain_from_result`.

    Raises:
        ValueError: a value differs from the declared type.
    """
    result: T = _read_value(kind, raw, kind.__name__)
    return result


def _read_value(kind: Any, raw: object, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if raw is None and type(None) in arguments:
            return None
        return _read_value(next(a for a in arguments if a is not type(None)), raw, where)
    if is_dataclass(kind) and isinstance(kind, type):
        return _read_dataclass_value(kind, raw, where)
    if origin is tuple:
        return _read_tuple_value(arguments, raw, where)
    if origin is dict:
        return _read_dict_value(arguments[1], raw, where)
    if kind is Any:
        return raw
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(raw)
    if kind is float and isinstance(raw, int | float | str) and not isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, kind) or (isinstance(raw, bool) and kind is not bool):
        raise ValueError(f"{where} must be of type {kind.__name__}; got {raw!r}.")
    return raw


def _read_dataclass_value(kind: type, raw: object, where: str) -> object:
    if not isinstance(raw, dict):
        raise ValueError(f"{where} must be an object; got {raw!r}.")
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind) if field.init}
    for field in fields(kind):
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if field.init and not optional and field.name not in raw:
            raise ValueError(f"{where}.{field.name} must be there; got {sorted(raw)}.")
    return kind(
        **{
            name: _read_value(hints[name], item, f"{where}.{name}")
            for name, item in raw.items()
            if name in known
        }
    )


def _read_dict_value(kind: object, raw: object, where: str) -> dict[str, object]:
    if not isinstance(raw, dict):
        raise ValueError(f"{where} must be an object; got {raw!r}.")
    return {key: _read_value(kind, item, f"{where}.{key}") for key, item in raw.items()}


def _read_tuple_value(arguments: tuple[object, ...], raw: object, where: str) -> tuple[object, ...]:
    if not isinstance(raw, list):
        raise ValueError(f"{where} must be a list; got {raw!r}.")
    kinds = [arguments[0]] * len(raw) if arguments[-1] is Ellipsis else list(arguments)
    return tuple(_read_value(kind, item, where) for kind, item in zip(kinds, raw, strict=True))
