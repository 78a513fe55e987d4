"""The results of a diagnosis: steps, causes, and the chosen experiment."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from analysis.diagnosis.flow.goal import Goal, Loss, Standing
from analysis.evaluation.measures import Interval
from analysis.runs.experiment import Experiment
from analysis.runs.run_store import Run
from quant.graph.layers import layer_count
from quant.simulation.plan import Side


class FlowStage(StrEnum):
    """The stages of the flow (white paper, figure 9), in order."""

    FLOAT = "Is the float network sane?"
    SIDES = "Weights or activations?"
    LAYERS = "Which layers, and why?"
    REPAIR = "Repair the whole network"
    FEW = "Repair few layers"
    WHOLE = "The whole network at the goal"


class StepOutcome(StrEnum):
    """How a step came out."""

    PASSED = "pass"
    UNDECIDED = "undecided"
    FAILED = "fail"
    TOLD = "told"


OUTCOMES = {
    Standing.KEPT: StepOutcome.PASSED,
    Standing.UNDECIDED: StepOutcome.UNDECIDED,
    Standing.LOST: StepOutcome.FAILED,
}


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One box of the flow: the trial and the result.

    Attributes:
        stage: the part of the flow.
        name: the name of the trial.
        outcome: pass or fail by the paired interval; "told" for a step without a limit.
        sentence: the finding in words.
        seconds: the duration of the step; for a stored run, the duration of the run.
        loss: the measured loss; None for a step without measurement.
        top1: the share of right answers; None without labels.
        top1_interval: the 95 % interval of `top1`, as shares of 1.
        energy_pj: the energy of one image on the machine.
        run: the id of the run in the store; empty for a step without a run.
        adopted: whether the change stays; None for a step without a change.
        resumed: whether the run came from the store.
    """

    stage: FlowStage
    name: str
    outcome: StepOutcome
    sentence: str
    seconds: float
    loss: Loss | None = None
    top1: float | None = None
    top1_interval: Interval | None = None
    energy_pj: float | None = None
    run: str = ""
    adopted: bool | None = None
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """The loss of one layer, quantized alone on one side.

    `kl` is the KL divergence in nats predicted by screening, `share` the part of the sum over the
    layers; `points` of top-1 with the `interval` are measured on `images`, or None.
    """

    layer: str
    side: Side
    bits: int
    kl: float
    share: float
    points: float | None = None
    interval: Interval | None = None
    images: int = 0


@dataclass(frozen=True, slots=True)
class NamedCause:
    """A layer, the cause of the loss with the evidence, the remedy, and the points lost."""

    layer: str
    side: Side
    cause: str
    evidence: str
    remedy: str
    points: float | None = None
    interval: Interval | None = None


def causes_by_side(causes: Iterable[NamedCause]) -> dict[Side, tuple[NamedCause, ...]]:
    """Return the causes by the side on which they stand; the most harmful side comes first."""
    found: dict[Side, list[NamedCause]] = {}
    for one in causes:
        found.setdefault(one.side, []).append(one)
    return {side: tuple(own) for side, own in found.items()}


def count_causes(causes: Iterable[NamedCause]) -> str:
    """Return in how many layers each cause stands, such as "clipped tail in 1 layer"."""
    counts = Counter(one.cause for one in causes)
    return ", ".join(f"{cause} in {layer_count(count)}" for cause, count in counts.items())


def causes_text(causes: Iterable[NamedCause]) -> str:
    """Return in how many layers each cause stands, by side.

    Example: "weights: unequal channel ranges in 12 layers; activations: clipped tail in 1 layer".
    """
    return "; ".join(f"{side}: {count_causes(own)}" for side, own in causes_by_side(causes).items())


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The end of the flow.

    Attributes:
        goal: the goal.
        steps: the steps in order.
        causes: the causes of the loss by layer, the most harmful first.
        layers: the loss by layer, the largest first.
        experiment: the cheapest experiment that keeps the goal, else the nearest.
        run: the run of the chosen experiment; None if the float network failed already.
        met: whether the paired interval of the loss lies within the goal.
        sentence: the conclusion.
        advice: further help, if no experiment keeps the goal.
        float_top1: share of right answers of the float network; None without labels.
    """

    goal: Goal
    steps: tuple[FlowStep, ...]
    causes: tuple[NamedCause, ...]
    layers: tuple[LayerLoss, ...]
    experiment: Experiment
    run: Run | None
    met: bool
    sentence: str
    advice: str = ""
    float_top1: float | None = None
