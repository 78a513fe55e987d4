"""An SSD detector of one's own: each command takes its prior boxes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from typer.testing import CliRunner

from analysis.evaluation.tasks.boxes import decode
from analysis.evaluation.tasks.kinds import Head
from cli import app
from tests.networks_wild import Ssd

OPTIONS: dict[str, tuple[object, ...]] = {
    "evaluate": (),
    "sensitivity": ("--bits", 4, "--role", "weights"),
    "optimize": (
        *(
            "--budget",
            "energy=0.9",
            "--relative-to",
            "w8a8",
            "--machine",
            "bitfusion_like",
            "--bits",
            "4,8",
            "--measure",
        ),
    ),
}
SIDE, IMAGES, PLACES = 16, 24, 160


def prior_boxes() -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    return random.uniform(0.2, 0.8, (PLACES, 4)).astype(np.float32)


def targets_of(network: torch.nn.Module, images: Tensor) -> dict[str, NDArray[Any]]:
    """Return the best box of each image as the truth, so that the float network finds it."""
    with torch.no_grad():
        found = decode(network(images), Head.SSD, (SIDE, SIDE), torch.from_numpy(prior_boxes()))
    return {
        "targets.boxes": torch.stack([one.boxes[:1] for one in found]).numpy(),
        "targets.classes": torch.stack([one.classes[:1] for one in found]).numpy(),
    }


def write_ssd_files(folder: Path) -> dict[str, Path]:
    """Write a detector, images with boxes, and prior boxes; return the paths by name."""
    torch.manual_seed(0)
    network = Ssd().eval()
    images = torch.randn(IMAGES, 3, SIDE, SIDE)
    batch = torch.export.Dim("n", min=1, max=64)
    program = torch.export.export(network, (images[:2],), dynamic_shapes=({0: batch},))
    paths = {name: folder / name for name in ("ssd.pt2", "data.npz", "priors.npy")}
    torch.export.save(program, paths["ssd.pt2"])
    np.savez(paths["data.npz"], inputs=images.numpy(), **targets_of(network, images))  # type: ignore[arg-type]  # numpy says bool
    np.save(paths["priors.npy"], prior_boxes())
    return paths


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_ssd_files(tmp_path)


@pytest.mark.parametrize("command", ["evaluate", "sensitivity", "optimize"])
def test_commands_take_prior_boxes(files: dict[str, Path], command: str) -> None:
    words = [
        *(command, "--model", files["ssd.pt2"], "--data", files["data.npz"], "--head", "ssd"),
        *("--task", "detection", "--calibration", 8, "--samples", 8, *OPTIONS[command]),
    ]
    without = CliRunner().invoke(app, [str(word) for word in words])
    assert without.exit_code == 2
    assert "no priors" in without.stderr
    found = CliRunner().invoke(app, [*map(str, words), "--priors", str(files["priors.npy"])])
    assert found.exit_code == 0, found.stderr
    answer = json.loads(found.stdout)
    if command == "evaluate":
        assert answer["metric"]["name"] == "mAP"
        assert answer["metric"]["float"] > 0.3
    elif command == "sensitivity":
        assert answer["metric"] == "mAP"
        assert any(row["metric_lost_points"] is not None for row in answer["layers"])
    else:
        assert answer["choice"]["measured"]["metric"]["name"] == "mAP"
