"""The questions of a sensitivity sweep and the form of the answers."""

from dataclasses import dataclass, replace
from enum import StrEnum

from analysis.evaluation.measures import Interval
from analysis.sensitivity.memory_limit import MEMORY_BYTES
from quant.assignment import config_at_granularity
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Side
from quant.spec import Granularity

DEFAULT_BITS = (8, 6, 4, 3, 2)


class View(StrEnum):
    """The network around a measured layer.

    ONLY: every other layer is float. ALL_BUT: all layers but the measured layer are quantized, on
    the question's side at the question's bits.
    """

    ONLY = "only"
    ALL_BUT = "all-but"


class Depth(StrEnum):
    """The effort behind an answer, from no forward at all to the whole network on every image."""

    INSTANT = "instant"
    SCREENING = "screening"
    EXACT = "exact"


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """One cell of the table: a layer at some bits, on one side, in one view."""

    layer: str
    bits: int
    side: Side
    view: View = View.ONLY


@dataclass(frozen=True, slots=True)
class Sweep:
    """The questions of a sweep.

    `config` supplies granularity, symmetry, estimator and scale of every layer; `bits` replaces the
    bits. Without `layers`, the sweep covers every layer with a tensor to quantize. `memory_bytes`
    bounds the activations that a process stores between layers.
    """

    config: QuantConfig
    bits: tuple[int, ...] = DEFAULT_BITS
    sides: tuple[Side, ...] = (Side.WEIGHTS, Side.ACTIVATIONS)
    view: View = View.ONLY
    layers: tuple[str, ...] | None = None
    memory_bytes: int = MEMORY_BYTES
    stop_when_decided: bool = False


@dataclass(frozen=True, slots=True)
class CellScore:
    """The score of one question, against the float network on equal `images`.

    `sqnr_db`: SQNR of the network's output in dB, higher is better. `kl`: mean KL divergence of the
    softmax in nats. `cross_entropy`: rise of the mean cross-entropy in nats, None without labels.
    `agreement`: share of images with the float network's top-1 class. `accuracy_drop`: float top-1
    minus quantized top-1, a share of 1, None without labels. Intervals are 95 % intervals.
    `task_loss` is the loss in the task's metric in points (see `lost_score`), None without a task.
    Screening predicts `sqnr_db` and `kl` and leaves the rest None.
    """

    question: Question
    depth: Depth
    images: int
    sqnr_db: float
    kl: float | None = None
    cross_entropy: float | None = None
    agreement: float | None = None
    accuracy_drop: float | None = None
    sqnr_ci95: Interval | None = None
    agreement_ci95: Interval | None = None
    accuracy_drop_ci95: Interval | None = None
    task_loss: float | None = None
    task_loss_ci95: Interval | None = None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The answers to a sweep, in the order of the network's layers.

    `float_top1` is None without labels. `whole` holds, for the view ALL_BUT, the score of the fully
    quantized network by bits and side (question.layer is ""). `forwards` counts forwards of the
    whole network; a partial forward counts by the share of MACs. `metric_name` is the metric of
    task losses, `noun` the word for an item of the data.
    """

    sweep: Sweep
    depth: Depth
    images: int
    float_top1: float | None
    scores: tuple[CellScore, ...]
    whole: tuple[CellScore, ...] = ()
    seconds: float = 0.0
    forwards: float = 0.0
    metric_name: str = ""
    noun: str = "image"


def sweeps_of_granularities(
    graph: FloatGraph, sweep: Sweep, allowed: tuple[Granularity, ...] | None
) -> tuple[Sweep, ...]:
    """Return sweeps of weights at the allowed granularities beyond `sweep`.

    Encodings of activations stay unchanged.
    """
    chosen = sweep.config.resolve_layers(graph.layers)
    weighted = [layer.name for layer in graph.layers if layer.weight is not None]
    own = {chosen[name].weight.granularity for name in weighted}
    return tuple(
        replace(
            sweep, config=config_at_granularity(sweep.config, granularity), sides=(Side.WEIGHTS,)
        )
        for granularity in allowed or ()
        if own - {granularity}
    )
