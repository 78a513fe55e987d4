"""A training as a whole: it leaves the network alone, learns, comes back as grids and weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from quant.config import uniform_config
from quant.passes.use_encodings import UseEncodings
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.training.methods.learned_step import LearnedStep
from quant.training.settings import (
    LossKind,
    NormHandling,
    OptimizerKind,
    TrainingError,
    TrainingSettings,
    settings_from_dict,
)
from quant.training.state.checkpoint import Checkpoint
from quant.training.state.trained_state import TrainedState, load_trained_state
from quant.training.train import train_network
from quant.training.trainable import make_trainable
from tests.quant.training.problems import Examples, Problem, accuracy, problem

BRIEF = TrainingSettings(steps=12, batch=32, watch_every=6)


def learn(
    given: Problem,
    settings: TrainingSettings,
    quantized: QuantGraph | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainedState:
    steps = train_network(
        quantized or given.quantized(),
        given.graph,
        given.data,
        given.watched,
        settings,
        checkpoint=checkpoint,
    )
    return drain_steps(steps)


def rebuilt(given: Problem, state: TrainedState, bits: tuple[int, int] = (2, 4)) -> QuantGraph:
    graph = state.trained_graph(given.graph)
    quantized = quantize_graph(graph, uniform_config(*bits), given.calibration)
    assert not UseEncodings(state.encodings).apply_at_once(quantized).kept
    return quantized


def same(first: TrainedState, second: TrainedState) -> bool:
    return first.digest == second.digest


@pytest.mark.parametrize("equalized", [False, True])
@pytest.mark.parametrize("norms", NormHandling)
def test_learned_quantizers_and_open_norms_change_no_bit(
    equalized: bool, norms: NormHandling
) -> None:
    given = problem(equalized=equalized)
    quantized = given.quantized()
    inputs = given.watched[0][0].contiguous(memory_format=torch.channels_last)
    before = quantized(inputs)
    code = quantized.module.code
    with make_trainable(quantized, LearnedStep(BRIEF), norms) as network, torch.no_grad():
        assert len(network.norms) == (3 if norms is NormHandling.KEPT else 0)
        assert torch.equal(network(inputs), before)
        for tensor in network.stored.values():
            tensor.add_(1.0)
    assert torch.equal(quantized(inputs), before)
    assert quantized.module.code == code


@pytest.mark.parametrize("equalized", [False, True])
def test_training_repairs_what_two_bits_break(equalized: bool) -> None:
    given = problem(equalized=equalized)
    state = learn(given, TrainingSettings(steps=48, batch=64))
    after = accuracy(rebuilt(given, state))
    assert after > accuracy(given.quantized()) + 0.02
    assert after > accuracy(given.graph) - 0.1
    assert state.record.changed
    assert state.record.images == 48 * 64


def test_a_training_comes_back_from_its_file_bit_by_bit(tmp_path: Path) -> None:
    given = problem()
    quantized = given.quantized()
    state = learn(given, BRIEF, quantized)
    state.save(tmp_path / "state.safetensors")
    read = load_trained_state(tmp_path / "state.safetensors")
    assert same(read, state)
    assert read.record == state.record
    inputs = given.watched[0][0]
    assert torch.equal(rebuilt(given, read)(inputs), rebuilt(given, state)(inputs))


def test_no_steps_change_nothing() -> None:
    given = problem()
    quantized = given.quantized()
    state = learn(given, TrainingSettings(steps=0), quantized)
    inputs = given.watched[0][0]
    assert torch.equal(rebuilt(given, state)(inputs), quantized(inputs))


def test_the_same_settings_give_the_same_bytes() -> None:
    assert same(learn(problem(), BRIEF), learn(problem(), BRIEF))


@pytest.mark.parametrize("optimizer", OptimizerKind)
def test_a_stopped_training_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, optimizer: OptimizerKind
) -> None:
    given = problem()
    settings = TrainingSettings(steps=12, batch=32, watch_every=6, optimizer=optimizer)
    whole = learn(given, settings)
    for stop in (1, 3):
        place = Checkpoint(tmp_path / f"{stop}", "question", every_s=0.0)
        steps = train_network(
            given.quantized(), given.graph, given.data, given.watched, settings, checkpoint=place
        )
        for _ in range(stop):
            next(steps)
        steps.close()
        assert same(learn(given, settings, checkpoint=place), whole)


def test_a_state_of_another_question_is_not_gone_on_from(tmp_path: Path) -> None:
    given = problem()
    learn(given, BRIEF, checkpoint=Checkpoint(tmp_path / "one", "first", every_s=0.0))
    other = learn(given, BRIEF, checkpoint=Checkpoint(tmp_path / "one", "second", every_s=0.0))
    assert same(other, learn(given, BRIEF))


def test_distillation_needs_no_labels_and_labels_are_asked_for_by_name() -> None:
    given = problem()

    class Unlabelled(Examples):
        def take(
            self, places: object, generator: torch.Generator | None
        ) -> tuple[Tensor, Tensor | None]:
            return super().take(places, generator)[0], None  # type: ignore[arg-type]

    data = Unlabelled(given.data.inputs, given.data.labels)
    bare = Problem(given.graph, given.calibration, data, ((given.watched[0][0], None),))
    state = learn(bare, TrainingSettings(steps=30, batch=64, loss=LossKind.DISTIL))
    assert accuracy(rebuilt(given, state)) > accuracy(given.quantized()) + 0.02
    with pytest.raises(TrainingError, match="needs labels"):
        learn(bare, BRIEF)


def test_a_loss_that_is_not_finite_stops_and_names_the_layer() -> None:
    given = problem()
    bad = Examples(given.data.inputs * float("inf"), given.data.labels)
    quantized = given.quantized()
    inputs = given.watched[0][0]
    before = quantized(inputs)
    broken = Problem(given.graph, given.calibration, bad, given.watched)
    with pytest.raises(TrainingError, match="finite; at step 0 they are not, first seen at"):
        learn(broken, BRIEF, quantized)
    assert torch.equal(quantized(inputs), before)


def test_settings_survive_json_and_bad_ones_are_refused() -> None:
    assert settings_from_dict(BRIEF.to_dict()) == BRIEF
    with pytest.raises(TrainingError, match="got 'stps'"):
        settings_from_dict({"stps": 3})
    with pytest.raises(TrainingError, match="share of each tensor"):
        TrainingSettings(rate=0.0)


def test_a_device_that_is_not_here_is_told() -> None:
    with pytest.raises(TrainingError, match="must be cpu, or cuda"):
        learn(problem(), TrainingSettings(steps=1, device="abacus"))


def test_too_few_images_are_told() -> None:
    given = problem()
    few = Examples(given.data.inputs[:8], given.data.labels[:8])
    with pytest.raises(TrainingError, match="at least a batch of 32 images; got 8"):
        learn(Problem(given.graph, given.calibration, few, given.watched), BRIEF)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks run faster, and repeat exactly, in one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
