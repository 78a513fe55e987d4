"""The flow from "the network lost five points" to "do this", tried and measured.

The order follows the white paper's debugging workflow (section 3.7, figure 9). The search for
causes precedes the repairs, since ranges cost no forward and tell the encodings to change.
"""

import time
from dataclasses import dataclass, field, replace

from analysis.diagnosis.causes.find_causes import find_causes, find_few_images
from analysis.diagnosis.flow.attribute import attribute_loss
from analysis.diagnosis.flow.candidates import ROUNDING_ITERATIONS, one_side, repair_candidates
from analysis.diagnosis.flow.conclude import conclude_diagnosis, name_causes, stop_early
from analysis.diagnosis.flow.contents import (
    Diagnosis,
    FlowStage,
    FlowStep,
    StepOutcome,
    causes_text,
)
from analysis.diagnosis.flow.expect_training import expect_training
from analysis.diagnosis.flow.few_layers import (
    edge_layer_rules,
    give_more_bits,
    guilty_parts,
    wider_everywhere,
)
from analysis.diagnosis.flow.goal import Goal, Standing
from analysis.diagnosis.flow.head_candidates import head_candidates
from analysis.diagnosis.flow.state import FlowState
from analysis.diagnosis.flow.trials import RunKeeper, Trial, Trials
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.sanity import check_float_network
from analysis.evaluation.told_score import ScoreMeasure, told_score
from analysis.runs.apply_recipe import repair_float_network
from analysis.runs.experiment import Experiment
from analysis.study import Study
from quant.passes.recipe import is_float_pass
from quant.progress import Progress, Steps, part_of_progress
from quant.simulation.plan import Side


@dataclass(frozen=True, eq=False, slots=True)
class DiagnosisTask:
    """The subject of a diagnosis: a study, the experiment that lost accuracy, and the goal.

    `keeper` stores each step as a named run; `board` gets each finished step. AdaRound takes
    `rounding_iterations` for a layer.
    """

    study: Study
    experiment: Experiment
    goal: Goal = field(default_factory=Goal)
    keeper: RunKeeper | None = None
    board: list[FlowStep] = field(default_factory=list)
    rounding_iterations: int = ROUNDING_ITERATIONS


def run_diagnosis(task: DiagnosisTask) -> Steps[Diagnosis]:
    """Find the causes of a loss and try repairs in order of cost, up to the first sufficient one.

    Each step is measured on the scored images of the study. An interrupted diagnosis resumes, if
    the task has a keeper.

    Raises:
        QuantError: the network gives no classes, images are missing, or a range is impossible.
    """
    trials = Trials(task.study, task.goal, task.keeper, task.board)
    state = FlowState(task.experiment)
    sane = yield from part_of_progress(_check_float(trials, state), 0.0, 0.08)
    if not sane:
        return stop_early(trials, state)
    yield from part_of_progress(_measure_sides(trials, state), 0.08, 0.22)
    if not state.is_kept:
        yield from part_of_progress(_find_layers(trials, state), 0.22, 0.4)
        yield from part_of_progress(
            _repair_whole(trials, state, task.rounding_iterations), 0.4, 0.8
        )
    if not state.is_kept and not state.is_within(task.goal.points):
        yield from part_of_progress(_repair_few(trials, state), 0.8, 0.95)
    if not state.is_kept and not state.is_within(task.goal.points):
        yield from part_of_progress(_look_further(trials, state), 0.95, 0.97)
        yield from part_of_progress(expect_training(trials, state), 0.97, 1.0)
    return conclude_diagnosis(trials, state)


def _check_float(trials: Trials, state: FlowState) -> Steps[bool]:
    """Score the float network and the simulation at 32 bits; return whether both are sound."""
    study = trials.study
    floating = one_side(one_side(state.given.config, Side.WEIGHTS), Side.ACTIVATIONS)
    bare = replace(state.given, config=floating, recipe=(), encodings=None, given_name="")
    trial = yield from part_of_progress(
        trials.measure_trial(bare, "everything at 32 bits"), 0.0, 0.8
    )
    score = trial.run.evaluation
    state.float_top1 = score.float_top1
    start = time.monotonic()
    sanity = yield from part_of_progress(
        check_float_network(study.network, study.scored_images, score.float_top1), 0.8, 1.0
    )
    top1, interval = score.float_top1, score.float_top1_ci95
    outcome = StepOutcome.TOLD if top1 is None else StepOutcome.PASSED
    problems = sanity.warning_sentences()
    trials.board.append(
        FlowStep(
            FlowStage.FLOAT,
            "Float network",
            StepOutcome.FAILED if problems else outcome,
            " ".join((_tell_float_score(score, study.network.noun), *problems)),
            time.monotonic() - start,
            top1=top1,
            top1_interval=interval,
        )
    )
    exact = score.agreement == 1 and score.sqnr_db == float("inf")
    sentence = (
        "The simulation at 32 bits gives exactly the float outputs."
        if exact
        else f"The simulation at 32 bits differs from float: SQNR {score.sqnr_db:.1f} dB."
    )
    step = trials.tell_step(FlowStage.FLOAT, "Everything at 32 bits", trial, sentence)
    trials.board[-1] = replace(step, outcome=StepOutcome.PASSED if exact else StepOutcome.FAILED)
    return exact and not problems


def _tell_float_score(score: Evaluation, noun: str) -> str:
    """Say how the float network scores, from the run at 32 bits, whose answers are the same."""
    counted, found = f"{score.samples} {noun}s", told_score(score)
    if found.measure is ScoreMeasure.TOP1:
        return f"Right on {found.value_text} of {counted} (95 %: {found.interval_ends})."
    if found.measure is ScoreMeasure.METRIC:
        spread = f" (95 %: {found.interval_ends})" if found.interval_ends else ""
        return f"{found.name} {found.value_text} on {counted}{spread}."
    return f"No labels: answers are compared with the float network's on {counted}."


def _measure_sides(trials: Trials, state: FlowState) -> Steps[None]:
    """Measure the experiment as given, then each side alone; guilty sides lose the goal."""
    given = yield from part_of_progress(
        trials.measure_trial(state.given, "as configured"), 0.0, 0.4
    )
    state.take_trial(given)
    trials.tell_step(FlowStage.SIDES, "As configured", given, f"Loses {given.loss.loss_text}.")
    if state.is_kept:
        return
    losses: dict[Side, Trial] = {}
    for place, side in enumerate((Side.WEIGHTS, Side.ACTIVATIONS)):
        config = one_side(state.given.config, side)
        if not guilty_parts(trials.study, config, (side,)):
            continue
        alone = replace(state.given, config=config, given_name="")
        name = f"{side} alone"
        steps = part_of_progress(
            trials.measure_trial(alone, name), 0.4 + 0.3 * place, 0.7 + 0.3 * place
        )
        losses[side] = yield from steps
        told = f"With the other side in float, {side} lose {losses[side].loss.loss_text}."
        trials.tell_step(FlowStage.SIDES, name.capitalize(), losses[side], told)
    lost = [side for side in losses if losses[side].standing is not Standing.KEPT]
    guilty = lost or list(losses)
    state.sides = tuple(sorted(guilty, key=lambda side: -losses[side].loss.points))


def _find_layers(trials: Trials, state: FlowState) -> Steps[None]:
    """Attribute the loss to layers, and find causes in the ranges of the guilty sides."""
    study = yield from part_of_progress(_float_study(trials.study, state.given), 0.0, 0.1)
    start = time.monotonic()
    attribution = yield from part_of_progress(
        attribute_loss(study, state.given.config, state.sides), 0.1, 0.9
    )
    state.layers = attribution.layers
    whole = state.nearest_trial.loss.points
    _tell_step(trials, "Loss by layer", attribution.attribution_sentence(whole), start)
    start = time.monotonic()
    yield Progress(0.9, "Looking at the ranges of the side that loses most")
    causes = find_causes(study, state.given.config, state.sides)
    if Side.ACTIVATIONS in state.sides:
        few = yield from part_of_progress(find_few_images(study), 0.9, 1.0)
        causes = causes if few is None else (few, *causes)
    state.causes = causes
    state.named = name_causes(causes, attribution.layers, study.network.noun)
    told = causes_text(state.named)
    sentence = f"{told[0].upper()}{told[1:]}." if told else "The ranges fit; the bits are few."
    _tell_step(trials, "Ranges and causes", sentence, start)


def _repair_whole(trials: Trials, state: FlowState, iterations: int) -> Steps[None]:
    """Try the repairs of a whole network in order of cost, each on top of successful repairs."""
    found = repair_candidates(trials.study, state.sides, state.causes, iterations)
    head = head_candidates(trials.study) if Side.ACTIVATIONS in state.sides else ()
    tried = sorted((*head, *found), key=lambda one: one.cost)
    adopted = 0
    for place, candidate in enumerate(tried):
        before = state.present_trial
        changed = candidate.change(before.experiment)
        if (adopted or candidate.cost >= SLOW) and state.is_within(trials.goal.points):
            return
        if changed is None:
            continue
        start, end = place / len(tried), (place + 1) / len(tried)
        trial = yield from part_of_progress(
            trials.measure_trial(changed, candidate.title), start, end
        )
        helps = state.take_if_better(trial)
        adopted += helps
        trials.tell_step(
            FlowStage.REPAIR, candidate.title, trial, _effect_sentence(before, trial), adopted=helps
        )
        if state.is_kept:
            alone = candidate.change(state.given)
            if adopted > 1 and candidate.cost < SLOW and alone is not None:
                yield from part_of_progress(
                    _try_alone(trials, state, candidate.title, alone), start, end
                )
            return


SLOW = 6
"""The cost of a repair that takes minutes; such a repair is not tried again."""


def _try_alone(trials: Trials, state: FlowState, title: str, alone: Experiment) -> Steps[None]:
    """Try the last repair without the repairs before; a shorter sufficient recipe wins."""
    trial = yield from trials.measure_trial(alone, f"{title}, alone")
    kept = trial.standing is Standing.KEPT
    told = (
        "Keeps the goal without the repairs before." if kept else "The repairs before are needed."
    )
    trials.tell_step(FlowStage.REPAIR, f"{title}, alone", trial, told, adopted=kept)
    if kept:
        state.take_trial(trial)


def _repair_few(trials: Trials, state: FlowState) -> Steps[None]:
    """Give more bits to the first layer and the head, then to the 1, 2, 4 ... worst layers."""
    study = yield from part_of_progress(
        _float_study(trials.study, state.present_trial.experiment), 0.0, 0.1
    )
    start = time.monotonic()
    config = state.present_trial.experiment.config
    attribution = yield from part_of_progress(attribute_loss(study, config, state.sides), 0.1, 0.4)
    whole = state.present_trial.loss.points
    _tell_step(trials, "Loss by layer after repair", attribution.attribution_sentence(whole), start)
    before = state.present_trial
    tries = [
        *edge_layer_rules(study, before.experiment, state.sides),
        *give_more_bits(study, before.experiment, attribution.layers, state.sides),
    ]
    for place, (title, experiment) in enumerate(tries):
        span = 0.4 + 0.6 * place / len(tries), 0.4 + 0.6 * (place + 1) / len(tries)
        trial = yield from part_of_progress(trials.measure_trial(experiment, title), *span)
        helps = state.take_if_better(trial)
        trials.tell_step(
            FlowStage.FEW, title, trial, _effect_sentence(before, trial), adopted=helps
        )
        if state.is_kept:
            return


def _look_further(trials: Trials, state: FlowState) -> Steps[None]:
    """Measure more bits for every layer of the guilty sides: advice, no recipe."""
    title, experiment = wider_everywhere(trials.study, state.present_trial.experiment, state.sides)
    if experiment is None:
        return
    trial = yield from trials.measure_trial(experiment, title)
    state.beyond = title, trial
    sentence = (
        f"{_effect_sentence(state.present_trial, trial)} These are more bits than were asked for."
    )
    trials.tell_step(FlowStage.WHOLE, title, trial, sentence, adopted=False)


def _float_study(study: Study, experiment: Experiment) -> Steps[Study]:
    """Return the calibrated study of the float network after the float passes of a recipe."""
    if any(map(is_float_pass, experiment.recipe)):
        study = repair_float_network(study, experiment.recipe)
    yield from study.collect_statistics()
    return study


def _tell_step(trials: Trials, name: str, sentence: str, start: float) -> None:
    seconds = time.monotonic() - start
    trials.board.append(FlowStep(FlowStage.LAYERS, name, StepOutcome.TOLD, sentence, seconds))


def _effect_sentence(before: Trial, after: Trial) -> str:
    """Return the effect of a change on the loss and on the energy of one image."""
    change = before.loss.points - after.loss.points
    told = (
        f"Brings {change:.2f} points: loses {after.loss.loss_text}."
        if change > 0
        else f"Does not help: loses {after.loss.loss_text}."
    )
    old, new = before.run.cost.energy_pj, after.run.cost.energy_pj
    if old <= 0 or abs(new - old) < 1e-4 * old:
        return told
    return (
        f"{told} Energy of one {after.run.cost.noun} {(new - old) / 1e6:+.3g} µJ "
        f"({100 * (new / old - 1):+.1f} %)."
    )
