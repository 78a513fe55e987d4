"""The command diagnose: its answer, the experiment that it writes, and what it refuses."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app

MODEL = ("--model", "fashion-mobilenet-imbalanced", "--samples", "120", "--calibration", "16")


def test_the_answer_holds_the_flow_and_its_experiment_is_read_by_evaluate(tmp_path: Path) -> None:
    answer, chosen, again = (tmp_path / name for name in ("d.json", "e.json", "r.json"))
    asked = ["diagnose", *MODEL, "--granularity", "per-tensor", "--goal", "drop <= 6"]
    asked += ["--runs", str(tmp_path / "runs"), "--write-experiment", str(chosen)]
    result = CliRunner().invoke(app, [*asked, "--json", str(answer)])
    assert result.exit_code == 0, result.stderr
    found = json.loads(answer.read_text())
    assert found["met"] is True
    assert found["recipe"] == ["Equalize"]
    assert found["float"]["top1"] > 0.85
    steps = {step["name"]: step for step in found["steps"]}
    equalized = steps["Equalize across layers"]
    low, high = equalized["interval"]
    assert low <= equalized["measured"] <= high <= 6
    assert equalized["seconds"] > 0
    lost = found["float"]["top1"] - found["quantized"]["top1"]
    assert equalized["measured"] == pytest.approx(100 * lost)
    cause = found["causes"][0]
    assert set(cause) >= {"layer", "side", "cause", "evidence", "remedy", "points"}
    assert cause["cause"] == "unequal channel ranges"
    for file in (chosen, answer):
        second = ["evaluate", *MODEL, "--experiment", str(file), "--json", str(again)]
        assert CliRunner().invoke(app, second).exit_code == 0
        assert json.loads(again.read_text())["quantized"]["top1"] == found["quantized"]["top1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--goal", "as good as float"), "A goal must read"),
        (("--write-experiment", "/no/such/folder/e.json"), "--write-experiment must name"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    arguments: tuple[str, str], message: str
) -> None:
    result = CliRunner().invoke(app, ["diagnose", *MODEL, *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
