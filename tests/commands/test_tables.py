"""Tables from the command line: standardised once, then the data of any command."""

import json
from pathlib import Path

from typer.testing import CliRunner

from cli import app
from tests.pages.test_tables import letters_csv


def answer(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    parsed: dict[str, object] = json.loads(result.stdout)
    return parsed


def test_a_table_is_standardised_once_and_scored(tmp_path: Path) -> None:
    table, steps, out = tmp_path / "rows.csv", tmp_path / "steps.json", tmp_path / "out.json"
    table.write_bytes(letters_csv(200))
    answer("standardize", "--data", str(table), "--label-column", "letter", "--json", "-")
    told = CliRunner().invoke(
        app, ["standardize", "--data", str(table), "--label-column", "letter", "--json", str(steps)]
    )
    assert told.exit_code == 0
    kept = json.loads(steps.read_text())["table"]
    assert kept["label"] == "letter"
    assert len(kept["mean"]) == 16
    run = ["evaluate", "--model", "letter-mlp", "--data", str(table), "--json", str(out)]
    for more in (["--label-column", "letter"], ["--preprocess", str(steps)]):
        told = CliRunner().invoke(app, [*run, *more])
        assert told.exit_code == 0, told.output
        found = json.loads(out.read_text())
        assert found["samples"] + found["calibration_images"] == 200
        assert found["float"]["top1"] > 0.9
