"""Answers that changed between two runs, by hand."""

from dataclasses import replace

from analysis.evaluation.evaluate import Disagreement
from analysis.runs.changed_answers import changed_answers
from analysis.runs.run_store import Run
from tests.analysis.results import layer_cost, report, run, unlabelled


def listed(*items: Disagreement, agreement: float) -> Run:
    made = run("eight", report(layer_cost("a")))
    found = replace(made.evaluation, samples=10, agreement=agreement, disagreements=items)
    return replace(made, evaluation=found)


# image, label, class of the float network, class of the quantized network
FIRST = listed(Disagreement(1, 5, 5, 6), Disagreement(4, 2, 3, 2), agreement=0.8)
SECOND = listed(Disagreement(1, 5, 5, 7), Disagreement(7, 1, 1, 0), agreement=0.8)


def test_an_image_that_is_not_listed_has_the_float_answer() -> None:
    found = changed_answers(FIRST, SECOND)
    assert [(one.index, one.before, one.after, one.change) for one in found] == [
        (1, 6, 7, "wrong in both"),
        (4, 2, 3, "now wrong"),
        (7, 1, 0, "now wrong"),
    ]


def test_nothing_is_said_beyond_the_last_image_of_a_list_that_was_cut() -> None:
    cut = replace(FIRST, evaluation=replace(FIRST.evaluation, agreement=0.5))
    assert [one.index for one in changed_answers(cut, SECOND)] == [1, 4]


def test_other_data_are_not_compared() -> None:
    assert changed_answers(FIRST, replace(SECOND, data_digest="other")) == ()


def test_runs_without_classes_tell_no_answers() -> None:
    boxes = replace(unlabelled(700), classes=False, disagreements=())
    cost = report(layer_cost("a"))
    assert changed_answers(run("x", cost, boxes), run("y", cost, boxes)) == ()
