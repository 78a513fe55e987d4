"""The command inspect: an answer for files that come in, and for those that do not."""

import json
from pathlib import Path

import torch
from torch import nn
from typer.testing import CliRunner

from cli import app


def test_a_file_is_told_or_refused(tmp_path: Path) -> None:
    batch = ({0: torch.export.Dim("batch")},)
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    program = torch.export.export(net, (torch.zeros(2, 6),), dynamic_shapes=batch)
    torch.export.save(program, tmp_path / "net.pt2")
    found = CliRunner().invoke(app, ["inspect", "--model", str(tmp_path / "net.pt2")])
    assert found.exit_code == 0
    answer = json.loads(found.stdout)
    assert (answer["macs"], answer["encoded_weights"], answer["float_weights"]) == (36, 36, [])
    (tmp_path / "bad.pt2").write_bytes(b"nothing")
    found = CliRunner().invoke(app, ["inspect", "--model", str(tmp_path / "bad.pt2")])
    assert found.exit_code == 2
    assert "zip archive" in json.loads(found.stdout)["refused"]
