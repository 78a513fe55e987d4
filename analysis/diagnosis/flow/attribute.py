"""The loss by layer: screening ranks the layers, exact forwards measure the worst."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from analysis.diagnosis.flow.contents import LayerLoss
from analysis.evaluation.measures import Interval
from analysis.sensitivity.analyze import analyze_sensitivity
from analysis.sensitivity.sweep import CellScore, Depth, Sweep
from analysis.study import Study
from quant.assignment import bits_by_part
from quant.config import QuantConfig
from quant.progress import Steps, part_of_progress
from quant.simulation.plan import Side

SCREENED_IMAGES = 64
MEASURED_IMAGES = 512
MOST_MEASURED = 16
"""Layers of one side that exact forwards measure."""
LEAST_SHARE = 0.01
"""Of the predicted divergence: a layer below is not measured."""
MIN_BITS, MAX_BITS = 2, 16


@dataclass(frozen=True, slots=True)
class Attribution:
    """The loss by layer, the largest first, and what the layers lose in sum.

    `points` is the sum over the measured layers, None where no layer was measured.
    """

    layers: tuple[LayerLoss, ...]
    points: float | None
    images: int
    noun: str = "image"

    def attribution_sentence(self, whole_points: float) -> str:
        """Return the layers with the largest losses, and the sum of the parts beside the whole."""
        if not self.layers:
            return "No layer on the side that loses most has bits between 2 and 16."
        worst = self.layers[0]
        told = f"{worst.layer} ({worst.side}) is the worst of {len(self.layers)}"
        measured = [one for one in self.layers if one.points is not None]
        if self.points is None or not measured:
            return f"{told}: {100 * worst.share:.0f} % of the predicted divergence."
        more = "more" if whole_points > self.points else "less"
        return (
            f"{told}. The {len(measured)} worst, each alone, lose {self.points:.1f} points in sum "
            f"on {self.images} {self.noun}s; all layers together lose {whole_points:.1f}, {more} "
            "than the sum of these parts."
        )


def attribute_loss(study: Study, config: QuantConfig, sides: Iterable[Side]) -> Steps[Attribution]:
    """Return the loss by layer on the given sides.

    Screening uses up to 64 images; exact forwards measure up to 16 layers of each side on up to 512
    images.
    """
    wanted = tuple(sides)
    found: list[LayerLoss] = []
    for number, side in enumerate(wanted):
        start, end = number / len(wanted), (number + 1) / len(wanted)
        losses = yield from part_of_progress(_attribute_side(study, config, side), start, end)
        found += losses
    found.sort(key=lambda one: (-(one.points or 0.0), -one.kl))
    points = [one.points for one in found if one.points is not None]
    images = max((one.images for one in found), default=0)
    noun = study.network.noun
    return Attribution(tuple(found), sum(points) if points else None, images, noun)


def _attribute_side(study: Study, config: QuantConfig, side: Side) -> Steps[list[LayerLoss]]:
    own = {
        name: bits
        for (name, one), bits in bits_by_part(config, study.network.graph).items()
        if one is side and MIN_BITS <= bits <= MAX_BITS
    }
    widths = tuple(sorted(set(own.values())))
    if not widths:
        return []
    sweep = Sweep(config, widths, (side,))
    images = study.scored_images
    few = study.with_scored_images(images.sample(min(SCREENED_IMAGES, len(images)), 0))
    screened = yield from part_of_progress(
        analyze_sensitivity(few, sweep, Depth.SCREENING), 0.0, 0.2
    )
    scores = [one for one in screened.scores if own.get(one.question.layer) == one.question.bits]
    losses = _rank_layers(scores, side)
    top = [one.layer for one in losses if one.share >= LEAST_SHARE][:MOST_MEASURED]
    if not top:
        return losses
    some = study.with_scored_images(images.sample(min(MEASURED_IMAGES, len(images)), 0))
    asked = replace(sweep, layers=tuple(top))
    exact = yield from part_of_progress(
        analyze_sensitivity(some, asked, Depth.EXACT, ranking=top), 0.2, 1.0
    )
    known = {(one.question.layer, one.question.bits): one for one in exact.scores}
    return [_with_measured_points(one, known.get((one.layer, one.bits))) for one in losses]


def _rank_layers(scores: list[CellScore], side: Side) -> list[LayerLoss]:
    """Return the layers by the divergence that screening predicts, else by the noise."""
    harm = {
        score.question: 10 ** (-score.sqnr_db / 10) if score.kl is None else score.kl
        for score in scores
    }
    total = sum(harm.values()) or 1.0
    losses = [
        LayerLoss(question.layer, side, question.bits, value, value / total)
        for question, value in harm.items()
    ]
    return sorted(losses, key=lambda one: -one.kl)


def _with_measured_points(loss: LayerLoss, score: CellScore | None) -> LayerLoss:
    """Return the loss with the points of an exact score; agreement stands for labels."""
    if score is None or score.agreement is None:
        return loss
    drop, interval = score.accuracy_drop, score.accuracy_drop_ci95
    if drop is None or interval is None:
        same = score.agreement_ci95
        drop = 1 - score.agreement
        interval = None if same is None else Interval(1 - same.high, 1 - same.low)
    points = None if interval is None else Interval(100 * interval.low, 100 * interval.high)
    return replace(loss, points=100 * drop, interval=points, images=score.images)
