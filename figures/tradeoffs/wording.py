"""The front in words: the gain, the unit, the uncertainty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accelerator.machine import machine_title
from accelerator.report import CostReport
from analysis.cost.quantity import Quantity
from analysis.evaluation.lost_score import share_metric
from analysis.evaluation.measures import Interval
from analysis.mixed_precision.pareto_front import Front, least_lossy_point
from analysis.prediction.predictor import Prediction
from analysis.runs.run_store import Run
from figures.style.units import format_bytes, format_count, format_energy, format_share, format_time
from figures.tradeoffs.panel import Panel

_COST_NAMES = {
    Quantity.ENERGY: "Energy per {noun}",
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


def cost_name(quantity: Quantity, noun: str) -> str:
    """Return the name of a cost; `noun` is the word for what one inference takes."""
    return _COST_NAMES[quantity].format(noun=noun)


NOTHING = 0.005  # a smaller saving counts as none
ROUNDING = 1e-9  # relative to a cost: error of float sums
NEAR = 1.0  # difference in points of accuracy, or dB, that a title ignores


@dataclass(frozen=True, slots=True)
class QualityScale:
    """The scale of quality: accuracy or mAP and mIoU, agreement without labels, or SQNR.

    `by_loss` says that a measurement relates noise to answers. `float_top1` is the float network's
    score, a share: top-1 or that of the task's `metric`, such as mAP; None without labels.
    `chance` is the accuracy of guessing, a share, below which no prediction is told.
    """

    by_loss: bool
    float_top1: float | None
    chance: float = 0.0
    metric: str = ""

    @property
    def of_float(self) -> float:
        """The value of the float network in percent; agreement with itself is 100 %."""
        return self._percent_left(0.0)

    @property
    def axis_title(self) -> str:
        """The title of the axis, with the direction."""
        if not self.by_loss:
            return "Output SQNR (dB), higher is better"
        if self.float_top1 is None:
            return "Agreement with float (%), higher is better"
        if self.metric:
            return f"{self.metric} (%), higher is better"
        return "Top-1 accuracy (%), higher is better"

    @property
    def name(self) -> str:
        """The name of the scale on a card."""
        return self.axis_title.partition(" (")[0]

    @property
    def unit(self) -> str:
        """The unit of the values."""
        return "%" if self.by_loss else "dB"

    def predicted_value(self, prediction: Prediction) -> float | None:
        """Return a prediction on the scale, or None where unknown."""
        value = prediction.loss if self.by_loss else prediction.sqnr_db
        if value is None or not math.isfinite(value):
            return None
        return self._percent_left(value) if self.by_loss else value

    def predicted_interval(self, prediction: Prediction) -> Interval | None:
        """Return the 95 % interval of a prediction, or None."""
        if self.predicted_value(prediction) is None:
            return None
        if not self.by_loss:
            return prediction.sqnr_ci95
        return (
            None if prediction.loss_ci95 is None else self._percent_interval(prediction.loss_ci95)
        )

    def measured_value(self, run: Run) -> float | None:
        """Return the measured value of a run; None for an infinite value or missing labels."""
        found = run.evaluation
        if not self.by_loss:
            return found.sqnr_db if math.isfinite(found.sqnr_db) else None
        if self.float_top1 is None:
            return 100 * found.agreement
        if self.metric:
            told = share_metric(found)
            return None if told is None else 100 * told.quantized_value
        return None if found.quantized_top1 is None else 100 * found.quantized_top1

    def measured_interval(self, run: Run) -> Interval | None:
        """Return the 95 % interval of the measured value, paired with float where labels exist.

        The paired interval describes the drop from the float network on the same images.
        """
        found = run.evaluation
        if not self.by_loss:
            return None
        if self.float_top1 is None:
            ends = found.agreement_ci95
            return Interval(100 * ends.low, 100 * ends.high)
        if self.metric:
            told = share_metric(found)
            if told is None or told.change_ci95 is None:
                return None
            top, ends = told.float_value, told.change_ci95
            return Interval(100 * (top + ends.low), 100 * (top + ends.high))
        if found.top1_drop_ci95 is None or found.float_top1 is None:
            return None
        top, ends = found.float_top1, found.top1_drop_ci95
        return Interval(100 * (top - ends.high), 100 * (top - ends.low))

    def run_text(self, run: Run) -> str:
        """Return the measured value with its interval."""
        return _format_with_interval(
            self.measured_value(run), self.measured_interval(run), self.unit
        )

    def _percent_left(self, loss: float) -> float:
        top = 1.0 if self.float_top1 is None else self.float_top1
        return 100 * max(top - loss, min(self.chance, top))

    def _percent_interval(self, loss: Interval) -> Interval:
        return Interval(max(0.0, self._percent_left(loss.high)), self._percent_left(loss.low))


def quality_text(scale: QualityScale, prediction: Prediction) -> str:
    """Return a prediction with its interval."""
    return _format_with_interval(
        scale.predicted_value(prediction), scale.predicted_interval(prediction), scale.unit
    )


def _format_with_interval(value: float | None, ends: Interval | None, unit: str) -> str:
    if value is None:
        return "unknown"
    interval = "" if ends is None else f" ({ends.low:.1f} to {ends.high:.1f})"
    return f"{value:.1f} {unit}{interval}"


def amount_text(quantity: Quantity, report: CostReport) -> str:
    """Return a cost in the quantity's unit."""
    return value_text(quantity, quantity.value_in(report))


def value_text(quantity: Quantity, value: float) -> str:
    """Return a value of a quantity as text with the unit."""
    return _WRITERS[quantity](value)


def cost_text(quantity: Quantity, report: CostReport, eight: float) -> str:
    """Return a cost and its share of the cost of uniform 8 bits."""
    share = quantity.value_in(report) / eight
    return f"{amount_text(quantity, report)}, {format_share(share)} of uniform W8A8"


def front_takeaway(panels: Sequence[Panel], scale: QualityScale) -> str:
    """Return the gain of mixed bits: cost within a point of float, else the best quality."""
    fronts = [panel.front for panel in panels]
    quantity = fronts[0].quantity
    if not scale.by_loss:
        return _noise_takeaway(fronts)
    near = f"at most {NEAR:.0f} point below float"
    savings = [(machine_title(panel.front.machine), panel.saved_share) for panel in panels]
    known = [(machine, share) for machine, share in savings if share is not None]
    if not known:
        return _floor_broken(fronts, scale)
    best, share = max(known, key=lambda one: one[1])
    if share < NOTHING:
        where = "on this machine" if len(fronts) == 1 else "on any of these machines"
        return f"Fewer bits than 8 save no {quantity} {where}, if {near}"
    if len(known) == 1:
        return f"Mixed bits take {format_share(share)} less {quantity} than W8A8, {near}"
    others = _other_savings(known, best)
    return f"{best} profits most: {format_share(share)} less {quantity} {near}; {others}"


def _floor_broken(fronts: Sequence[Front], scale: QualityScale) -> str:
    """Return how far below float the best prediction is, where none is within a point."""
    values = [scale.predicted_value(least_lossy_point(front).prediction) for front in fronts]
    known = [value for value in values if value is not None]
    if not known:
        return _noise_takeaway(fronts)
    lost = scale.of_float - max(known)
    if lost <= NEAR:  # an untried point may be predicted better than the tried ones are
        return f"No choice that was tried stays within {NEAR:.0f} point of float"
    return f"No choice stays within {NEAR:.0f} point of float: the best loses {lost:.1f}"


def _other_savings(known: Sequence[tuple[str, float]], best: str) -> str:
    """Return the savings of the machines other than the best."""
    saving = [f"{machine} {format_share(s)}" for machine, s in known if s >= NOTHING]
    parts = [text for text in saving if not text.startswith(f"{best} ")]
    none = len(known) - len(saving)
    if none:
        parts.append("the other nothing" if none == 1 else f"the other {none} nothing")
    return ", ".join(parts)


def _noise_takeaway(fronts: Sequence[Front]) -> str:
    """Return the gain in SQNR of mixed bits at the cost of uniform bits."""
    gains = [gain for front in fronts for gain in _sqnr_gains(front)]
    quantity = fronts[0].quantity
    if not gains or max(gains)[0] < NEAR:
        return f"Fewer bits than 8 save no {quantity}: uniform bits are as good as mixed ones"
    gain, name, machine = max(gains)
    where = "" if len(fronts) == 1 else f" on {machine}"
    return f"At the {quantity} of {name}, mixed bits give {gain:.0f} dB more SQNR{where}"


def _sqnr_gains(front: Front) -> list[tuple[float, str, str]]:
    """Return the dB of the front above each uniform reference, at most at the reference's cost."""
    cost, gains = front.quantity.value_in, []
    dearest = max(cost(proposal.cost) for proposal in front.proposals)
    for one in front.references:
        most = cost(one.cost) * (1 + ROUNDING)
        within = [p for p in front.proposals if cost(p.cost) <= most]
        if within and most < dearest:  # at the cost of 8 bits there is nothing to gain
            best = max(p.prediction.sqnr_db for p in within)
            gains.append((best - one.prediction.sqnr_db, one.name, machine_title(front.machine)))
    return gains
