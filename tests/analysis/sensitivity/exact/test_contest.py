"""The places of layers: right as often as is said, and settled from few images."""

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.sensitivity.exact.contest import RISK, Contest, worse_pairs

POPULATION, LAYERS, WANTED = 400, 30, 6
ROUNDS = (8, 12, 20, 32, 52, 84, 136, 220, 356, 400)


def noise_of_layers(levels_db: NDArray[np.float64], seed: int) -> dict[str, NDArray[np.float64]]:
    """Energies whose logarithms vary by a share of the image and a share of their own."""
    random = np.random.default_rng(seed)
    image = random.normal(0, 0.6, POPULATION)
    own = random.normal(0, 0.5, (len(levels_db), POPULATION))
    energies = 10 ** (levels_db[:, None] / 10) * np.exp(image + own)
    return {f"layer {place}": row for place, row in enumerate(energies)}


def play(contest: Contest, noise: dict[str, NDArray[np.float64]]) -> int:
    """Return the images that layers took together."""
    taken = before = 0
    for images in ROUNDS:
        names = contest.undecided
        if not names:
            break
        taken += len(names) * (images - before)
        before = images
        contest.settle_layers({name: noise[name][:images] for name in names})
    return taken


def worst_layers(noise: dict[str, NDArray[np.float64]]) -> set[str]:
    return set(sorted(noise, key=lambda name: -noise[name].mean())[:WANTED])


def contest_of(noise: dict[str, NDArray[np.float64]]) -> Contest:
    return Contest(tuple(noise), WANTED, POPULATION, len(ROUNDS))


def test_the_set_is_wrong_as_rarely_as_is_said_where_layers_are_nearly_equal() -> None:
    wrong, trials = 0, 300
    for seed in range(trials):
        levels = np.random.default_rng(1000 + seed).uniform(0, 2, LAYERS)
        noise = noise_of_layers(levels, seed)
        contest = contest_of(noise)
        play(contest, noise)
        assert len(contest.inside) == WANTED
        assert not contest.undecided
        wrong += set(contest.inside) != worst_layers(noise)
    assert wrong <= RISK * trials


def test_layers_far_apart_take_a_small_part_of_the_images() -> None:
    levels = np.concatenate([np.full(WANTED, 20.0), np.linspace(10, -20, LAYERS - WANTED)])
    noise = noise_of_layers(levels, 0)
    contest = contest_of(noise)
    taken = play(contest, noise)
    assert set(contest.inside) == worst_layers(noise)
    assert contest.confidence == 1 - RISK
    assert taken < 0.1 * POPULATION * LAYERS


def test_equal_layers_take_all_images_and_the_larger_mean_decides() -> None:
    noise = noise_of_layers(np.zeros(LAYERS), 3)
    contest = contest_of(noise)
    play(contest, noise)
    assert contest.confidence == 1.0
    assert set(contest.inside) == worst_layers(noise)


@pytest.mark.parametrize("wanted", [2, 3])
def test_as_many_places_as_layers_need_no_comparison(wanted: int) -> None:
    contest = Contest(("a", "b"), wanted, POPULATION, 3)
    contest.settle_layers({"a": np.ones(8), "b": np.ones(8)})
    assert contest.inside == ["a", "b"]


def test_silent_layers_and_few_images_prove_nothing_wrong() -> None:
    noise = np.stack([np.zeros(8), np.zeros(8), np.linspace(1, 2, 8)])
    worse = worse_pairs(noise, POPULATION, 1e-3)
    assert worse.tolist() == [[False] * 3, [False] * 3, [True, True, False]]
    assert not worse_pairs(noise[:, :3], POPULATION, 0.4).any()


def test_a_pair_is_told_apart_as_by_the_paired_test_of_logarithms() -> None:
    """Ratios that are the same on each image differ surely, however the images vary."""
    image = np.exp(np.random.default_rng(0).normal(0, 3, 16))
    worse = worse_pairs(np.stack([image, 1.01 * image]), POPULATION, 1e-6)
    assert worse.tolist() == [[False, False], [True, False]]
