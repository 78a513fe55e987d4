"""A short training of letter-mlp, run once for all tests of trainings."""

import tempfile
from functools import cache
from pathlib import Path

from analysis.network import Network
from analysis.split import ImageChoice
from analysis.training.divide import TrainingSplit, divide_training_images
from analysis.training.run_training import TrainingOutcome, TrainingTask, run_training_task
from quant.config import uniform_config
from quant.progress import drain_steps
from quant.training.settings import LossKind, TrainingSettings
from tests.sample_networks import sample_network

BRIEF = TrainingSettings(steps=8, batch=64, watch_every=4, loss=LossKind.LABELS, rate=0.01)


def letters() -> Network:
    return sample_network("letter-mlp")


@cache
def split() -> TrainingSplit:
    choice = ImageChoice(samples=300, calibration=32)
    whole = divide_training_images("letter-mlp", letters(), choice)
    return TrainingSplit(
        whole.train.first(1000), whole.watch.first(200), whole.score, whole.calibration
    )


def task(folder: Path, settings: TrainingSettings = BRIEF, bits: int = 2) -> TrainingTask:
    return TrainingTask(letters(), uniform_config(bits, 8), split(), settings, folder)


@cache
def trained() -> TrainingOutcome:
    folder = Path(tempfile.mkdtemp(prefix="trainings-"))
    return drain_steps(run_training_task(task(folder)))
