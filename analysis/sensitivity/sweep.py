"""What a sensitivity analysis asks, and the form of its answers."""

from dataclasses import dataclass, replace
from enum import StrEnum

from analysis.evaluation.measures import Interval
from quant.assignment import at_granularity
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Side
from quant.spec import Granularity

DEFAULT_BITS = (8, 6, 4, 3, 2)
# More was no faster on any sample model; less runs the layers before a question's more often.
MEMORY_BYTES = 64 * 2**20


class View(StrEnum):
    """Which network a layer is judged in.

    ONLY: all is float but this layer. ALL_BUT: all layers are quantized on the side in question,
    at the bits in question, but this one.
    """

    ONLY = "only"
    ALL_BUT = "all-but"


class Depth(StrEnum):
    """How an answer was found, from no forward at all to the whole network on every image."""

    INSTANT = "instant"
    SCREENING = "screening"
    EXACT = "exact"


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """One cell of the table: this layer at these bits, on this side, in this view."""

    layer: str
    bits: int
    side: Side
    view: View = View.ONLY


@dataclass(frozen=True, slots=True)
class Sweep:
    """All cells that are asked for.

    `config` gives granularity, symmetry, estimator and scale of every layer; its bits are replaced
    by `bits`. Without `layers`, all that have something to quantize on a side. `memory_bytes`
    bounds the activations that a process keeps between layers.
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
    """What one question costs, against the float network on the same `images`.

    `sqnr_db` of the network's output (higher is better), `kl` the mean KL divergence of the softmax
    in nats, `cross_entropy` the rise of the mean cross-entropy (None without labels), `agreement`
    the share of images with the float network's top-1 class, `accuracy_drop` float top-1 minus this
    one in shares of 1 (None without labels). Intervals are of 95 %. An answer of screening predicts
    `sqnr_db` and `kl` and leaves out what it cannot.
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


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The answers to a sweep, in the order of the network's layers.

    `float_top1` is None without labels. `whole` holds for each bits and side the score of the
    network with all layers quantized on that side (question.layer is ""); only where the view is
    ALL_BUT. `forwards` counts forwards of the whole network, parts of one as shares of its MACs.
    """

    sweep: Sweep
    depth: Depth
    images: int
    float_top1: float | None
    scores: tuple[CellScore, ...]
    whole: tuple[CellScore, ...] = ()
    seconds: float = 0.0
    forwards: float = 0.0


def other_sweeps(
    graph: FloatGraph, sweep: Sweep, allowed: tuple[Granularity, ...] | None
) -> tuple[Sweep, ...]:
    """Return sweeps of weights at each granularity allowed that `sweep` does not ask about.

    Grids of activations stay as they are.
    """
    chosen = sweep.config.resolve(graph.layers)
    weighted = [layer.name for layer in graph.layers if layer.weight is not None]
    own = {chosen[name].weight.granularity for name in weighted}
    return tuple(
        replace(sweep, config=at_granularity(sweep.config, granularity), sides=(Side.WEIGHTS,))
        for granularity in allowed or ()
        if own - {granularity}
    )
