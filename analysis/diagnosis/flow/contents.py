"""The results of a diagnosis: steps, causes, and the experiment that was chosen."""

from dataclasses import dataclass
from enum import StrEnum

from analysis.diagnosis.flow.goal import Goal, Loss, Standing
from analysis.evaluation.measures import Interval
from analysis.runs.experiment import Experiment
from analysis.runs.run_store import Run
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
    """One box of the flow: what was tried, and what came out.

    Attributes:
        stage: the part of the flow.
        name: what was tried.
        outcome: pass or fail by the paired interval; "told" for a step without a limit.
        sentence: what was found, in words.
        seconds: the time that the step took; of a kept run, the time that the run took.
        loss: the loss that was measured; None where the step measures none.
        top1: the share of right answers; None without labels.
        top1_interval: the 95 % interval of `top1`, as shares of 1.
        energy_pj: the energy of one image on the machine.
        run: the id of the run in the store; empty where the step made no run.
        adopted: whether the change stays; None where the step changes nothing.
        resumed: whether the run was found in the store.
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
    """What one layer costs when the layer alone is quantized, on one side.

    `kl` is the KL divergence in nats that screening predicts, `share` the part of the sum over all
    layers; `points` of top-1 with the `interval` are measured on `images`, where they are.
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


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The end of the flow.

    Attributes:
        goal: what was to be kept.
        steps: all steps in order.
        causes: the causes of the loss by layer, the most harmful first.
        layers: the loss by layer, the largest first.
        experiment: the cheapest experiment that keeps the goal, else the nearest.
        run: what that experiment measured; None where the float network failed already.
        met: whether the paired interval of the loss lies within the goal.
        sentence: the conclusion.
        advice: what else would help, where the goal is not kept.
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
