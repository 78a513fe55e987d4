"""Means to tamper with a good `.pt2`."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.model_io.pt2_files import Payload, exported, members_of, write

Tamper = Callable[[dict[str, bytes]], None]
JsonChange = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="session")
def good() -> dict[bool, bytes]:
    return {dynamic: exported(dynamic) for dynamic in (False, True)}


@pytest.fixture
def tampered(good: dict[bool, bytes], tmp_path: Path) -> Callable[[Tamper], Path]:
    def make(change: Tamper) -> Path:
        members = members_of(good[True])
        change(members)
        folder = tmp_path / "uploads"
        folder.mkdir()
        return write(folder / "evil.pt2", members)

    return make


@pytest.fixture
def tampered_json(tampered: Callable[[Tamper], Path]) -> Callable[[str, JsonChange], Path]:
    def make(member: str, change: JsonChange) -> Path:
        def edit(members: dict[str, bytes]) -> None:
            content = json.loads(members[member])
            change(content)
            members[member] = json.dumps(content).encode()

        return tampered(edit)

    return make


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def pickled(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Payload(marker), buffer)
    return buffer.getvalue()
