"""The whole measurement of an experiment: calibrate, quantize, score, cost."""

import platform
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from typing import Protocol

import torch

from analysis.calibration import Calibrated
from analysis.cost.estimate import estimate_config_cost
from analysis.evaluation.evaluate import Data, Evaluation, Metric, ScoreLook, evaluate_network
from analysis.evaluation.layer_sqnr import LAYER_IMAGES, measure_layer_sqnr
from analysis.network import Network
from analysis.runs.apply_recipe import (
    Stage,
    apply_whole_recipe,
    plain_quantized_stage,
    title_of_pass,
)
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import experiment_to_plain
from analysis.runs.partial_scores import PartialScores, score_question_digest
from analysis.runs.recipe_steps import apply_recipe_in_steps, describe_step
from analysis.runs.run_store import Run, RunStep
from analysis.runs.side_losses import measure_side_losses
from analysis.runs.verdict import loses_much_accuracy
from analysis.study import Study
from quant.passes.recipe import check_recipe_order
from quant.progress import Progress, Steps, part_of_progress
from quant.simulation.quant_graph import QuantGraph

CALIBRATION_SHARE = 0.15  # of a run's progress bar, where nothing was calibrated before
SIDES_SHARE = 0.3  # of the progress of scoring, where the sides are scored too
REPAIR_SHARE = 0.7  # of a run's progress bar, where there is a recipe


class IdentifiedData(Data, Protocol):
    """Data with a name and a digest of the content."""

    @property
    def name(self) -> str:
        """The name of the data."""

    @property
    def digest(self) -> str:
        """Equal digests mean equal content."""


def measure_experiment(
    study: Study,
    experiment: Experiment,
    metric: Metric | None = None,
    *,
    with_steps: bool = False,
    with_sides: bool = False,
    look: ScoreLook | None = None,
) -> Steps[Run]:
    """Calibrate if needed, quantize as the experiment says, score, and estimate the cost.

    Ranges and passes learn from the study's calibration images; the scored images give the score.
    `metric` is that of a user, otherwise of the study's task. `with_steps` also scores the network
    before each pass of the recipe, and the run keeps the steps. `with_sides` scores weights alone
    and activations alone after a loss of more than one point. `look` may stop the score early; the
    run is then of the images that were scored.

    Raises:
        QuantError: the configuration, the calibration or the labels do not fit the network.
    """
    start = time.monotonic()
    yield Progress(0.0, "Choosing ranges")
    network, data, config = study.network, study.scored_images, experiment.config
    report = estimate_config_cost(network, config, experiment.machine, study.weight_entropies)
    check_recipe_order(experiment.all_passes)
    known, statistics = study.is_calibrated, study.collect_statistics(config)
    calibrated = yield from part_of_progress(statistics, 0.0, CALIBRATION_SHARE)
    begun = 0.0 if known or not calibrated.images else CALIBRATION_SHARE
    recipe, metric = experiment.all_passes, metric or study.metric
    share = REPAIR_SHARE if recipe else begun
    repairs = _repair_stage(study, experiment, calibrated, metric, with_steps=with_steps)
    stage, before = yield from part_of_progress(repairs, begun, share)
    scored = _score_stage(study, stage, metric, look)
    end = 1 - SIDES_SHARE * (1 - share) * with_sides
    evaluation = yield from part_of_progress(scored, share, end)
    yield Progress(end, "Comparing layer by layer")
    by_layer = _mean_layer_sqnr(stage.network, stage.quantized, data)
    data = data.first(evaluation.samples)
    run = Run(
        name=experiment.display_name,
        model=network.name,
        model_digest=network.digest,
        data=data.name,
        data_digest=data.digest,
        config=config.to_dict(),
        calibration_images=calibrated.images,
        evaluation=evaluation,
        cost=report,
        layer_sqnr_db=by_layer,
        versions=package_versions(),
        seed=experiment.seed,
        seconds=time.monotonic() - start,
        recipe=tuple(map(title_of_pass, recipe)),
        steps=_with_last_step(before, experiment, evaluation),
        experiment=experiment_to_plain(experiment.on_model_and_data(network.digest, data.digest)),
    )
    by_side = _with_side_losses(run, study, stage.quantized, metric, asked=with_sides)
    return (yield from part_of_progress(by_side, end, 1.0))


def _score_stage(
    study: Study, stage: Stage, metric: Metric | None, look: ScoreLook | None
) -> Steps[Evaluation]:
    """Score a quantized network; an interrupted score resumes from the stored outputs."""
    stored = _partial_scores(study, stage.quantized)
    evaluation = yield from evaluate_network(
        study.network, stage.quantized, study.scored_images, metric, stored, look
    )
    if stored is not None:
        stored.forget_outputs()
    return evaluation


def _with_last_step(
    before: tuple[RunStep, ...], experiment: Experiment, evaluation: Evaluation
) -> tuple[RunStep, ...]:
    """Return the steps with that of the last pass; none where no step was scored."""
    if not before:
        return ()
    return (*before, describe_step(title_of_pass(experiment.all_passes[-1]), evaluation))


def _with_side_losses(
    run: Run, study: Study, quantized: QuantGraph, metric: Metric | None, *, asked: bool
) -> Steps[Run]:
    """Return a run with the losses of each side alone, where asked for and above a point."""
    start = time.monotonic()
    if asked and loses_much_accuracy(run):
        sides = yield from measure_side_losses(study, quantized, metric)
        run = replace(run, sides=sides, seconds=run.seconds + time.monotonic() - start)
    yield Progress(1.0, "Done")
    return run


def _repair_stage(
    study: Study,
    experiment: Experiment,
    calibrated: Calibrated,
    metric: Metric | None,
    *,
    with_steps: bool,
) -> Steps[tuple[Stage, tuple[RunStep, ...]]]:
    """Quantize and repair; return the repaired stage, and the scores on the way if asked for."""
    recipe, config = experiment.all_passes, experiment.config
    stage = plain_quantized_stage(study.network, config, calibrated)
    if with_steps and recipe:
        return (yield from apply_recipe_in_steps(study, stage, recipe, config, metric))
    repaired = apply_whole_recipe(stage, recipe, config, study.calibration, study.folder)
    return (yield from repaired), ()


def _partial_scores(study: Study, quantized: QuantGraph) -> PartialScores | None:
    """Return the place of scores that a cancelled run leaves; None without a folder."""
    if study.store is None or study.store.path is None:
        return None
    question = score_question_digest(study.network, quantized, study.scored_images.digest)
    return PartialScores(study.store.path.parent, question)


def _mean_layer_sqnr(network: Network, quantized: QuantGraph, data: Data) -> dict[str, float]:
    first = next(iter(data.batches(min(network.forward_batch_size, LAYER_IMAGES))))
    return measure_layer_sqnr(network, quantized, first.inputs)


def package_versions() -> dict[str, str]:
    """Return the versions that influence a figure."""
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "torch": str(torch.__version__),
        "numpy": version("numpy"),
    }
