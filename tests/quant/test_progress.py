"""Long work as generators: results come back, and parts fill their share of the whole."""

import pytest

from quant.progress import Progress, Steps, drain_steps, part_of_progress


def work(result: str, count: int) -> Steps[str]:
    for step in range(1, count + 1):
        yield Progress(step / count, f"{result} {step}")
    return result


def test_draining_runs_the_work_to_its_end_and_returns_its_result() -> None:
    assert drain_steps(work("done", 3)) == "done"
    assert drain_steps(work("nothing to do", 0)) == "nothing to do"


def test_a_part_fills_its_share_and_returns_its_result() -> None:
    found: list[str] = []

    def whole() -> Steps[None]:
        found.append((yield from part_of_progress(work("a", 2), 0.0, 0.5)))
        found.append((yield from part_of_progress(work("b", 4), 0.5, 1.0)))

    fractions = [step.fraction for step in whole()]
    assert fractions == pytest.approx([0.25, 0.5, 0.625, 0.75, 0.875, 1.0])
    assert found == ["a", "b"]


def test_an_error_in_a_part_leaves_it() -> None:
    def broken() -> Steps[None]:
        yield Progress(0.5, "half")
        raise ValueError("broken")

    steps = part_of_progress(broken(), 0.0, 0.5)
    assert next(steps) == Progress(0.25, "half")
    with pytest.raises(ValueError, match="broken"):
        next(steps)
