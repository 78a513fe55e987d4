"""Means to tamper with a good `.pt2`."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.operator_registry  # noqa: F401  built once a process
from model_io.artefacts import artefact
from model_io.qdq_export import export_qdq
from tests.model_io.pt2_files import Payload, exported, members_of, write
from tests.shared_answers import marked_once

Tamper = Callable[[dict[str, bytes]], None]
JsonChange = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="package", autouse=True)
def _exported_once() -> Iterator[None]:
    """Files that start from the same float ONNX share it; `test_float_onnx` asks for each anew."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (artefact, export_qdq):
            patch.setattr(module, "export_marked_onnx", marked_once)
        yield


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
