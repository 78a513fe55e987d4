"""A small good `.pt2`, and the means to tamper with it."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

Tamper = Callable[[dict[str, bytes]], None]
JsonChange = Callable[[dict[str, Any]], object]


class Net(nn.Module):
    """Convolution, batch norm, a constant, ReLU, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.classifier = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.conv(x))) + torch.tensor([0.5])
        return self.classifier(y.mean((2, 3)))


def exported(dynamic: bool) -> bytes:
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1)
    shapes = ({0: batch},) if dynamic else None
    program = torch.export.export(Net().eval(), (torch.randn(2, 1, 6, 6),), dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def good() -> dict[bool, bytes]:
    return {dynamic: exported(dynamic) for dynamic in (False, True)}


def members_of(data: bytes) -> dict[str, bytes]:
    """Names without the root folder."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {i.filename.partition("/")[2]: archive.read(i) for i in archive.infolist()}


def write(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"net/{name}", content)
    return path


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


class Payload:
    """A pickle of this writes a file when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.marker)!r}, 'w').close()",))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def pickled(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Payload(marker), buffer)
    return buffer.getvalue()
