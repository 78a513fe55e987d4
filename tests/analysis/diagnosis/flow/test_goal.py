"""The goal of a diagnosis: read from text, and compared with a loss by the paired interval."""

from dataclasses import replace

import pytest

from analysis.diagnosis.flow.goal import Goal, Standing, loss_of, read_goal, standing_of
from quant.errors import ConfigError, QuantError
from tests.analysis.results import evaluation, unlabelled


@pytest.mark.parametrize("text", ["drop <= 1.5", "drop<=1.5", " 1.5 "])
def test_a_goal_is_read(text: str) -> None:
    assert read_goal(text) == Goal(1.5)


@pytest.mark.parametrize("text", ["", "top1 >= 90", "drop <= -1", "drop <= 1000", "drop <= nan"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="goal must"):
        read_goal(text)


def test_the_interval_decides_not_the_loss_alone() -> None:
    # 1 point lost of 1000 images: 95 % from about 0 to 2 points
    loss = loss_of(evaluation(lost=12, won=2))
    assert loss.points == pytest.approx(1.0)
    assert standing_of(loss, Goal(1.0)) is Standing.UNDECIDED
    assert standing_of(loss, Goal(5.0)) is Standing.KEPT
    assert standing_of(loss, Goal(0.0)) is Standing.LOST


def test_without_labels_changed_answers_stand_for_the_loss() -> None:
    loss = loss_of(unlabelled(agreed=950))
    assert loss.points == pytest.approx(5.0)
    assert loss.interval.low < 5 < loss.interval.high
    assert "% of the answers" in loss.loss_text


def test_an_output_without_classes_is_refused() -> None:
    with pytest.raises(QuantError, match="number for each class"):
        loss_of(replace(evaluation(), classes=False))
