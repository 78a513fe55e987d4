"""Trainings side by side: methods, controls of learned widths, and the float network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.measures import Interval
from analysis.training.run_training import TrainingOutcome, TrainingTask, run_training_task
from quant.channel_widths import (
    ChannelWidths,
    config_with_channel_widths,
    even_channel_widths,
    mean_weight_bits,
    random_channel_widths,
    widths_by_variance,
)
from quant.config import QuantConfig, uniform_config
from quant.progress import Progress, Steps, part_of_progress
from quant.spec import FLOAT_BITS
from quant.training.methods.neuron_widths import trained_channel_widths
from quant.training.settings import BlendGradient, NormHandling, TrainingMethod


class Arm(StrEnum):
    """A training that can stand beside others; the value is its title."""

    LEARNED_STEP = "learned steps (STE)"
    BLEND = "alpha-blend"
    BLEND_STRAIGHT = "blend with STE's gradient"
    WIDTHS = "a width for each neuron"
    EVEN = "even mix of widths"
    RANDOM = "the same widths at random"
    VARIANCE = "widths by variance"
    FLOAT = "float, trained as long"


METHOD_ARMS = (Arm.LEARNED_STEP, Arm.BLEND, Arm.BLEND_STRAIGHT)
WIDTH_ARMS = (Arm.WIDTHS, Arm.EVEN, Arm.RANDOM, Arm.VARIANCE)
CONTROLS = (Arm.EVEN, Arm.RANDOM, Arm.VARIANCE)


@dataclass(frozen=True, eq=False, slots=True)
class ArmResult:
    """The scores of one arm on images that neither trained nor watched."""

    arm: Arm
    score: float
    interval: Interval | None
    agreement: float
    mean_bits: float | None
    stored_name: str


def compare_arms(
    task: TrainingTask,
    arms: tuple[Arm, ...],
    report: Callable[[ArmResult], None] = lambda _: None,
) -> Steps[tuple[ArmResult, ...]]:
    """Train each arm on the same data for as many steps; `report` gets each result at once.

    The controls of learned widths have the mean width that the neurons learned, so that arm comes
    first. A finished arm is stored, and is opened when it is asked for again.
    """
    chosen = sorted(set(arms), key=list(Arm).index)
    if set(chosen) & set(CONTROLS) and Arm.WIDTHS not in chosen:
        chosen.insert(0, Arm.WIDTHS)
    found: list[ArmResult] = []
    learned: ChannelWidths = {}
    for number, arm in enumerate(chosen):
        share = number / len(chosen), (number + 1) / len(chosen)
        yield Progress(share[0], f"Training {arm}")
        own = task_of_arm(task, arm, learned)
        outcome = yield from part_of_progress(run_training_task(own), *share)
        widths = trained_channel_widths(outcome.state.encodings, task.network.graph)
        if arm is Arm.WIDTHS:
            learned = widths
        found.append(_result_of_arm(arm, outcome, widths))
        report(found[-1])
    return tuple(found)


def task_of_arm(task: TrainingTask, arm: Arm, learned: ChannelWidths) -> TrainingTask:
    """Return the training of an arm; `learned` are the widths that the neurons learned."""
    settings, config, graph = task.settings, task.config, task.network.graph
    plain = replace(settings, method=TrainingMethod.LEARNED_STEP)
    blend = replace(settings, method=TrainingMethod.ALPHA_BLEND)
    widths = replace(settings, method=TrainingMethod.NEURON_WIDTHS)
    fixed = replace(widths, widths=replace(settings.widths, rate=0.0))
    mean = mean_weight_bits(graph, learned) if learned else 0.0
    match arm:
        case Arm.LEARNED_STEP:
            chosen, bits = plain, config
        case Arm.BLEND:
            way = replace(settings.blend, gradient=BlendGradient.BLEND)
            chosen, bits = replace(blend, blend=way), config
        case Arm.BLEND_STRAIGHT:
            way = replace(settings.blend, gradient=BlendGradient.STRAIGHT)
            chosen, bits = replace(blend, blend=way), config
        case Arm.WIDTHS:
            chosen, bits = widths, config_with_channel_widths(config, even_channel_widths(graph, 1))
        case Arm.EVEN:
            chosen, bits = fixed, _with_widths(config, even_channel_widths(graph, mean))
        case Arm.RANDOM:
            dealt = random_channel_widths(graph, learned, settings.seed)
            chosen, bits = fixed, _with_widths(config, dealt)
        case Arm.VARIANCE:
            chosen, bits = fixed, _with_widths(config, widths_by_variance(graph, mean))
        case Arm.FLOAT:
            chosen = replace(plain, norms=NormHandling.KEPT)
            bits = uniform_config(FLOAT_BITS, FLOAT_BITS)
    return replace(task, settings=chosen, config=bits, points=[])


def _with_widths(config: QuantConfig, widths: ChannelWidths) -> QuantConfig:
    return config_with_channel_widths(config, widths)


def _result_of_arm(arm: Arm, outcome: TrainingOutcome, widths: ChannelWidths) -> ArmResult:
    after: Evaluation = outcome.after
    labelled = after.quantized_top1 is not None
    score = after.quantized_top1 if after.quantized_top1 is not None else after.agreement
    bits = mean_weight_bits(outcome.task.network.graph, widths) if widths else None
    return ArmResult(
        arm,
        score,
        after.quantized_top1_ci95 if labelled else after.agreement_ci95,
        after.agreement,
        bits,
        outcome.task.stored_name,
    )
