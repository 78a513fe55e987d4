"""The steps of a recipe as a run keeps the steps: a score before and after each pass."""

from analysis.evaluation.evaluate import Evaluation, evaluate_network
from analysis.evaluation.measures import Interval
from analysis.runs.apply_recipe import Stage, apply_recipe_pass, title_of_pass
from analysis.runs.run_store import RunStep
from analysis.study import Study
from quant.config import QuantConfig
from quant.passes.recipe import Recipe
from quant.progress import Steps, part_of_progress

PLAIN_TITLE = "Plain quantization"
PASS_SHARE = 0.6  # of the work on one pass; the score is the rest


def describe_step(title: str, evaluation: Evaluation) -> RunStep:
    """Return the step with the score of an evaluation."""
    score, interval = score_with_interval(evaluation)
    return RunStep(title, score, interval, evaluation.sqnr_db)


def score_with_interval(evaluation: Evaluation) -> tuple[float, Interval]:
    """Return the top-1, or without labels the agreement, with the 95 % interval."""
    if evaluation.quantized_top1 is not None and evaluation.quantized_top1_ci95 is not None:
        return evaluation.quantized_top1, evaluation.quantized_top1_ci95
    return evaluation.agreement, evaluation.agreement_ci95


def apply_recipe_in_steps(
    study: Study, stage: Stage, recipe: Recipe, config: QuantConfig
) -> Steps[tuple[Stage, tuple[RunStep, ...]]]:
    """Return the repaired stage, and the steps before the last pass: the caller scores the end.

    Raises:
        QuantError: a pass needs images and there are none.
    """
    steps: list[RunStep] = []
    title, count = PLAIN_TITLE, len(recipe)
    for number, step in enumerate(recipe):
        middle = (number + 1 - PASS_SHARE) / count
        scoring = evaluate_network(study.network, stage.quantized, study.scored_images)
        evaluation = yield from part_of_progress(scoring, number / count, middle)
        steps.append(describe_step(title, evaluation))
        work = apply_recipe_pass(stage, step, config, study.calibration, study.folder)
        stage, _ = yield from part_of_progress(work, middle, (number + 1) / count)
        title = title_of_pass(step)
    return stage, tuple(steps)
