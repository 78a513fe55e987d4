"""Runs in MLflow: what is logged, one sentence where it is missing, and a local store."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app
from commands.work.log_to_mlflow import log_run, open_mlflow, run_metrics, run_parameters
from quant.config import uniform_config
from tests.analysis.results import evaluation, metric_score, report, run, unlabelled

MAP = metric_score("mAP", 0.5, 0.47, (-0.04, -0.02))
RUN = run("W4A8", report(), evaluation(30), config=uniform_config(4, 32).to_dict())


def test_parameters_and_metrics_are_those_of_the_run() -> None:
    parameters, metrics = run_parameters(RUN), run_metrics(RUN)
    assert (parameters["weight_bits"], parameters["activation_bits"]) == ("4", "float")
    assert metrics["lost"] == pytest.approx(3.0)
    assert metrics["lost_ci95_low"] < 3 < metrics["lost_ci95_high"]
    assert metrics["energy_pj"] == RUN.cost.energy_pj
    boxes = replace(unlabelled(100), classes=False, metric=MAP, sqnr_db=math.inf)
    found = run_metrics(run("W8A8", report(), boxes))
    assert found["quantized_mAP"] == 0.47
    assert found["lost"] == pytest.approx(3.0)
    assert not {"sqnr_db", "agreement", "quantized_top1"} & set(found)


def test_without_mlflow_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    words = ("evaluate", "--model", "letter-mlp", "--mlflow", "file:/nowhere")
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 2
    (line,) = found.stderr.strip().splitlines()
    assert "--mlflow needs the package mlflow, which is not installed here" in line


def test_a_local_store_keeps_the_run(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    client = open_mlflow(f"file:{tmp_path}/store")
    identity = log_run(client, RUN, {"check.md": "## holds"})
    kept = client.get_run(identity)
    assert kept.data.params == run_parameters(RUN)
    assert kept.data.metrics == pytest.approx(run_metrics(RUN))
    assert {one.path for one in client.list_artifacts(identity)} == {"run.json", "check.md"}
    with pytest.raises(ValueError, match="must be the address of a tracking server"):
        open_mlflow("nosuch://place")
