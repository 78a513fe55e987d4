"""Scores of older versions get the intervals of this version; changed answers are counted."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.image_answers import ImageAnswers, pack_bits
from analysis.evaluation.intervals import (
    adjusted_wald_interval,
    paired_interval,
    proportion_interval,
)
from analysis.evaluation.measures import Z95, Interval
from analysis.evaluation.stored_score import (
    changed_answers,
    changed_between,
    with_present_intervals,
)
from quant.errors import QuantError
from tests.analysis.results import evaluation, unlabelled


def with_answers(lost: int, won: int, samples: int = 200, hits: int = 150) -> Evaluation:
    """Return a score whose first `lost` right answers are lost and last `won` wrong ones won."""
    before = np.arange(samples) < hits
    after = before.copy()
    after[:lost] = False
    after[samples - won :] = True
    answers = ImageAnswers(pack_bits(before == after), pack_bits(before), pack_bits(after))
    return replace(evaluation(lost, won, samples, hits), answers=answers)


def test_changed_answers_are_counted_image_by_image() -> None:
    assert changed_answers(with_answers(7, 3)) == (7, 3)
    assert changed_between(with_answers(7, 3), with_answers(9, 3)) == (2, 0)
    assert changed_between(with_answers(7, 3), evaluation(7, 3, 200)) is None


@pytest.mark.parametrize(("lost", "won"), [(12, 4), (0, 0), (3, 40), (2, 0)])
def test_changed_answers_without_images_follow_from_the_interval(lost: int, won: int) -> None:
    assert changed_answers(evaluation(lost, won)) == pytest.approx((lost, won), abs=1e-3)
    with pytest.raises(QuantError, match="need labels"):
        changed_answers(unlabelled(900))


def test_a_stored_score_gets_present_intervals() -> None:
    old = replace(
        with_answers(2, 0),
        top1_drop_ci95=adjusted_wald_interval(2, 0, 200, Z95),
        agreement_ci95=Interval(0.5, 0.6),
        quantized_top1_ci95=Interval(0.5, 0.6),
    )
    found = with_present_intervals(old)
    assert found.top1_drop_ci95 == paired_interval(2, 0, 200)
    assert found.agreement_ci95 == proportion_interval(198, 200)
    assert found.quantized_top1_ci95 == proportion_interval(148, 200)
    assert with_present_intervals(found) == found
    bare = replace(old, answers=None)
    assert with_present_intervals(bare).top1_drop_ci95 == old.top1_drop_ci95
