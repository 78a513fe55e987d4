"""Trials: the expected loss by hand, its law over many labels, and its correction."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.prediction.noise_table import NoiseSum
from analysis.prediction.predictor import Predictor
from analysis.prediction.trial import (
    ConfigTrial,
    correct_by_measurements,
    guessing_reach,
    lost_lead,
    representative_positions,
)
from tests.analysis.results import evaluation


def test_a_lost_lead_by_hand() -> None:
    # two classes with the odds 3 to 1; the second of four images changes its answer
    reference = torch.tensor([[3.0, 1.0]]).log().repeat(4, 1)
    output = reference.clone()
    output[1] = output[1].flip(0)
    changed, lost, deviation = lost_lead(reference, output, chance=0.5)
    assert changed == 0.25
    # the image loses 0.75 - 0.25 of the probability; the lead is 0.75 - 0.5 for each image
    assert lost == pytest.approx((0.5 / 4) / 0.25)
    assert deviation == pytest.approx(np.std([0.5, 0, 0, 0]))


def test_the_lost_lead_is_the_loss_over_labels_that_the_probabilities_draw() -> None:
    generator = torch.Generator().manual_seed(0)
    reference = 2 * torch.randn(4000, 5, generator=generator)
    output = reference + torch.randn(4000, 5, generator=generator)
    labels = torch.multinomial(reference.softmax(1), 1, generator=generator).flatten()
    before, after = (float((x.argmax(1) == labels).double().mean()) for x in (reference, output))
    trial = ConfigTrial(4000, 10.0, *lost_lead(reference, output, chance=0.2))
    loss = trial.expected_loss(before - 0.2, labelled=True)
    assert loss == pytest.approx(before - after, abs=0.015)


def test_a_network_that_answers_one_class_loses_everything_but_chance() -> None:
    reference = 9 * torch.eye(10).repeat(10, 1)
    output = torch.zeros_like(reference)
    output[:, 3] = 1.0
    trial = ConfigTrial(100, 0.0, *lost_lead(reference, output, chance=0.1))
    assert trial.expected_loss(0.8, labelled=True) == pytest.approx(0.8, abs=1e-3)
    assert trial.expected_loss(1.0, labelled=False) == pytest.approx(0.9)


def test_representative_images_lose_what_all_images_lose() -> None:
    """Twenty sets of 1000 images: the chosen 64 are off by less than half of what the first are."""
    off: dict[str, list[float]] = {"first": [], "chosen": []}
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        reference = 8 * torch.randn(1000, 10, generator=generator)
        collapsed = torch.zeros_like(reference)
        collapsed[:, 3] = 1.0  # answers one class
        places = {"first": list(range(64)), "chosen": list(representative_positions(reference, 64))}
        _, whole, _ = lost_lead(reference, collapsed, chance=0.1)
        for name, chosen in places.items():
            _, lost, _ = lost_lead(reference[chosen], collapsed[chosen], chance=0.1)
            off[name].append(abs(lost - whole))
    assert np.mean(off["chosen"]) < 0.5 * np.mean(off["first"])


def test_as_many_images_as_there_are_is_all_of_them() -> None:
    output = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert representative_positions(output, 64) == (0, 1, 2, 3, 4)


def test_a_measurement_corrects_similar_losses_and_leaves_others() -> None:
    known = [(0.5, 0.05, 0.6)]
    near, far = (
        correct_by_measurements(0.48, 0.05, known),
        correct_by_measurements(0.01, 0.02, known),
    )
    assert 0.55 < near[0] < 0.6
    assert near[1] < 0.035
    assert far == pytest.approx((0.01, 0.02), abs=1e-3)
    assert correct_by_measurements(0.3, 0.05, []) == (0.3, 0.05)


def test_a_prediction_is_that_of_the_trial_within_chance() -> None:
    predictor = Predictor(by_divergence=True, most=0.8, chance=0.1)
    quiet = NoiseSum(0.001, 0.001, (0.5, 0.5))
    assert (predictor.predict_network(quiet).loss or 0.0) < 0.02
    collapsed = NoiseSum(0.001, 0.001, (0.5, 0.5), ConfigTrial(64, 2.0, 0.9, 1.0, 0.3))
    found = predictor.predict_network(collapsed)
    assert (found.loss, found.tried, found.sqnr_db) == (0.8, 64, 2.0)
    assert found.loss_ci95 is not None
    # guessing gets 10 % of many images right, of 64 images 3 to 17 %
    assert found.loss_ci95.high == pytest.approx(0.8 + guessing_reach(0.1, 64))
    assert found.loss_ci95.low < 0.75


def test_the_largest_loss_is_that_of_the_images_the_trial_stands_for() -> None:
    """A sweep of 64 images knew 80 %, all images 91 %: collapsed to chance, 81 points are lost."""
    predictor = Predictor(by_divergence=True, most=0.7, chance=0.1)
    trial = ConfigTrial(64, 2.0, 0.9, 1.0, 0.3, float_top1=0.91)
    summed = NoiseSum(0.001, 0.001, (0.5, 0.5), trial)
    found = predictor.predict_network(summed)
    assert found.loss == pytest.approx(0.81)
    assert found.loss_ci95 is not None
    assert found.loss_ci95.high == pytest.approx(0.81 + guessing_reach(0.1, 64))
    # a measurement knows the accuracy of all scored images
    taught = predictor.learn_measurement(summed, evaluation(400, 0))
    alone = replace(summed, trial=replace(trial, float_top1=None))
    assert taught.predict_network(summed) == taught.predict_network(alone)
    # without labels a changed answer is a loss
    unlabelled = replace(predictor, labelled=False, most=1.0).predict_network(summed)
    assert unlabelled.loss == pytest.approx(0.9)


def test_a_measured_network_with_a_trial_corrects_the_next() -> None:
    def tried(lost: float) -> NoiseSum:
        return NoiseSum(0.1, 0.1, (), ConfigTrial(64, 10.0, lost, lost, 0.3))

    predictor = Predictor(by_divergence=True, most=0.8, chance=0.1)
    before = predictor.predict_network(tried(0.26))
    after = predictor.learn_measurement(tried(0.25), evaluation(260, 0)).predict_network(
        tried(0.26)
    )
    assert before.loss == pytest.approx(0.208)
    assert after.loss == pytest.approx(0.26, abs=0.02)
    assert after.loss_ci95 is not None
    assert before.loss_ci95 is not None
    assert after.loss_ci95.high - after.loss_ci95.low < before.loss_ci95.high - before.loss_ci95.low


def test_a_network_without_classes_has_a_trial_of_its_sqnr() -> None:
    found = Predictor().predict_network(NoiseSum(0.1, None, (), ConfigTrial(8, 17.0)))
    assert (found.sqnr_db, found.loss) == (17.0, None)
