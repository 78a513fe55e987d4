"""One training from question to answer: start, train or go on, check, keep, score."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from analysis.calibration import calibrate
from analysis.evaluation.evaluate import Evaluation, evaluate
from analysis.network import Network
from analysis.process_settings import settled_threads
from analysis.runs.apply_recipe import Stage, apply_recipe, first_stage, title_of
from analysis.training.divide import TrainingSplit
from analysis.training.images import TrainingImages, choose_augmentation, watched_batches
from analysis.training.stored import describe, file_of
from quant.config import QuantConfig
from quant.passes.recipe import Recipe
from quant.progress import Steps, part_of_progress
from quant.training.settings import LossKind, TrainingSettings
from quant.training.state.checkpoint import WRITE_EVERY_S, Checkpoint
from quant.training.state.trained_state import CurvePoint, TrainedState, load_trained_state
from quant.training.state.use_training import UseTraining
from quant.training.train import train_network
from quant.training.training_data import TrainingProgress

SHORT = 16
START_SHARE, TRAIN_SHARE = 0.1, 0.9


@dataclass(frozen=True, eq=False, slots=True)
class TrainingTask:
    """A training of a network: its bits, the repairs that it starts from, data and settings.

    `folder` keeps states: a training that was stopped goes on, one that ended is opened. `points`
    fills with the curve while the training runs.
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
    def question(self) -> str:
        """A digest of all that the result depends on."""
        parts = [
            self.network.digest,
            self.split.train.digest,
            self.split.watch.digest,
            len(self.split.calibration),
            self.config.to_dict(),
            self.settings.to_dict(),
            [title_of(step) for step in self.recipe],
            [step.state.digest for step in self.recipe if isinstance(step, UseTraining)],
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def name(self) -> str:
        """What the stored training is called: `--trained` takes it."""
        return self.question[:SHORT]

    @property
    def path(self) -> Path:
        """The file of the trained state."""
        return file_of(self.folder, self.name, "safetensors")

    @property
    def checkpoint(self) -> Path:
        """The file of a training that has not ended."""
        return file_of(self.folder, self.name, "checkpoint")


@dataclass(frozen=True, eq=False, slots=True)
class TrainingOutcome:
    """A trained network and its scores, on images that neither trained nor watched.

    `before` is the network quantized and repaired alike, without training; `difference` is the
    largest one between learned quantizers and the product's own, which must be 0.
    """

    task: TrainingTask
    state: TrainedState
    before: Evaluation
    after: Evaluation


def run_training(task: TrainingTask) -> Steps[TrainingOutcome]:
    """Train, or go on where a training of the same question stopped, and score.

    Raises:
        QuantError: the settings, the data or the network do not fit.
    """
    describe(task.folder, task.name, task.network, task.config, task.recipe)
    stage = yield from part_of_progress(start_stage(task), 0.0, START_SHARE)
    state = yield from part_of_progress(_trained(task, stage), START_SHARE, TRAIN_SHARE)
    middle = (START_SHARE + 2) / 3
    before = yield from part_of_progress(
        evaluate(task.network, stage.quantized, task.split.score), TRAIN_SHARE, middle
    )
    step = UseTraining(state, task.name)
    trained = yield from apply_recipe(stage, (step,), task.config, None)
    after = yield from part_of_progress(
        evaluate(task.network, trained.quantized, task.split.score), middle, 1.0
    )
    return TrainingOutcome(task, state, before, after)


def start_stage(task: TrainingTask) -> Steps[Stage]:
    """Return the network as training finds it: quantized, and repaired by the recipe."""
    images = task.split.calibration
    calibrated = yield from part_of_progress(
        calibrate(task.network, images, task.split.input_range), 0.0, 0.5
    )
    stage = first_stage(task.network, task.config, calibrated)
    return (
        yield from part_of_progress(apply_recipe(stage, task.recipe, task.config, images), 0.5, 1.0)
    )


def _trained(task: TrainingTask, stage: Stage) -> Steps[TrainedState]:
    """Return the state of a training that ended, or train to the end."""
    if task.path.exists():
        state = load_trained_state(task.path)
        task.points[:] = state.record.curve
        return state
    checkpoint = Checkpoint(task.checkpoint, task.question, task.write_every_s)
    state = yield from train_stage(task, stage, checkpoint)
    state.save(task.path)
    task.checkpoint.unlink(missing_ok=True)
    return state


def train_stage(
    task: TrainingTask, stage: Stage, checkpoint: Checkpoint | None = None
) -> Steps[TrainedState]:
    """Train a network as it stands; nothing is kept but the checkpoint, if there is one."""
    network = task.network
    data = TrainingImages(task.split.train, choose_augmentation(network, task.split.watch))
    steps = train_network(
        stage.quantized,
        stage.network.graph,
        data,
        watched_batches(task.split.watch, network.batch_size),
        fitting_settings(task.settings, task.split),
        classes=network.classifies,
        checkpoint=checkpoint,
    )
    with settled_threads():
        return (yield from _observed(steps, task.points))


def _observed(steps: Steps[TrainedState], points: list[CurvePoint]) -> Steps[TrainedState]:
    """Run a training and put each new point of its curve into `points`."""
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
    """Return settings that the data allow: a batch of at most all images."""
    return replace(settings, batch=min(settings.batch, max(2, len(split.train))))


def loss_for(split: TrainingSplit, loss: LossKind | None) -> LossKind:
    """Return the loss: both where there are labels, else distillation, if none was chosen."""
    if loss is not None:
        return loss
    return LossKind.BOTH if split.train.labelled else LossKind.DISTIL
