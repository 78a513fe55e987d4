"""The steps of a recipe as a run keeps the steps: a score before and after each pass."""

from collections.abc import Sequence

from analysis.evaluation.evaluate import Evaluation, Metric, evaluate_network
from analysis.evaluation.measures import Interval
from analysis.evaluation.told_score import ScoreMeasure, ToldScore, told_score, told_sqnr
from analysis.runs.apply_recipe import Stage, apply_recipe_pass, title_of_pass
from analysis.runs.run_store import Run, RunStep
from analysis.study import Study
from quant.config import QuantConfig
from quant.passes.recipe import Recipe
from quant.progress import Steps, part_of_progress

PLAIN_TITLE = "Plain quantization"
PASS_SHARE = 0.6  # of the work on one pass; the score is the rest


def describe_step(title: str, evaluation: Evaluation) -> RunStep:
    """Return the step with the score of an evaluation."""
    score, interval = _share_with_interval(evaluation)
    return RunStep(title, score, interval, evaluation.sqnr_db, told_score(evaluation))


def _share_with_interval(evaluation: Evaluation) -> tuple[float, Interval]:
    """Return the top-1, or without labels the agreement, with the 95 % interval."""
    if evaluation.quantized_top1 is not None and evaluation.quantized_top1_ci95 is not None:
        return evaluation.quantized_top1, evaluation.quantized_top1_ci95
    return evaluation.agreement, evaluation.agreement_ci95


def told_steps(run: Run) -> tuple[ToldScore, ...]:
    """Return the scores of a run's steps in one measure.

    Steps of older versions, which lack the task's measure, are told in top-1 or agreement, and
    without classes in output SQNR.
    """
    told = [step.told for step in run.steps if step.told is not None]
    if len(told) == len(run.steps) and len({(one.measure, one.name) for one in told}) == 1:
        return tuple(told)
    return _steps_of_older_version(run, run.steps)


def _steps_of_older_version(run: Run, steps: Sequence[RunStep]) -> tuple[ToldScore, ...]:
    score = run.evaluation
    if not score.labelled and not score.classes:
        return tuple(told_sqnr(step.sqnr_db) for step in steps)
    measure = ScoreMeasure.TOP1 if score.labelled else ScoreMeasure.AGREEMENT
    reference = score.float_top1 if score.labelled else 1.0
    return tuple(
        ToldScore(measure, measure.value, step.score, interval=step.interval, float_value=reference)
        for step in steps
    )


def apply_recipe_in_steps(
    study: Study,
    stage: Stage,
    recipe: Recipe,
    config: QuantConfig,
    metric: Metric | None = None,
) -> Steps[tuple[Stage, tuple[RunStep, ...]]]:
    """Return the repaired stage, and the steps before the last pass: the caller scores the end.

    `metric` is that of a user or of the task.

    Raises:
        QuantError: a pass needs images and there are none.
    """
    steps: list[RunStep] = []
    title, count = PLAIN_TITLE, len(recipe)
    for number, step in enumerate(recipe):
        middle = (number + 1 - PASS_SHARE) / count
        scoring = evaluate_network(study.network, stage.quantized, study.scored_images, metric)
        evaluation = yield from part_of_progress(scoring, number / count, middle)
        steps.append(describe_step(title, evaluation))
        work = apply_recipe_pass(stage, step, config, study.calibration, study.folder)
        stage, _ = yield from part_of_progress(work, middle, (number + 1) / count)
        title = title_of_pass(step)
    return stage, tuple(steps)
