"""The loss by weights alone and by activations alone: the first question after a bad score.

Both sides are scored on the network as repaired, with the quantizers of the other side off. A part
of the images is enough to tell a side that loses 70 points from one that loses 2.
"""

from analysis.evaluation.evaluate import Evaluation, Metric, evaluate_network
from analysis.evaluation.lost_score import lost_score
from analysis.evaluation.measures import Interval
from analysis.runs.run_store import SideLoss
from analysis.study import Study
from quant.progress import Steps, part_of_progress
from quant.simulation.plan import TENSOR_SIDES, Side
from quant.simulation.quant_graph import QuantGraph

SIDE_IMAGES = 512
"""The most images that score a side: a share of 512 images has an interval of 4 points or less."""


def measure_side_losses(
    study: Study, quantized: QuantGraph, metric: Metric | None = None
) -> Steps[tuple[SideLoss, ...]]:
    """Score each side alone on up to 512 images; return nothing where a side is float anyway."""
    if not _quantizes_both_sides(quantized):
        return ()
    images = study.scored_images
    some = images.sample(min(SIDE_IMAGES, len(images)), 0)
    losses = []
    for place, side in enumerate(TENSOR_SIDES):
        with quantized.only_side(side):
            steps = evaluate_network(study.network, quantized, some, metric)
            score = yield from part_of_progress(steps, place / 2, (place + 1) / 2)
        if (loss := _loss_of_side(side, score)) is not None:
            losses.append(loss)
    return tuple(losses)


def _quantizes_both_sides(quantized: QuantGraph) -> bool:
    return all(
        any(side.includes_role(site.side) and not site.spec.is_float for site in quantized.sites)
        for side in TENSOR_SIDES
    )


def _loss_of_side(side: Side, score: Evaluation) -> SideLoss | None:
    """Return the loss in the task's metric, else in answers; None where the score tells neither."""
    lost = lost_score(score)
    if lost is not None:
        return SideLoss(side, lost.points, lost.interval, lost.unit, score.samples)
    if not score.classes:
        return None
    same = score.agreement_ci95
    interval = Interval(100 * (1 - same.high), 100 * (1 - same.low))
    points = 100 * (1 - score.agreement)
    return SideLoss(side, points, interval, "% of the answers", score.samples)
