"""The gain to expect of training, where no recipe keeps the goal: a short probe is measured."""

import tempfile
import time
from pathlib import Path

from analysis.diagnosis.flow.contents import FlowStage, FlowStep, StepOutcome
from analysis.diagnosis.flow.state import FlowState
from analysis.diagnosis.flow.trials import Trials
from analysis.training.divide import TrainingSplit
from analysis.training.forecast import forecast_training
from analysis.training.run_training import TrainingTask
from quant.errors import QuantError
from quant.passes.recipe import is_float_pass
from quant.progress import Steps
from quant.training.settings import TrainingSettings

WATCHED_SHARE, LEAST_WATCHED = 0.25, 16
"""The share of the calibration images that judge the probe, and how few can (our choice)."""


def expect_training(trials: Trials, state: FlowState) -> Steps[None]:
    """Forecast the gain of training over the nearest recipe, and tell the step.

    The calibration images train the probe and judge it; the scored images take no part. Nothing is
    told without labels, or with too few calibration images. A stored forecast is not made again.
    """
    study, best = trials.study, state.nearest_trial
    images = study.calibration
    watched = 0 if images is None else int(WATCHED_SHARE * len(images))
    if images is None or not images.labelled or watched < LEAST_WATCHED:
        return
    start, question = time.monotonic(), f"forecast of training {best.run.id}"
    told = None if trials.keeper is None else trials.keeper.find_answer(question)
    resumed = isinstance(told, str)
    if not isinstance(told, str):
        watch, train = images.split(watched, best.experiment.seed)
        split = TrainingSplit(train, watch, study.scored_images, images, study.input_range)
        try:
            with tempfile.TemporaryDirectory() as folder:
                task = TrainingTask(
                    study.network,
                    best.experiment.config,
                    split,
                    TrainingSettings(seed=best.experiment.seed),
                    Path(folder),
                    tuple(step for step in best.experiment.recipe if is_float_pass(step)),
                )
                arms = {best.experiment.content_name: best.experiment.recipe}
                told = (yield from forecast_training(task, arms)).forecast_sentence
        except QuantError as error:
            told = f"The gain of training cannot be forecast: {error}"
        if trials.keeper is not None:
            trials.keeper.keep_answer(question, told)
    state.forecast = told
    trials.board.append(
        FlowStep(
            FlowStage.WHOLE,
            "Forecast of training",
            StepOutcome.TOLD,
            told,
            time.monotonic() - start,
            resumed=resumed,
        )
    )
