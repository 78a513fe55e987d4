"""The page of operators tells what the importer takes and what it refuses, no more and no less."""

import re
from pathlib import Path

from onnx import defs

from model_io.onnx_import.operators import TABLE
from model_io.onnx_import.program.read_program import CONTROL, REMEDIES

ROOT = Path(__file__).parents[3]
OWN = {"Linear"}
"""Made by the recognition of patterns; no file has it."""


def names_in_tables() -> tuple[set[str], set[str]]:
    """Return the names in the rows of the two tables: taken in, and refused."""
    taken, refused = (ROOT / "docs" / "onnx-operators.md").read_text().split("# Operators that")
    return _names_in_rows(taken), _names_in_rows(refused)


def _names_in_rows(text: str) -> set[str]:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_the_page_names_every_operator_that_comes_in_and_no_other() -> None:
    taken, refused = names_in_tables()
    assert taken == set(TABLE) - OWN
    assert refused == {*REMEDIES, *CONTROL}
    assert not set(TABLE) & refused  # nobody is told to cut off what comes in


def test_every_name_is_one_of_the_standard() -> None:
    standard = {schema.name for schema in defs.get_all_schemas_with_history() if not schema.domain}
    assert {*TABLE, *REMEDIES, *CONTROL} - OWN <= standard


def test_readme_tells_their_number() -> None:
    (number,) = re.findall(
        r"operator by operator \(\[(\d+) of them\]", (ROOT / "README.md").read_text()
    )
    assert int(number) == len(set(TABLE) - OWN)
