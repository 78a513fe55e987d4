"""The command compare-device on files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from accelerator.machine import load_preset
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import write_experiment_json
from cli import app
from data_io.bundled import BUNDLED_DATA
from quant.config import uniform_config
from sample_models.registry import SAMPLES

MODEL = "letter-mlp"


def ask(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "E.json"
    made = Experiment(uniform_config(8, 8), load_preset("edge_systolic_8b"))
    path.write_text(write_experiment_json(made), encoding="utf-8")
    return path


def test_a_dump_with_one_wrong_layer(experiment: Path, tmp_path: Path) -> None:
    """A layer of zeros is found; the layers before it, not recorded, may be the cause."""
    data = BUNDLED_DATA[SAMPLES[MODEL].dataset].test().first(4)
    (batch,) = data.batches(4)
    assert not isinstance(batch.inputs, tuple)
    dump = tmp_path / "dump.npz"
    base = ("compare-device", "--model", MODEL, "--experiment", experiment, "--calibration", 64)
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"weird/1": "layers.2"}))
    zeros = np.zeros((4, 256), np.float32)
    tensors: dict[str, Any] = {"weird/1": zeros, "nowhere": zeros}
    np.savez(dump, **tensors)
    found = ask(*base, "--dump", dump, "--names", names, "--images", 4)
    assert found.exit_code == 1, found.stderr
    told = json.loads(found.stdout)
    assert (told["first"], told["images"], told["unmatched"]) == ("layers.2", 4, ["nowhere"])
    assert told["divergences"][0]["unrecorded"] == ["input", "layers.0"]
    assert "The first layer that differs is layers.2" in found.stderr
    np.savez(dump, input=batch.inputs.numpy())
    alike = ask(*base, "--dump", dump)
    assert json.loads(alike.stdout)["images"] == 4
    for arguments, why in (
        (("--dump", experiment.parent), "must hold tensors"),
        (("--dump", dump, "--names", experiment), "must map names"),
    ):
        refused = ask(*base, *arguments)
        assert refused.exit_code == 2
        assert why in refused.stderr
