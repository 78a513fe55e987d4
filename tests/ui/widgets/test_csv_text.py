"""Names from files reach spreadsheets as text."""

import ast
import io
from pathlib import Path

import pandas as pd
import pytest

from ui.widgets.csv_text import csv_text

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n=1"]
)
def test_a_name_that_is_a_formula_is_text(name: str) -> None:
    table = pd.DataFrame({"layer": [name, "conv.1"], "dB": [-3.5, 2.0], name: [1, 2]})
    read = pd.read_csv(io.StringIO(csv_text(table), newline=""))
    assert read["layer"][0].startswith("'")
    assert read["layer"][0].split() == f"'{name}".split()
    assert read["layer"][1] == "conv.1"
    assert read["dB"].tolist() == [-3.5, 2.0]
    assert list(read.columns)[2].startswith("'")


def test_every_table_goes_that_way() -> None:
    places = [
        path
        for part in ("ui", "pages", "commands", "figures", "analysis", "model_io")
        for path in (ROOT / part).rglob("*.py")
        if path.name != "csv_text.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "to_csv"
    ]
    assert places == []
