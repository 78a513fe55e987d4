"""The front in words: what is gained, in which unit, how sure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accelerator.report import CostReport
from analysis.cost.quantity import Quantity
from analysis.evaluation.measures import Interval
from analysis.mixed_precision.pareto_front import Front
from analysis.prediction.predictor import Prediction
from analysis.runs.run_store import Run
from figures.style.units import format_bytes, format_count, format_energy, format_share, format_time

COST_NAMES = {
    Quantity.ENERGY: "Energy an image",
    Quantity.LATENCY: "Latency",
    Quantity.SIZE: "Weight size",
    Quantity.MEMORY: "Peak memory",
    Quantity.BOPS: "Bit operations",
}
_WRITERS = {
    Quantity.ENERGY: format_energy,
    Quantity.LATENCY: format_time,
    Quantity.SIZE: format_bytes,
    Quantity.MEMORY: format_bytes,
    Quantity.BOPS: format_count,
}
NOTHING = 0.005  # a share saved that is none
ROUNDING = 1e-9  # of a cost
NEAR = 1.0  # points of accuracy, or dB, that count as alike in a title


@dataclass(frozen=True, slots=True)
class QualityScale:
    """How quality is told: as accuracy, as likeness to float without labels, or as SQNR.

    `by_loss` says that something measured tells how answers follow from noise; `float_top1` is None
    without labels.
    """

    by_loss: bool
    float_top1: float | None

    @property
    def axis(self) -> str:
        """The title of its axis, with its direction."""
        if not self.by_loss:
            return "Output SQNR (dB), higher is better"
        if self.float_top1 is None:
            return "Agreement with float (%), higher is better"
        return "Top-1 accuracy (%), higher is better"

    @property
    def name(self) -> str:
        """What it is called on a card."""
        return self.axis.partition(" (")[0]

    @property
    def unit(self) -> str:
        """The unit of its values."""
        return "%" if self.by_loss else "dB"

    def of(self, said: Prediction) -> float | None:
        """Return a prediction on this scale; None where it cannot be said."""
        value = said.loss if self.by_loss else said.sqnr_db
        if value is None or not math.isfinite(value):
            return None
        return self._kept(value) if self.by_loss else value

    def ends(self, said: Prediction) -> Interval | None:
        """Return the 95 % interval of a prediction; None where there is none."""
        if self.of(said) is None:
            return None
        if not self.by_loss:
            return said.sqnr_ci95
        return None if said.loss_ci95 is None else self._turned(said.loss_ci95)

    def of_run(self, run: Run) -> float | None:
        """Return what was measured; None where it is not finite, or lacks labels."""
        found = run.evaluation
        if not self.by_loss:
            return found.sqnr_db if math.isfinite(found.sqnr_db) else None
        if self.float_top1 is None:
            return 100 * found.agreement
        return None if found.quantized_top1 is None else 100 * found.quantized_top1

    def ends_of_run(self, run: Run) -> Interval | None:
        """Return the 95 % interval of what was measured, paired with float where there are labels.

        It stands around the drop from the float network, on the same images.
        """
        found = run.evaluation
        if not self.by_loss:
            return None
        if self.float_top1 is None:
            ends = found.agreement_ci95
            return Interval(100 * ends.low, 100 * ends.high)
        if found.top1_drop_ci95 is None or found.float_top1 is None:
            return None
        top, ends = found.float_top1, found.top1_drop_ci95
        return Interval(100 * (top - ends.high), 100 * (top - ends.low))

    def run_text(self, run: Run) -> str:
        """Return what was measured, with its interval."""
        return _spread(self.of_run(run), self.ends_of_run(run), self.unit)

    def _kept(self, loss: float) -> float:
        return 100 * ((1.0 if self.float_top1 is None else self.float_top1) - loss)

    def _turned(self, loss: Interval) -> Interval:
        return Interval(max(0.0, self._kept(loss.high)), self._kept(loss.low))


def quality_text(scale: QualityScale, said: Prediction) -> str:
    """Return a prediction with its interval."""
    return _spread(scale.of(said), scale.ends(said), scale.unit)


def _spread(value: float | None, ends: Interval | None, unit: str) -> str:
    if value is None:
        return "unknown"
    interval = "" if ends is None else f" ({ends.low:.1f} to {ends.high:.1f})"
    return f"{value:.1f} {unit}{interval}"


def amount_text(quantity: Quantity, report: CostReport) -> str:
    """Return a cost in its unit."""
    return value_text(quantity, quantity.of(report))


def value_text(quantity: Quantity, value: float) -> str:
    """Return a figure in the quantity's own unit as text."""
    return _WRITERS[quantity](value)


def cost_text(quantity: Quantity, report: CostReport, eight: float) -> str:
    """Return a cost and its share of what uniform 8 bits cost."""
    share = quantity.of(report) / eight
    return f"{amount_text(quantity, report)}, {format_share(share)} of uniform W8A8"


def saved(front: Front, eight: float, scale: QualityScale) -> float | None:
    """Return the share of 8 bits' cost that mixed bits save within a point (or dB) of them."""
    base = next((p for p in front.references if p.name == "W8A8"), None)
    target = None if base is None else scale.of(base.prediction)
    if target is None:
        return None
    good = [
        front.quantity.of(p.cost)
        for p in front.proposals
        if (value := scale.of(p.prediction)) is not None and value >= target - NEAR
    ]
    return max(0.0, 1 - min(good) / eight) if good else None


def takeaway_of(fronts: Sequence[tuple[Front, float]], scale: QualityScale) -> str:
    """Say what mixed bits gain: cost within a point of uniform 8 bits, else quality at a cost."""
    quantity = fronts[0][0].quantity
    if not scale.by_loss:
        return _quieter(fronts)
    near = f"within {NEAR:.0f} point of W8A8"
    told = [(front.machine, saved(front, eight, scale)) for front, eight in fronts]
    known = [(machine, share) for machine, share in told if share is not None]
    if not known:
        return _quieter(fronts)
    best, share = max(known, key=lambda one: one[1])
    if share < NOTHING:
        where = f"on {best}" if len(fronts) == 1 else "on any of these machines"
        return f"Fewer bits than 8 save no {quantity} {where}, {near}"
    if len(known) == 1:
        return f"Mixed bits take {format_share(share)} less {quantity} {near}, as predicted"
    return (
        f"{best} profits most: {format_share(share)} less {quantity} {near}; {_rest(known, best)}"
    )


def _rest(known: Sequence[tuple[str, float]], best: str) -> str:
    """Say what the machines save that do not save most."""
    saving = [f"{machine} {format_share(s)}" for machine, s in known if s >= NOTHING]
    told = [text for text in saving if not text.startswith(f"{best} ")]
    none = len(known) - len(saving)
    if none:
        told.append("the other nothing" if none == 1 else f"the other {none} nothing")
    return ", ".join(told)


def _quieter(fronts: Sequence[tuple[Front, float]]) -> str:
    """Say how much cleaner mixed bits are at the cost of uniform ones."""
    found = [gain for front, _ in fronts for gain in _gains(front)]
    quantity = fronts[0][0].quantity
    if not found or max(found)[0] < NEAR:
        return f"Fewer bits than 8 save no {quantity}: uniform bits are as good as mixed ones"
    gain, name, machine = max(found)
    where = "" if len(fronts) == 1 else f" on {machine}"
    return f"At the {quantity} of {name}, mixed bits give {gain:.0f} dB more SQNR{where}"


def _gains(front: Front) -> list[tuple[float, str, str]]:
    """Return by how many dB the front is above each uniform reference at no more cost."""
    cost, gains = front.quantity.of, []
    dearest = max(cost(proposal.cost) for proposal in front.proposals)
    for one in front.references:
        most = cost(one.cost) * (1 + ROUNDING)
        within = [p for p in front.proposals if cost(p.cost) <= most]
        if within and most < dearest:  # at the cost of 8 bits there is nothing to gain
            best = max(p.prediction.sqnr_db for p in within)
            gains.append((best - one.prediction.sqnr_db, one.name, front.machine))
    return gains
