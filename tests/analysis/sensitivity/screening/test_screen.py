"""Screening: exact where the network is linear, close where it is not, the same in any batches."""

import itertools
import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from analysis.calibration import Calibrated, calibrate_network
from analysis.network import Network, prepare_network
from analysis.sensitivity.analyze import analyze_exactly
from analysis.sensitivity.exact.executors import Serial
from analysis.sensitivity.ranking import rank_agreement
from analysis.sensitivity.screening import screen as screening
from analysis.sensitivity.screening.probes import fisher_probes, probe_turns, take_probes_in_turn
from analysis.sensitivity.screening.screen import (
    FEWEST_TO_TAKE_TURNS,
    screen_layers,
    screening_batch_size,
)
from analysis.sensitivity.sweep import Depth, Question, Sensitivity, Sweep, View
from analysis.study import Study
from data_io.bundled import fashion_test_set, fashion_train_part
from quant.config import uniform_config
from quant.errors import ConfigError, QuantError
from quant.inputs import as_network_inputs, first_output_of, tensors_of_batch
from quant.progress import drain_steps
from quant.simulation.plan import Side
from tests.analysis.sweeps import Case, case, dataset
from tests.sample_networks import sample_network

ALL_SIDES = tuple(Side)
BITS = (8, 4, 2)
SWEEP = Sweep(uniform_config(8, 8), bits=BITS, sides=ALL_SIDES)


def toy(model: nn.Module, shape: tuple[int, ...], count: int = 10) -> Case:
    network = prepare_network("toy", model.eval(), shape, "toy")
    data = dataset(torch.randn(count, *shape, generator=torch.Generator().manual_seed(1)))
    return Case(network, data, drain_steps(calibrate_network(network, data)))


def linear(outputs: int) -> nn.Module:
    """A network without any nonlinearity, of all kinds of convolution."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.Conv2d(8, 12, 1),
            nn.Conv2d(12, 6, 3, groups=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, outputs),
        )


def screened(it: Case, sweep: Sweep = SWEEP) -> Sensitivity:
    return drain_steps(screen_layers(it.study(), sweep))


def answered(it: Case, sweep: Sweep = SWEEP) -> Sensitivity:
    return drain_steps(analyze_exactly(it.study(), sweep, Serial()))


def by_question(found: Sensitivity) -> dict[Question, float]:
    return {score.question: score.sqnr_db for score in found.scores}


def test_of_a_linear_network_with_one_output_the_prediction_is_exact() -> None:
    it = toy(linear(1), (3, 10, 10))
    expected, found = by_question(answered(it)), by_question(screened(it))
    assert list(found) == list(expected)
    assert {question.side for question in found} == set(ALL_SIDES)
    for question, sqnr_db in expected.items():
        assert found[question] == pytest.approx(sqnr_db, abs=0.05), question


def test_of_two_classes_the_divergence_is_exact_for_small_noise() -> None:
    it = toy(linear(2), (3, 10, 10))
    sweep = Sweep(uniform_config(8, 8), bits=(8,), sides=ALL_SIDES)
    expected, found = answered(it, sweep), screened(it, sweep)
    assert found.scores
    for known, score in zip(expected.scores, found.scores, strict=True):
        assert known.kl is not None
        assert score.kl == pytest.approx(known.kl, rel=0.1, abs=1e-9), score.question


def test_images_take_turns_between_energy_and_divergence() -> None:
    it = toy(linear(2), (3, 10, 10), count=FEWEST_TO_TAKE_TURNS + 1)
    sweep = Sweep(uniform_config(8, 8), bits=(8,), sides=ALL_SIDES)
    odd = replace(it, data=it.data.subset(range(1, len(it.data), 2)))
    expected, found = answered(odd, sweep), screened(it, sweep)
    assert found.images == len(it.data)
    for known, score in zip(expected.scores, found.scores, strict=True):
        assert known.kl is not None
        assert score.kl == pytest.approx(known.kl, rel=0.1, abs=1e-9), score.question
        assert score.sqnr_ci95 is not None
        assert score.sqnr_ci95.low <= score.sqnr_db <= score.sqnr_ci95.high


def test_where_only_one_thing_is_asked_no_image_is_left_out() -> None:
    it = toy(linear(1), (3, 10, 10), count=2 * FEWEST_TO_TAKE_TURNS)
    expected, found = by_question(answered(it)), by_question(screened(it))
    for question, sqnr_db in expected.items():
        assert found[question] == pytest.approx(sqnr_db, abs=0.05), question


def test_turns_ask_every_image_once() -> None:
    probes = [torch.full((5, 3), 1.0), torch.full((5, 3), 2.0)]
    assert first_output_of(take_probes_in_turn(probes, 0))[:, 0].tolist() == [1, 2, 1, 2, 1]
    assert first_output_of(take_probes_in_turn(probes, 3))[:, 0].tolist() == [2, 1, 2, 1, 2]
    assert probe_turns(5, 3, 2).tolist() == [
        [False, True] * 2 + [False],
        [True, False] * 2 + [True],
    ]
    pair = take_probes_in_turn([as_network_inputs([p, p + 2]) for p in probes], 1)
    assert [part[:2, 0].tolist() for part in tensors_of_batch(pair)] == [[2, 1], [4, 3]]


def test_probes_of_the_divergence_have_the_fisher_information_as_covariance() -> None:
    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)))
    probes = fisher_probes(chances.expand(len(signs), -1), signs)
    expected = chances.diag() - chances[:, None] * chances
    torch.testing.assert_close(probes.T @ probes / len(signs), expected)


def test_a_certain_network_has_no_divergence() -> None:
    probes = fisher_probes(torch.tensor([[1.0, 0.0, 0.0]]), torch.ones(1, 3))
    assert torch.equal(probes, torch.zeros(1, 3))


NETWORKS = ["kitchen", "gated", "attention", "one-dimensional", "transposed-grouped", "shared"]


@pytest.mark.parametrize("name", NETWORKS)
def test_all_questions_are_answered_in_order(name: str) -> None:
    it = case(name)
    expected, found = answered(it), screened(it)
    assert [s.question for s in found.scores] == [s.question for s in expected.scores]
    assert found.depth is Depth.SCREENING
    assert found.images == len(it.data)
    assert found.float_top1 == pytest.approx(expected.float_top1)
    for score in found.scores:
        assert score.depth is Depth.SCREENING
        assert score.sqnr_ci95 is not None
        assert score.sqnr_ci95.low <= score.sqnr_db <= score.sqnr_ci95.high
        assert score.accuracy_drop is None


@cache
def trained(name: str) -> Case:
    network = sample_network(name)
    calibrated = drain_steps(calibrate_network(network, fashion_train_part().sample(64)))
    return Case(network, fashion_test_set().sample(32), calibrated)


@pytest.mark.parametrize("name", ["fashion-mobilenet", "fashion-resnet"])
def test_trained_networks_are_ranked_as_the_exact_sweep_ranks_them(name: str) -> None:
    it = trained(name)
    sweep = Sweep(uniform_config(8, 8), bits=(8, 4))
    found, expected = screened(it, sweep), answered(it, sweep)
    for side in sweep.sides:
        for bits in sweep.bits:
            rho = rank_agreement(found, expected, side, bits)
            assert rho is not None
            assert rho >= 0.85, (side, bits)
    apart = [
        found_db - expected_db
        for found_db, expected_db in zip(
            by_question(found).values(), by_question(expected).values(), strict=True
        )
    ]
    assert abs(sum(apart) / len(apart)) < 2  # dB: neither too bright nor too dark on the whole


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    it = case("kitchen")
    assert screening_batch_size(it.network) > 5
    expected = by_question(screened(it))
    monkeypatch.setattr(screening, "screening_batch_size", lambda _: 5)
    assert by_question(screened(it)) == pytest.approx(expected, rel=1e-3)


def test_weights_that_memory_does_not_hold_are_made_anew() -> None:
    it = case("kitchen")
    assert by_question(screened(it, replace(SWEEP, memory_bytes=1))) == by_question(screened(it))


def test_a_fixed_batch_is_filled_up() -> None:
    it = case("kitchen", 10)
    fixed = it.network.graph.copy_graph()
    fixed.batch = 4
    network = Network("fixed", "fixed", fixed, it.network.parameters)
    assert screening_batch_size(network) == 4
    found = by_question(
        drain_steps(screen_layers(Study(network, it.data, calibrated=it.calibrated), SWEEP))
    )
    assert found == pytest.approx(by_question(screened(it)), rel=1e-3)


def test_all_but_one_is_the_noise_of_the_others() -> None:
    it = case("kitchen")
    only = screened(it)
    rest = screened(it, replace(SWEEP, view=View.ALL_BUT, layers=("conv2",)))
    assert {score.question.layer for score in rest.scores} == {"conv2"}
    assert len(rest.whole) == len(BITS) * len(ALL_SIDES)
    wholes = {(score.question.bits, score.question.side): score.sqnr_db for score in rest.whole}
    for score in rest.scores:
        q = score.question
        noise = {
            other.layer: 10 ** (-db / 10)
            for other, db in by_question(only).items()
            if (other.bits, other.side) == (q.bits, q.side)
        }
        whole = sum(noise.values())
        assert wholes[q.bits, q.side] == pytest.approx(-10 * math.log10(whole), abs=1e-6)
        others = whole - noise["conv2"]
        assert score.sqnr_db == pytest.approx(-10 * math.log10(others), abs=1e-3)


def test_a_cancelled_screening_leaves_nothing_behind() -> None:
    it = case("kitchen")
    inputs = next(it.data.batches(4)).inputs
    before = it.network.graph(inputs)
    steps = screen_layers(it.study(), SWEEP)
    for step in steps:
        if step.text.endswith("images"):
            break
    steps.close()
    assert torch.is_grad_enabled()
    assert torch.equal(it.network.graph(inputs), before)
    assert not any(p.requires_grad for p in it.network.graph.module.parameters())
    assert by_question(screened(it)) == by_question(screened(it))


def test_progress_grows_to_one() -> None:
    it = case("kitchen")
    fractions = [step.fraction for step in screen_layers(it.study(), SWEEP)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)


class Severed(nn.Module):
    """A network whose first half no gradient reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(torch.sign(self.first(x)) + 0.1 * x)
        return y


def test_what_no_gradient_reaches_is_left_out() -> None:
    it = toy(Severed(), (4,))
    layers = {score.question.layer for score in screened(it).scores}
    assert "second" in layers
    assert "first" not in layers


def test_without_images_there_is_nothing_to_screen() -> None:
    it = case("kitchen")
    with pytest.raises(QuantError, match="needs data"):
        drain_steps(
            screen_layers(
                Study(it.network, dataset(torch.zeros(0, 3, 8, 8)), calibrated=it.calibrated), SWEEP
            )
        )


def test_unknown_layers_and_missing_statistics_are_named() -> None:
    it = case("kitchen")
    with pytest.raises(ConfigError, match="nowhere"):
        screened(it, replace(SWEEP, layers=("nowhere",)))
    with pytest.raises(QuantError, match="statistics"):
        screened(Case(it.network, it.data, Calibrated()))


class _TwoHeads(nn.Module):
    """Boxes in pixels and class scores of 0 to 1 from one stem, as two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.boxes, self.classes = nn.Linear(12, 16), nn.Linear(16, 4), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.stem(x).relu()
        return 96 * self.boxes(seen).sigmoid(), self.classes(seen).sigmoid()


def test_boxes_in_pixels_do_not_drown_a_harmed_head_of_classes() -> None:
    """By plain energy, boxes of 0 to 96 pixels would hide classes by 20 log 96 = 40 dB."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        it = toy(_TwoHeads(), (12,), 64)
    sides = (Side.WEIGHTS,)
    asked = Sweep(uniform_config(8, 8), (8, 2), sides, layers=("boxes", "classes"))
    found = by_question(screened(it, asked))
    harmed = found[Question("classes", 2, Side.WEIGHTS)]
    assert harmed == pytest.approx(found[Question("boxes", 2, Side.WEIGHTS)], abs=8)
    assert harmed < found[Question("boxes", 8, Side.WEIGHTS)] - 20
    exact = by_question(answered(it, asked))
    assert harmed == pytest.approx(exact[Question("classes", 2, Side.WEIGHTS)], abs=3)
