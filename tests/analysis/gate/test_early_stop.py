"""Looks at growing parts of the images: errors over all looks, and checks that stop early."""

from functools import cache

import numpy as np
import pytest

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.image_answers import ImageAnswers, pack_bits
from analysis.gate.condition import read_condition
from analysis.gate.decide import GateOutcome, check_run, join_outcomes
from analysis.gate.early_stop import EarlyStop, in_random_order, look_confidences, look_sizes
from data_io.bundled import fashion_test_set
from tests.analysis.results import evaluation, layer_cost, report, run

COST = report(layer_cost("a"))
IMAGES, LIMIT = 128, 0.02


def scored(lost: np.ndarray, won: np.ndarray) -> Evaluation:
    """The score of images (N,) of which some are lost or won against the float network."""
    before, after = ~won, ~lost
    found = evaluation(int(lost.sum()), int(won.sum()), len(lost), int(before.sum()))
    answers = ImageAnswers(pack_bits(before == after), pack_bits(before), pack_bits(after))
    return Evaluation(**{**{n: getattr(found, n) for n in found.__slots__}, "answers": answers})


def stop_of(*conditions: str, sizes: tuple[int, ...] = look_sizes(IMAGES)) -> EarlyStop:
    told = tuple(map(read_condition, conditions))
    return EarlyStop(told, COST, sizes, look_confidences(len(sizes), 0.95))


@cache
def outcome_of_look(stop: EarlyStop, size: int, lost: int, won: int) -> GateOutcome | None:
    """Return the outcome of a check that ends at the look; None where it goes on."""
    places = np.arange(size)
    score = scored(places < lost, (places >= lost) & (places < lost + won))
    if not stop.may_stop(size, lambda: score) and size != stop.sizes[-1]:
        return None
    level = stop.confidence_at(size)
    return join_outcomes(check_run(run("x", COST, score), stop.conditions, None, level))


def outcome_of_looks(stop: EarlyStop, lost: np.ndarray, won: np.ndarray) -> tuple[GateOutcome, int]:
    """Return the outcome of a check that looks at the sizes in turn, and its images."""
    for size in stop.sizes:
        found = outcome_of_look(stop, size, int(lost[:size].sum()), int(won[:size].sum()))
        if found is not None:
            return found, size
    raise AssertionError("The last look ends a check.")


def draws(drop: float, changed: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(seed).random(IMAGES)
    border = (changed + drop) / 2
    return values < border, (values >= border) & (values < changed)


def test_the_looks_double_at_the_ends_of_batches_and_share_the_chance_of_an_error() -> None:
    assert look_sizes(500) == (32, 64, 128, 256, 500)
    assert look_sizes(200, 24) == (48, 72, 144, 200)
    assert look_sizes(100, 256) == (100,)
    assert look_sizes(20) == (20,)
    for looks in (1, 2, 5):
        levels = look_confidences(looks, 0.95)
        assert sum(1 - level for level in levels) == pytest.approx(0.05)


def test_of_200_null_comparisons_at_most_5_percent_are_false_alarms() -> None:
    """The true drop is the limit: whatever is decided is an error."""
    stop = stop_of(f"drop > {100 * LIMIT}")
    found = [outcome_of_looks(stop, *draws(LIMIT, 0.08, seed))[0] for seed in range(200)]
    assert found.count(GateOutcome.BROKEN) <= 10
    assert found.count(GateOutcome.HOLDS) <= 10
    assert found.count(GateOutcome.UNDECIDED) >= 180


def test_a_collapse_stops_at_the_first_look_and_a_small_loss_only_later() -> None:
    stop = stop_of("drop > 4", "energy > 1 mJ")
    assert outcome_of_looks(stop, *draws(0.6, 0.62, 0)) == (GateOutcome.BROKEN, 32)
    outcome, images = outcome_of_looks(stop, *draws(0.25, 0.26, 0))
    assert (outcome, images) == (GateOutcome.BROKEN, 64)
    nothing = np.zeros(IMAGES, bool)
    assert outcome_of_looks(stop, nothing, nothing) == (GateOutcome.HOLDS, 128)


def test_images_come_in_a_random_order_that_a_seed_repeats() -> None:
    data = fashion_test_set().first(40)
    mixed = in_random_order(data, 1)
    assert sorted(mixed.indices) == sorted(data.indices)
    assert mixed.indices != data.indices
    assert mixed.indices == in_random_order(data, 1).indices
    assert mixed.indices != in_random_order(data, 2).indices
