"""What noise and loss are predicted, how measured points correct it, and how sure it is."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from analysis.evaluation import Evaluation
from analysis.measures import Interval
from analysis.prediction import Point, Prediction, Predictor, first_predictor
from quant.errors import QuantError
from tests.analysis.bits import made_up, network_of


def scored(sqnr_db: float, drop: float | None, agreement: float = 0.9) -> Evaluation:
    return Evaluation(1000, drop is not None, agreement, Interval(0, 1), sqnr_db, top1_drop=drop)


def noise(sqnr_db: float) -> float:
    return float(10 ** (-sqnr_db / 10))


def test_before_anything_is_measured_the_sum_is_believed_and_loss_unknown() -> None:
    found = Predictor().predict(noise(20))
    assert found.sqnr_db == pytest.approx(20)
    assert found.loss is None
    assert found.loss_ci95 is None
    assert 4 < found.sqnr_db - found.sqnr_ci95.low < 6  # 1.96 times a deviation of 2.5 dB


def test_the_interval_is_wider_far_from_what_is_known() -> None:
    def width(found: Prediction) -> float:
        return found.sqnr_ci95.high - found.sqnr_ci95.low

    predictor = Predictor()
    assert width(predictor.predict(noise(50))) > width(predictor.predict(noise(20)))
    learned = predictor.learned(noise(20), scored(18, 0.1))
    assert width(learned.predict(noise(20))) < width(predictor.predict(noise(20)))


def test_measured_points_correct_the_sum() -> None:
    predictor = Predictor()
    for level in np.linspace(5, 35, 40):
        predictor = predictor.learned(noise(float(level)), scored(0.9 * float(level) - 1, 0.0))
    for level in (10, 20, 30):
        assert predictor.predict(noise(level)).sqnr_db == pytest.approx(0.9 * level - 1, abs=0.3)


def test_loss_rises_with_noise_whatever_was_measured() -> None:
    random = np.random.default_rng(0)
    pairs = random.uniform((0, 0), (40, 0.5), (60, 2)).tolist()
    points = tuple(Point(level, loss, 50) for level, loss in pairs)
    predictor = Predictor(points)
    losses = [predictor.loss_at(float(level)) for level in np.arange(45, -5, -0.5)]
    assert all(before <= after for before, after in pairwise(losses))


def test_points_in_order_are_kept_as_they_are() -> None:
    points = tuple(Point(level, loss, 100) for level, loss in ((30, 0.01), (20, 0.05), (10, 0.3)))
    predictor = Predictor(points)
    assert [predictor.loss_at(point.sqnr_db) for point in points] == pytest.approx(
        [0.01, 0.05, 0.3]
    )
    assert predictor.loss_at(15) == pytest.approx(0.175)


def test_neighbours_out_of_order_are_pooled_by_weight() -> None:
    points = (Point(30, 0.2, 100), Point(20, 0.1, 100))
    predictor = Predictor(points)
    assert predictor.loss_at(35) == pytest.approx(predictor.loss_at(10))
    assert 0.1 < predictor.loss_at(25) < 0.2


def test_a_gain_by_chance_is_no_loss_below_zero() -> None:
    assert Predictor((Point(30, -0.02, 100),)).loss_at(30) == 0


def test_the_interval_of_the_loss_holds_the_loss() -> None:
    predictor = first_predictor(made_up(network_of("plain")))
    for level in range(0, 50, 5):
        found = predictor.predict(noise(level))
        assert found.loss is not None
        assert found.loss_ci95 is not None
        assert 0 <= found.loss_ci95.low <= found.loss <= found.loss_ci95.high <= 1


def test_the_most_noise_within_a_loss_is_where_the_loss_is_reached() -> None:
    points = tuple(Point(level, loss, 100) for level, loss in ((30, 0.0), (20, 0.05), (10, 0.3)))
    predictor = Predictor(points).learned(noise(20), scored(17, 0.1))
    most = predictor.most_noise(0.05)
    at, beyond = predictor.predict(most).loss, predictor.predict(most * 1.01).loss
    assert at is not None
    assert beyond is not None
    assert at <= 0.05 + 1e-9 < beyond
    assert predictor.most_noise(1.0) == pytest.approx(noise(-20))


def test_a_loss_needs_points() -> None:
    with pytest.raises(QuantError, match="no point is measured"):
        Predictor().most_noise(0.1)


def test_without_labels_likeness_to_the_float_network_counts() -> None:
    known = made_up(network_of("plain"))
    scores = tuple(replace(s, accuracy_drop=None, agreement=0.75) for s in known.scores)
    predictor = first_predictor(replace(known, float_top1=None, scores=scores))
    assert not predictor.labelled
    assert predictor.predict(noise(20)).loss == pytest.approx(0.25)
    learned = Predictor(labelled=False).learned(noise(20), scored(20, None, agreement=0.6))
    assert learned.points == (Point(20, 0.4, 1000),)


def test_a_network_without_noise_teaches_nothing() -> None:
    assert Predictor().learned(0.0, scored(float("inf"), 0.0)) == Predictor()
