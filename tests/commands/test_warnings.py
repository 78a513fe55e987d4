"""Warnings of commands: the scale of mean and std, and a float network that answers at chance."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from data_io.bundled import fashion_test_set
from data_io.preprocessing import UNIT_SCALE_NOTE

TORCHVISION = {"channels": 1, "mean": [0.286], "std": [0.353]}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 images of Fashion-MNIST as a user would bring them."""
    path = tmp_path_factory.mktemp("fashion") / "images.npz"
    chosen = fashion_test_set().sample(120, 0)
    (batch,) = chosen.batches(120)
    source: Any = chosen.source
    assert batch.labels is not None
    np.savez(path, inputs=source.images[list(chosen.indices)], labels=batch.labels.numpy())
    return path


def score(images: Path, steps: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the answer of evaluate with these steps, and its standard error."""
    file = images.with_name("steps.json")
    file.write_text(json.dumps(steps), encoding="utf-8")
    words = ["evaluate", "--model", "fashion-mobilenet", "--data", str(images)]
    result = CliRunner().invoke(app, [*words, "--preprocess", str(file), "--calibration", "20"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), result.stderr


def test_torchvision_scale_is_read_and_said(images: Path) -> None:
    answer, stderr = score(images, TORCHVISION)
    assert answer["float"]["top1"] > 0.85
    assert answer["warnings"] == [UNIT_SCALE_NOTE]
    assert f"Warning: {UNIT_SCALE_NOTE}" in stderr
    said, _ = score(images, {**TORCHVISION, "scale": "0..1"})
    assert said["warnings"] == []
    assert said["float"] == answer["float"]


def test_wrong_scale_is_found_by_trying(images: Path) -> None:
    answer, stderr = score(images, {**TORCHVISION, "scale": "0..255"})
    assert answer["float"]["top1"] < 0.75
    assert "With mean and std times 255: " in answer["warnings"][-1]
    assert answer["warnings"][-1] in stderr


def test_cost_has_no_warnings() -> None:
    result = CliRunner().invoke(app, ["cost", "--model", "fashion-mobilenet"])
    assert json.loads(result.stdout)["warnings"] == []
