"""Sizes of a program are arithmetic, however torch writes them, and nothing else."""

import pytest

from model_io.pt2.shape_expression import is_shape_expression

BATCH = "Symbol('s77', positive=True, integer=True)"


@pytest.mark.parametrize(
    "text",
    [
        "s77",
        BATCH,
        f"Mul(Integer(4), {BATCH})",
        f"Add({BATCH}, Integer(-1))",
        f"Pow({BATCH}, Integer(2))",
        f"FloorDiv(Add({BATCH}, 3), 2)",
        "4*s0*s1 + 7",
    ],
)
def test_arithmetic_is_taken(text: str) -> None:
    assert is_shape_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "Pow(Pow(Pow(9, 8), 8), 8)",
        "Pow(9, 10**9)",
        f"Pow(2, {BATCH})",
        "__import__('os')",
        "Symbol('s77').__class__",
        "Symbol('os')",
        "Symbol(*s0)",
        "Mul(s0, evaluate=print)",
        "(lambda: 0)()",
        "[s0][0]",
        "1.5",
        "True",
        "(" * 400 + "s0" + ")" * 99,
        "1" * 501,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    assert not is_shape_expression(text)
