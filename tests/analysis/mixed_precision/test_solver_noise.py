"""Only the solver's own line is kept out of standard output."""

import os

import pytest

from analysis.mixed_precision.integer_program import STRAY, without_stray_lines


def test_the_stray_line_goes_and_the_rest_stays(capfd: pytest.CaptureFixture[str]) -> None:
    with without_stray_lines():
        os.write(1, STRAY + b"transformNewIntegerFeasibleSolution tmpSolver.run();\n")
        print("kept")
        os.write(1, b"kept too, HighsMipSolverData:: within\nno end")
    print("after")
    assert capfd.readouterr().out == "kept\nkept too, HighsMipSolverData:: within\nno endafter\n"


def test_an_error_passes_and_what_was_printed_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        print("before")
        raise ValueError("told")

    with pytest.raises(ValueError, match="told"), without_stray_lines():
        fail()
    assert capfd.readouterr().out == "before\n"
