"""What noise and loss are predicted, how measured points correct it, and how sure it is."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.measures import Interval
from analysis.prediction.gaussian_process import (
    MeasuredLevel,
    Prior,
    correct_summed_level,
    noise_compounding,
)
from analysis.prediction.loss_curve import ANSWERS, Point, fit_loss_curve
from analysis.prediction.noise_table import NoiseSum
from analysis.prediction.predictor import (
    Prediction,
    Predictor,
    db_to_energy,
    predictor_from_sweep,
    saturated_level_db,
)
from quant.errors import QuantError
from tests.analysis.bits import made_up, network_of

ONE, HALVES, TENTHS = (1.0, 0.0), (0.5, 0.5), (0.1,) * 10


def scored(sqnr_db: float, drop: float | None, kl: float | None = None) -> Evaluation:
    return Evaluation(
        1000, drop is not None, 0.6, Interval(0, 1), sqnr_db, float_top1=0.9, top1_drop=drop, kl=kl
    )


def summed(sqnr_db: float, shares: tuple[float, ...] = ONE, kl: float | None = None) -> NoiseSum:
    return NoiseSum(db_to_energy(sqnr_db), kl, shares)


def test_before_anything_is_measured_the_sum_is_believed_and_loss_unknown() -> None:
    found = Predictor().predict_network(summed(20))
    assert found.sqnr_db == pytest.approx(20, abs=0.01)
    assert found.loss is None
    assert found.loss_ci95 is None
    assert 3 < found.sqnr_db - found.sqnr_ci95.low < 6


def test_noise_saturates_and_compounds() -> None:
    assert saturated_level_db(1e-3) == pytest.approx(30, abs=1e-3)
    assert saturated_level_db(1e6) == pytest.approx(-10 * np.log10(3), abs=1e-3)
    assert noise_compounding(10, ONE) == 0  # what one layer does alone is measured, not summed
    assert noise_compounding(10, HALVES) == pytest.approx(np.log(2) * 10**-0.5)
    assert noise_compounding(-30, TENTHS) == pytest.approx(np.log(10))
    predictor = Predictor()
    assert (
        predictor.predict_network(summed(5, TENTHS)).sqnr_db
        < predictor.predict_network(summed(5)).sqnr_db - 0.3
    )
    assert predictor.predict_network(summed(40, TENTHS)).sqnr_db == pytest.approx(40, abs=0.05)


def width(found: Prediction) -> float:
    return found.sqnr_ci95.high - found.sqnr_ci95.low


def test_the_band_narrows_near_what_is_measured_and_for_like_mixtures() -> None:
    before = Predictor()
    after = before.learn_measurement(summed(20, ONE), scored(18, 0.1))
    assert width(after.predict_network(summed(20, ONE))) < 0.7 * width(
        before.predict_network(summed(20, ONE))
    )
    near, far = after.predict_network(summed(19, ONE)), after.predict_network(summed(50, ONE))
    assert width(after.predict_network(summed(20, ONE))) < width(near) < width(far)
    assert width(near) < width(after.predict_network(summed(19, (0.0, 1.0))))
    assert after.predict_network(summed(20, ONE)).sqnr_db == pytest.approx(18, abs=0.5)


def test_the_correction_is_that_of_the_textbook() -> None:
    """One point, one kind of deviation: the mean of two normal distributions."""
    prior = Prior(0.0, 0.0, 2.0, 0.0)
    found = correct_summed_level(prior, [MeasuredLevel(10, ONE, 3.0, 1.0)], 30, HALVES)
    assert found.level_db == pytest.approx(30 + 3 * 4 / (4 + 1))
    assert found.deviation_db == pytest.approx(np.sqrt(4 - 16 / 5))
    assert correct_summed_level(prior, [], 30, ()).deviation_db == 2


def test_compounding_is_learned_from_one_network_for_all() -> None:
    prior = Prior(1.0, 2.0, 0.0, 0.0)
    feature = noise_compounding(0, TENTHS)
    known = [MeasuredLevel(0, TENTHS, -3 * feature, 1e-3)]
    other = noise_compounding(3, HALVES)
    assert correct_summed_level(prior, known, 3, HALVES).level_db == pytest.approx(
        3 - 3 * other, abs=1e-3
    )
    assert correct_summed_level(prior, (), 3, HALVES).level_db == pytest.approx(3 - other)


def test_measured_points_correct_the_sum() -> None:
    predictor = Predictor()
    for level in np.linspace(5, 35, 40):
        predictor = predictor.learn_measurement(
            summed(float(level)), scored(0.9 * float(level) - 1, 0.0)
        )
    for level in (10, 20, 30):
        assert predictor.predict_network(summed(level)).sqnr_db == pytest.approx(
            0.9 * level - 1, abs=0.3
        )


def test_the_curve_finds_the_coefficients_it_was_made_with() -> None:
    random = np.random.default_rng(0)
    harms = np.exp(random.uniform(-6, 1, 200))
    losses = 0.9 * (1 - np.exp(-0.2 * harms**0.5 - 0.35 * harms**1.5))
    points = [Point(*pair, 10_000) for pair in zip(harms, losses, strict=True)]
    found = fit_loss_curve(points, ANSWERS, 0.9)
    assert found.coefficients == pytest.approx((0.2, 0.35), abs=0.01)
    assert found.loss_deviation(0.5) < fit_loss_curve((), ANSWERS, 0.9).loss_deviation(0.5) / 5
    step = 10**0.001  # a hundredth of a dB
    slope = (found.loss_at(0.5 * step) - found.loss_at(0.5)) / 0.01
    assert found.loss_per_db(0.5) == pytest.approx(slope, rel=0.01)


def test_loss_rises_with_harm_whatever_was_measured() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        points = [Point(h, loss, 50) for h, loss in random.uniform((0, -0.2), (4, 1), (8, 2))]
        losses = np.array(
            [fit_loss_curve(points, ANSWERS, 0.95).loss_at(harm) for harm in np.arange(0, 9, 0.1)]
        )
        assert (np.diff(losses) >= 0).all()
        assert losses[0] == 0
        assert losses[-1] <= 0.95


def test_a_measured_network_pulls_its_own_prediction_and_narrows_it() -> None:
    predictor = replace(predictor_from_sweep(made_up(network_of("plain"))), by_divergence=True)
    before = predictor.predict_network(summed(6, ONE, 0.5))
    assert before.loss is not None
    assert before.loss_ci95 is not None
    after = predictor.learn_measurement(
        summed(6, ONE, 0.5), scored(5.0, 0.45, 0.9)
    ).predict_network(summed(6, ONE, 0.5))
    assert after.loss is not None
    assert after.loss_ci95 is not None
    assert abs(after.loss - 0.45) < abs(before.loss - 0.45)
    assert after.loss_ci95.high - after.loss_ci95.low < before.loss_ci95.high - before.loss_ci95.low
    assert after.loss_ci95.low < 0.45 < after.loss_ci95.high


def test_the_interval_of_the_loss_holds_the_loss() -> None:
    predictor = predictor_from_sweep(made_up(network_of("plain")))
    for level in range(0, 50, 5):
        found = predictor.predict_network(summed(level, HALVES))
        assert found.loss is not None
        assert found.loss_ci95 is not None
        assert 0 <= found.loss_ci95.low <= found.loss <= found.loss_ci95.high <= 1


def test_the_most_noise_within_a_loss_is_where_the_loss_is_reached() -> None:
    predictor = predictor_from_sweep(made_up(network_of("plain")))
    predictor = predictor.learn_measurement(summed(20), scored(17, 0.1))
    like = summed(20, HALVES)
    most = predictor.most_noise_energy(0.05, like)
    at = predictor.predict_network(like.scale_energy(most / like.energy)).loss
    beyond = predictor.predict_network(like.scale_energy(1.01 * most / like.energy)).loss
    assert at is not None
    assert beyond is not None
    assert at <= 0.05 + 1e-9 < beyond
    assert predictor.most_noise_energy(1.0, like) >= db_to_energy(-20)


def test_a_loss_needs_points() -> None:
    with pytest.raises(QuantError, match="no point is measured"):
        Predictor().most_noise_energy(0.1, summed(20))


def test_without_labels_likeness_to_the_float_network_counts() -> None:
    known = made_up(network_of("plain"))
    scores = tuple(replace(s, accuracy_drop=None, agreement=0.75) for s in known.scores)
    predictor = predictor_from_sweep(replace(known, float_top1=None, scores=scores))
    assert not predictor.labelled
    assert {point.loss for point in predictor.points} == {0.25}
    learned = Predictor(labelled=False).learn_measurement(summed(20), scored(20, None))
    assert [one.loss for one in learned.networks] == [0.4]


def test_an_older_run_without_divergence_still_teaches_the_loss() -> None:
    predictor = Predictor(by_divergence=True)
    before = replace(predictor, points=(Point(0.3, 0.1, 10),)).predict_network(summed(6, ONE, 0.5))
    after = predictor.learn_measurement(summed(6, ONE, 0.5), scored(6, 0.5)).predict_network(
        summed(6, ONE, 0.5)
    )
    assert before.loss is not None
    assert after.loss is not None
    assert after.loss > before.loss + 0.1


def test_a_network_without_noise_teaches_nothing() -> None:
    assert Predictor().learn_measurement(summed(20), scored(float("inf"), 0.0)) == Predictor()
    assert Predictor().learn_measurement(NoiseSum(0.0), scored(20, 0.0)) == Predictor()
