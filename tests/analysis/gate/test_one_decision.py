"""The verdict on a run, the goal of a diagnosis and the gate decide alike about one loss."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.diagnosis.flow.goal import Goal, Standing, loss_of, standing_of
from analysis.evaluation.image_answers import ImageAnswers, pack_bits
from analysis.gate.condition import read_condition
from analysis.gate.decide import GateOutcome, check_run
from analysis.gate.decide_between import decide_between
from analysis.runs.compare_runs import lost_accuracy_share
from analysis.runs.run_store import Run
from analysis.runs.verdict import Level, judge_run
from tests.analysis.results import evaluation, report, run, unlabelled

MEANING = {
    Level.DEPLOYABLE: (Standing.KEPT, GateOutcome.HOLDS),
    Level.UNDECIDED: (Standing.UNDECIDED, GateOutcome.UNDECIDED),
    Level.REPAIR_FIRST: (Standing.LOST, GateOutcome.BROKEN),
    Level.NOT_DEPLOYABLE: (Standing.LOST, GateOutcome.BROKEN),
}


def answered(lost: int, won: int, samples: int) -> Run:
    """Return a run that keeps its answers image by image."""
    before = np.arange(samples) < samples - 40
    after = before.copy()
    after[:lost] = False
    after[samples - won :] = True
    answers = ImageAnswers(pack_bits(before == after), pack_bits(before), pack_bits(after))
    score = evaluation(lost, won, samples, samples - 40)
    return run("tried", report(), replace(score, answers=answers))


@pytest.mark.parametrize(
    ("lost", "won", "samples"),
    [
        (0, 0, 200),
        (0, 0, 400),
        (1, 0, 200),
        (7, 0, 200),
        (12, 4, 1000),
        (5, 9, 1000),
        (150, 2, 300),
    ],
)
def test_verdict_diagnosis_and_gate_agree_about_a_loss(lost: int, won: int, samples: int) -> None:
    tried = answered(lost, won, samples)
    (decision,) = check_run(tried, [read_condition("drop > 1")])
    standing = standing_of(loss_of(tried.evaluation), Goal(1.0))
    assert (standing, decision.outcome) == MEANING[judge_run(tried).level]
    assert decision.interval == tried.evaluation.top1_drop_ci95


@pytest.mark.parametrize("agreed", [17, 395, 400, 200])
def test_verdict_diagnosis_and_gate_agree_about_changed_answers(agreed: int) -> None:
    tried = run("tried", report(), unlabelled(agreed, 18 if agreed < 18 else 400))
    (decision,) = check_run(tried, [read_condition("agreement < 99")])
    standing = standing_of(loss_of(tried.evaluation), Goal(1.0))
    assert (standing, decision.outcome) == MEANING[judge_run(tried).level]


def test_two_runs_differ_by_the_interval_that_the_gate_decides_by() -> None:
    before, after = answered(4, 2, 300), answered(20, 2, 300)
    found = lost_accuracy_share(before, after)
    decided = decide_between(after, before)
    assert found is not None
    assert found == (decided.drop, decided.interval)
