"""A small good `.pt2`, its members, and a payload that tells when it was run."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Convolution, batch norm, a constant, ReLU, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.classifier = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.conv(x))) + torch.tensor([0.5])
        logits: Tensor = self.classifier(y.mean((2, 3)))
        return logits


def exported(dynamic: bool) -> bytes:
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1)
    shapes = ({0: batch},) if dynamic else None
    program = torch.export.export(Net().eval(), (torch.randn(2, 1, 6, 6),), dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def members_of(data: bytes) -> dict[str, bytes]:
    """Names without the root folder."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {i.filename.partition("/")[2]: archive.read(i) for i in archive.infolist()}


def write(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"net/{name}", content)
    return path


class Payload:
    """A pickle of this writes a file when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.marker)!r}, 'w').close()",))
