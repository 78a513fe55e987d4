"""Run a recipe of passes on a network and measure the effect of each pass."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analysis.cost.estimate import estimate_config_cost
from analysis.evaluation.evaluate import (
    Evaluation,
    FloatScore,
    evaluate_network,
    score_float_network,
)
from analysis.evaluation.layer_sqnr import LAYER_IMAGES, measure_layer_sqnr
from analysis.evaluation.told_score import ScoreUnit, ToldScore, told_scores
from analysis.network import Network
from analysis.runs.apply_recipe import (
    Outcome,
    Stage,
    apply_recipe_pass,
    plain_quantized_stage,
    title_of_pass,
)
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import experiment_to_plain
from analysis.runs.recipe_steps import PLAIN_TITLE, describe_step
from analysis.runs.run_experiment import package_versions
from analysis.runs.run_store import Run
from analysis.study import Study
from quant.config import QuantConfig
from quant.passes.absorb_bias import AbsorbBias, Absorbed
from quant.passes.equalize import Equalize
from quant.passes.recipe import Pass, Recipe, check_recipe_order
from quant.progress import Steps, part_of_progress


@dataclass(frozen=True, eq=False, slots=True)
class RepairStep:
    """One pass with the effect; the first step, without a pass, is plain quantization.

    `channel_ranges` holds the (low, high) of each output channel of the float weight, by layer, as
    tensors (C, 2). `float_score` is measured after a change of the float function.
    """

    title: str
    step: Pass | None
    evaluation: Evaluation
    layer_sqnr_db: dict[str, float]
    channel_ranges: dict[str, Tensor]
    outcome: Outcome | None
    float_score: FloatScore | None
    seconds: float


def repair_and_measure(
    study: Study,
    config: QuantConfig,
    recipe: Recipe,
    on_step: Callable[[tuple[RepairStep, ...]], None] | None = None,
) -> Steps[tuple[RepairStep, ...]]:
    """Run a recipe and measure after every pass; the first step is plain quantization.

    Passes learn from the study's calibration images; the scored images give the scores.

    Raises:
        RecipeError: the order is illegal; no pass has run.
        QuantError: a pass needs images and the study has none.
    """
    check_recipe_order(recipe)
    count = len(recipe) + 1
    stage = plain_quantized_stage(study.network, config, study.known_statistics)
    measured = _measure_step(study, stage, None, None)
    done = [(yield from part_of_progress(measured, 0.0, 1 / count))]
    tell = on_step or (lambda _: None)
    tell(tuple(done))
    for number, step in enumerate(recipe, start=1):
        start = time.monotonic()
        middle = (number + 0.6) / count
        work = apply_recipe_pass(stage, step, config, study.calibration, study.folder)
        stage, outcome = yield from part_of_progress(work, number / count, middle)
        measured = _measure_step(study, stage, step, outcome)
        result = yield from part_of_progress(measured, middle, (number + 1) / count)
        done.append(replace(result, seconds=time.monotonic() - start))
        tell(tuple(done))
    return tuple(done)


def _measure_step(
    study: Study, stage: Stage, step: Pass | None, outcome: Outcome | None
) -> Steps[RepairStep]:
    start = time.monotonic()
    original, data = study.network, study.scored_images
    evaluation = yield from evaluate_network(original, stage.quantized, data, study.metric)
    float_score = None
    if isinstance(step, Equalize | AbsorbBias) and _changes_network_function(step, outcome):
        float_score = yield from score_float_network(stage.network, data)
    first = next(iter(data.batches(min(original.forward_batch_size, LAYER_IMAGES))))
    return RepairStep(
        title=PLAIN_TITLE if step is None else title_of_pass(step),
        step=step,
        evaluation=evaluation,
        layer_sqnr_db=measure_layer_sqnr(stage.network, stage.quantized, first.inputs),
        channel_ranges=weight_channel_ranges(stage.network),
        outcome=outcome,
        float_score=float_score,
        seconds=time.monotonic() - start,
    )


def _changes_network_function(step: Equalize | AbsorbBias, outcome: Outcome | None) -> bool:
    """Whether the float network may answer differently afterwards."""
    if isinstance(step, Equalize):
        return step.replace_relu6
    return isinstance(outcome, Absorbed) and bool(outcome.shifts)


def run_from_steps(steps: tuple[RepairStep, ...], study: Study, experiment: Experiment) -> Run:
    """Return the last step of a measured recipe as a run for the store."""
    last, network, data = steps[-1], study.network, study.scored_images
    return Run(
        name=experiment.display_name,
        model=network.name,
        model_digest=network.digest,
        data=data.name,
        data_digest=data.digest,
        config=experiment.config.to_dict(),
        calibration_images=len(study.calibration or ()),
        evaluation=last.evaluation,
        cost=estimate_config_cost(
            network, experiment.config, experiment.machine, study.weight_entropies
        ),
        layer_sqnr_db=last.layer_sqnr_db,
        versions=package_versions(),
        seed=experiment.seed,
        seconds=sum(step.seconds for step in steps),
        recipe=tuple(title_of_pass(step.step) for step in steps if step.step is not None),
        steps=tuple(describe_step(step.title, step.evaluation) for step in steps),
        experiment=experiment_to_plain(experiment.on_model_and_data(network.digest, data.digest)),
    )


def weight_channel_ranges(network: Network) -> dict[str, Tensor]:
    """Return the smallest and largest weight of each output channel, shape (C, 2), by layer."""
    found = {}
    for layer in network.graph.layers:
        if layer.weight is not None:
            rows = (
                network.graph.stored_tensor(layer.weight).movedim(layer.channel_axis, 0).flatten(1)
            )
            found[layer.name] = torch.stack([rows.amin(1), rows.amax(1)], 1)
    return found


def told_of_steps(steps: Sequence[RepairStep]) -> tuple[ToldScore, ...]:
    """Return the scores of measured steps in the one measure that all of them have."""
    return told_scores([step.evaluation for step in steps])


def repair_verdict(before: RepairStep, after: RepairStep) -> str:
    """Return the effect of a pass on the score in a sentence, with the place of harm."""
    old, new = told_of_steps((before, after))
    if new.is_same_value(old.value):
        return f"{after.title} leaves {new.name} at {new.value_text}."
    gain = new.gain_over(old)
    if new.unit is ScoreUnit.OWN:
        verb = "raises" if new.value > old.value else "lowers"
        size = new.amount_text(abs(gain))
        effect = f"{after.title} {verb} {new.name} by {size}, to {new.value_text}."
    elif gain > 0:
        effect = f"{after.title} brings {new.step_text(gain)}, to {new.value_text}."
    else:
        effect = f"{after.title} costs {new.step_text(gain)}, down to {new.value_text}."
    return effect if gain > 0 else f"{effect} {_likely_harm_reason(before, after)}"


def _likely_harm_reason(before: RepairStep, after: RepairStep) -> str:
    """Return the likeliest cause of harm in the measurements."""
    if after.float_score is not None and before.evaluation.float_top1 is not None:
        lost = 100 * (before.evaluation.float_top1 - after.float_score.top1)
        if lost > 0.05:
            return f"The float network itself loses {lost:.2f} points: the pass changed it."
    if _is_within_noise(before, after):
        return "The difference is smaller than the interval of the score: it may be chance."
    falls = _largest_sqnr_fall(before.layer_sqnr_db, after.layer_sqnr_db)
    if falls:
        name, decibels = falls
        return f"The layer that lost most is {name}: {decibels:.1f} dB of its SQNR."
    return "No layer's own SQNR fell; the error lies in how they add up."


def _is_within_noise(before: RepairStep, after: RepairStep) -> bool:
    """Whether the score before lies in the interval of the score after."""
    old, new = told_of_steps((before, after))
    ends = new.interval
    return ends is not None and ends.low <= old.value <= ends.high


def _largest_sqnr_fall(
    before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[str, float] | None:
    """Return the layer with the largest fall of SQNR, and the fall in dB."""
    falls = {name: before[name] - after[name] for name in after if name in before}
    finite = {name: fall for name, fall in falls.items() if math.isfinite(fall) and fall > 0}
    worst = max(finite, key=lambda name: finite[name], default=None)
    return None if worst is None else (worst, finite[worst])
