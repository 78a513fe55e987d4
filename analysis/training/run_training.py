"""One training from question to answer: start, train or resume, check, store, score."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from analysis.calibration import calibrate_network
from analysis.evaluation.evaluate import Evaluation, evaluate_network
from analysis.network import Network
from analysis.process_settings import fixed_thread_count
from analysis.runs.apply_recipe import (
    Stage,
    apply_recipe_pass,
    apply_whole_recipe,
    plain_quantized_stage,
    title_of_pass,
)
from analysis.training.divide import TrainingSplit
from analysis.training.images import TrainingImages, choose_image_augmentation, watched_batches
from analysis.training.stored import describe_training, training_file_path
from quant.channel_widths import config_with_channel_widths
from quant.config import QuantConfig
from quant.passes.recipe import Recipe
from quant.passes.use_encodings import EncodingsUsed
from quant.progress import Steps, part_of_progress
from quant.training.methods.neuron_widths import trained_channel_widths
from quant.training.settings import (
    LossKind,
    TrainingError,
    TrainingMethod,
    TrainingSettings,
)
from quant.training.state.checkpoint import Checkpoint
from quant.training.state.trained_state import CurvePoint, TrainedState, load_trained_state
from quant.training.state.use_training import UseTraining
from quant.training.state.write_clock import WRITE_EVERY_S
from quant.training.train import train_network
from quant.training.training_data import TrainingProgress
from quant.training.workers import present_workers

SHORT = 16
START_SHARE, TRAIN_SHARE = 0.1, 0.9


@dataclass(frozen=True, eq=False, slots=True)
class TrainingTask:
    """A training of a network: configuration, starting recipe, data and settings.

    `folder` stores states: a stopped training resumes, a finished training is opened. `points`
    receives the curve while the training runs.
    """

    network: Network
    config: QuantConfig
    split: TrainingSplit
    settings: TrainingSettings
    folder: Path
    recipe: Recipe = ()
    write_every_s: float = WRITE_EVERY_S
    points: list[CurvePoint] = field(default_factory=list)

    @property
    def question_digest(self) -> str:
        """A digest of every input of the result."""
        parts = [
            self.network.digest,
            self.split.train.digest,
            self.split.watch.digest,
            len(self.split.calibration),
            self.config.to_dict(),
            self.settings.to_dict(),
            [title_of_pass(step) for step in self.recipe],
            [step.state.digest for step in self.recipe if isinstance(step, UseTraining)],
        ]
        if (count := present_workers().count) > 1:
            parts.append(count)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def stored_name(self) -> str:
        """The name of the stored training, for `--trained`."""
        return self.question_digest[:SHORT]

    @property
    def state_path(self) -> Path:
        """The file of the trained state."""
        return training_file_path(self.folder, self.stored_name, "safetensors")

    @property
    def checkpoint_path(self) -> Path:
        """The file of an unfinished training."""
        return training_file_path(self.folder, self.stored_name, "checkpoint")


@dataclass(frozen=True, eq=False, slots=True)
class TrainingOutcome:
    """A trained network with scores, on images apart from training and watching.

    `config` has the learned widths of channels. `start` is the network before training, with equal
    quantization and repair; `before` is its score.
    """

    task: TrainingTask
    config: QuantConfig
    start: Stage
    state: TrainedState
    before: Evaluation
    after: Evaluation


def run_training_task(task: TrainingTask) -> Steps[TrainingOutcome]:
    """Train, or resume a stopped training of an equal question, and score.

    Raises:
        QuantError: the settings, the data or the network do not fit.
    """
    stage, state = yield from part_of_progress(train_task(task), 0.0, TRAIN_SHARE)
    middle = (START_SHARE + 2) / 3
    before = yield from part_of_progress(_score_network(task, stage), TRAIN_SHARE, middle)
    config = trained_config(task, state)
    trained, used = yield from apply_recipe_pass(
        stage, UseTraining(state, task.stored_name), config, None
    )
    assert isinstance(used, EncodingsUsed)
    if used.kept:
        site, reason = next(iter(used.kept.items()))
        raise TrainingError(
            f"Each learned encoding must be in use for the score; that of {site} is not: {reason}. "
            "This is an error of the product: report it."
        )
    after = yield from part_of_progress(_score_network(task, trained), middle, 1.0)
    return TrainingOutcome(task, config, stage, state, before, after)


def _score_network(task: TrainingTask, stage: Stage) -> Steps[Evaluation]:
    """Score a quantized network on the images kept out of training and watching."""
    split = task.split
    return evaluate_network(task.network, stage.quantized, split.score, split.metric)


def train_task(task: TrainingTask) -> Steps[tuple[Stage, TrainedState]]:
    """Train, or resume a stopped training of an equal question; return start and result.

    Of several processes the first writes the files.

    Raises:
        QuantError: the settings, the data or the network do not fit.
    """
    _describe_task(task, task.config)
    stage = yield from part_of_progress(training_start_stage(task), 0.0, START_SHARE)
    state = yield from part_of_progress(_trained_state(task, stage), START_SHARE, 1.0)
    _describe_task(task, trained_config(task, state))
    return stage, state


def _describe_task(task: TrainingTask, config: QuantConfig) -> None:
    """Write the question of a task with the bits of `config`; the first of the processes does."""
    if not present_workers().is_first:
        return
    seed = task.settings.seed
    describe_training(task.folder, task.stored_name, task.network, config, task.recipe, seed)


def trained_config(task: TrainingTask, state: TrainedState) -> QuantConfig:
    """Return the configuration of the trained network: with the learned widths of channels."""
    if task.settings.method is not TrainingMethod.NEURON_WIDTHS:
        return task.config
    widths = trained_channel_widths(state.encodings, task.network.graph)
    return config_with_channel_widths(task.config, widths)


def training_start_stage(task: TrainingTask) -> Steps[Stage]:
    """Return the network at the start of training: quantized, and repaired by the recipe."""
    images = task.split.calibration
    calibrated = yield from part_of_progress(
        calibrate_network(task.network, images, task.split.input_range), 0.0, 0.5
    )
    stage = plain_quantized_stage(task.network, task.config, calibrated)
    return (
        yield from part_of_progress(
            apply_whole_recipe(stage, task.recipe, task.config, images), 0.5, 1.0
        )
    )


def _trained_state(task: TrainingTask, stage: Stage) -> Steps[TrainedState]:
    """Return the state of a finished training, or train to the end."""
    if task.state_path.exists():
        state = load_trained_state(task.state_path)
        task.points[:] = state.record.curve
        return state
    first = present_workers().is_first
    checkpoint = Checkpoint(task.checkpoint_path, task.question_digest, task.write_every_s, first)
    state = yield from train_stage(task, stage, checkpoint)
    if first:
        state.save(task.state_path)
        task.checkpoint_path.unlink(missing_ok=True)
    return state


def train_stage(
    task: TrainingTask, stage: Stage, checkpoint: Checkpoint | None = None
) -> Steps[TrainedState]:
    """Train the network of a stage; only the checkpoint, if given, is stored."""
    network = task.network
    data = TrainingImages(task.split.train, choose_image_augmentation(network, task.split.watch))
    steps = train_network(
        stage.quantized,
        stage.network.graph,
        data,
        watched_batches(task.split.watch, network.forward_batch_size),
        fitting_settings(task.settings, task.split),
        classes=network.is_classifier,
        checkpoint=checkpoint,
    )
    with fixed_thread_count():
        return (yield from _observe_training(steps, task.points))


def _observe_training(steps: Steps[TrainedState], points: list[CurvePoint]) -> Steps[TrainedState]:
    """Run a training and append each new point of the curve to `points`."""
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            state: TrainedState = stop.value
            points[:] = state.record.curve
            return state
        point = progress.point if isinstance(progress, TrainingProgress) else None
        if point is not None and (not points or points[-1].step < point.step):
            points.append(point)
        yield progress


def fitting_settings(settings: TrainingSettings, split: TrainingSplit) -> TrainingSettings:
    """Return settings that fit the data: the batch size is at most the number of images."""
    return replace(settings, batch=min(settings.batch, max(2, len(split.train))))


def loss_for_split(split: TrainingSplit, loss: LossKind | None) -> LossKind:
    """Return the chosen loss; by default both losses with labels, else distillation."""
    if loss is not None:
        return loss
    return LossKind.BOTH if split.train.labelled else LossKind.DISTIL
