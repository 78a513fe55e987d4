"""Writing a machine as a TOML file for `load_machine`."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum

from accelerator.machine import Machine
from accelerator.schema import keys_of_numbers

OF_FIT = ("scales.", "fit.", "mac_costs.")


def write_machine(machine: Machine, fitted_to: str = "") -> str:
    """Return the text of a machine's file.

    `fitted_to` is the source of numbers set by a fit, and of numbers without a source.
    """
    table = _plain_table(machine)
    table.pop("sources", None)
    text = "\n".join(_table_lines(table, ""))
    known = dict(machine.sources)
    lines = ["", "[sources]"]
    for key in dict.fromkeys(keys_of_numbers(tomllib.loads(text))):
        ours = fitted_to if fitted_to and key.startswith(OF_FIT) else known.get(key, fitted_to)
        lines.append(f"{_quoted_text(key)} = {_quoted_text(ours or 'our choice')}")
    return text + "\n" + "\n".join(lines) + "\n"


def machine_with_name(machine: Machine, name: str) -> Machine:
    """Return a machine with a new name; the title gets the name in brackets."""
    return replace(machine, name=name, title=f"{machine.title} ({name})")


def _plain_table(value: object) -> dict[str, object]:
    """Return a dataclass as a table without keys at None or at the default."""
    table: dict[str, object] = {}
    assert is_dataclass(value)
    for field in fields(value):
        item = getattr(value, field.name)
        if item is None or (
            field.default_factory is not MISSING and item == field.default_factory()
        ):
            continue
        table[field.name] = _plain_item(item)
    return table


def _plain_item(item: object) -> object:
    if is_dataclass(item):
        return _plain_table(item)
    if isinstance(item, Enum):
        return item.value
    if isinstance(item, tuple):
        return [_plain_item(entry) for entry in item]
    return item


def _table_lines(table: Mapping[str, object], path: str) -> Iterator[str]:
    """Yield the lines of a table: values, then tables, then lists of tables."""
    later: list[tuple[str, object]] = []
    for key, value in table.items():
        if isinstance(value, dict) or (isinstance(value, list) and _is_list_of_tables(value)):
            later.append((key, value))
        else:
            yield f"{key} = {_value_text(value)}"
    for key, value in later:
        dotted = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from ("", f"[{dotted}]", *_table_lines(value, dotted))
        elif isinstance(value, list):
            for entry in value:
                yield from ("", f"[[{dotted}]]", *_table_lines(entry, dotted))


def _is_list_of_tables(value: list[object]) -> bool:
    return bool(value) and isinstance(value[0], dict)


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted_text(value)
    if isinstance(value, list):
        return f"[{', '.join(_value_text(item) for item in value)}]"
    return repr(value)


def _quoted_text(value: str) -> str:
    return json.dumps(value)
