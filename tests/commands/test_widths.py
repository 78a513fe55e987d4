"""Widths of channels from the command line, and the configuration that another command reads."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app


def answer(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    parsed: dict[str, object] = json.loads(result.stdout)
    return parsed


@pytest.mark.parametrize("method", ["variance", "even", "random"])
def test_widths_have_their_mean_and_cost_reads_them(tmp_path: Path, method: str) -> None:
    out = tmp_path / "widths.json"
    found = answer(
        "widths", "--model", "letter-mlp", "--budget", "2.5", "--method", method, "--out", str(out)
    )
    assert found["mean_bits"] == pytest.approx(2.5, abs=0.05)
    cost = answer(
        "cost", "--model", "letter-mlp", "--config", str(out), "--machine", "bitfusion_like"
    )
    assert "group by group" in json.dumps(cost)
    refused = CliRunner().invoke(app, ["widths", "--model", "letter-mlp", "--budget", "9"])
    assert refused.exit_code == 2
