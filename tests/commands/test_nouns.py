"""A table's rows are called rows by the command line: answers, progress and warnings."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from cli import app

PICTURE_WORD = re.compile(r"\b(images?|samples)\b", re.IGNORECASE)
SMALL = ["--model", "letter-mlp", "--samples", "24"]
RANGES = ["--calibration", "8"]


def sentences_of(value: object) -> Iterator[str]:
    """Yield the texts of an answer; the keys of JSON are a contract and stay."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from sentences_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from sentences_of(one)


def told_texts(folder: Path, *arguments: str) -> list[str]:
    """Run a command; return all texts of its answer, and what it told on the way."""
    out = folder / f"{arguments[0]}.json"
    result = CliRunner().invoke(app, [*arguments, "--json", str(out)])
    assert out.exists(), result.output
    return [*sentences_of(json.loads(out.read_text())), *result.output.splitlines()]


def test_no_command_calls_a_row_of_a_table_an_image(tmp_path: Path) -> None:
    runs, tried = ["--runs", str(tmp_path)], str(tmp_path / "evaluate.json")
    commands = [
        ["evaluate", *SMALL, *RANGES, "--weight-bits", "4"],
        ["check", *SMALL, *RANGES, "--experiment", tried, "--fail-if", "drop > 90"],
        ["sensitivity", *SMALL, *RANGES, "--bits", "4", "--depth", "screening"],
        ["sensitivity", *SMALL, *RANGES, "--bits", "4", "--role", "weights"],
        ["diagnose", *SMALL, *RANGES, "--weight-bits", "3", "--goal", "drop <= 1", *runs],
        ["train", *SMALL, "--steps", "2", "--batch", "8", *runs],
    ]
    for command in commands:
        told = told_texts(tmp_path, *command)
        assert any(re.search(r"\d rows", text) for text in told), command
        assert [text for text in told if PICTURE_WORD.search(text)] == [], command
