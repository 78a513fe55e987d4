"""A law over the whole format: wherever a string stands in a `.pt2`, code in its place is refused
or dropped. It holds for fields that torch adds later, because the walk finds them."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from model_io.errors import ModelError
from model_io.load import load_model
from model_io.pt2.archive import CONSTANTS_CONFIG, PROGRAM, WEIGHTS_CONFIG
from tests.model_io.pt2_files import members_of, write

Place = tuple[str | int, ...]


def places(value: Any, at: Place = ()) -> Iterator[tuple[Place, bool]]:
    """Every string (False) and every key of an object (True) below `value`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, key), True
            yield from places(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*at, index))
    elif isinstance(value, str):
        yield at, False


def kind_of(place: Place) -> Place:
    """The place without indices and without names that differ from node to node."""
    names = {"tensor_values", "config", "sym_int_values", "range_constraints"}
    shown: list[str | int] = []
    for step in place:
        after_name = bool(shown) and shown[-1] in names
        shown.append("*" if isinstance(step, int) or after_name else step)
    return tuple(shown)


def replaced(value: Any, place: Place, is_key: bool, text: str) -> Any:
    """A copy of `value` with `text` at one place."""
    value = copy.deepcopy(value)
    inner = value
    for step in place[:-1]:
        inner = inner[step]
    if is_key:
        inner[text] = inner.pop(place[-1])
    else:
        inner[place[-1]] = text
    return value


def opens(path: Path) -> bool:
    """Whether the model can be loaded and run; refusals must be of our own kind."""
    try:
        loaded = load_model(path)
    except ModelError:
        return False
    loaded.module(torch.zeros(2, 1, 6, 6))
    return True


@pytest.mark.parametrize("member", [PROGRAM, WEIGHTS_CONFIG, CONSTANTS_CONFIG])
def test_code_in_place_of_any_string(good: dict[bool, bytes], tmp_path: Path, member: str) -> None:
    members = members_of(good[True])
    content = json.loads(members[member])
    kinds = {(kind_of(place), key): (place, key) for place, key in places(content)}
    assert len(kinds) > 10
    marker = tmp_path / "executed"
    dropped = set()
    for (kind, _), (place, is_key) in kinds.items():
        text = f"open({str(marker)!r}, 'w').close()"
        edited = json.dumps(replaced(content, place, is_key, text)).encode()
        if opens(write(tmp_path / "evil.pt2", members | {member: edited})):
            dropped.add(kind[-1] if kind[-1] != "*" else kind[-2])
        assert not marker.exists(), kind
    # These are left out of what is loaded, or are text that nobody runs (module paths).
    assert dropped <= {
        "torch_version",
        "verifiers",
        "guards_code",
        "metadata",
        "stack_trace",
        "nn_module_stack",
        "torch_fn",
        "custom",
        "from_node",
    }


def test_damaged_files_are_refused_in_our_own_words(
    good: dict[bool, bytes], tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    data = good[True]
    path = tmp_path / "damaged.pt2"
    opened = 0
    for _ in range(60):
        damaged = bytearray(data)
        for place in torch.randint(len(data), (3,), generator=generator).tolist():
            damaged[place] ^= 1 << int(torch.randint(8, (), generator=generator))
        path.write_bytes(damaged)
        opened += opens(path)
    path.write_bytes(data[: len(data) // 2])
    assert not opens(path)
    assert opened < 60
