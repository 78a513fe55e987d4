"""A check of screened answers at loud noise, where screening is inexact.

Screening follows small errors through the network to first order. At 4 bits the first layer of the
sample fashion-mobilenet makes 6 dB more noise than predicted; the error alone put the accuracy of
uniform W4A8 16 points too high. Therefore layers that are loud in screening are really quantized.
"""

from dataclasses import replace

from analysis.sensitivity.analyze import analyze_exactly
from analysis.sensitivity.exact.executors import Pool
from analysis.sensitivity.sweep import CellScore, Depth, Sensitivity, Sweep
from analysis.study import Study
from quant.progress import Steps

LOUD_DB = 18.0  # SQNR of the output below which the first order is not believed
LEAST_BITS = 3  # narrower weights are loud in most layers, and seldom chosen


def recheck_loud_layers(study: Study, found: Sensitivity) -> Steps[Sensitivity]:
    """Return the answers with exact values for loud layers, measured on the images of `study`.

    The answers stay answers of screening, without a loss, but gain the agreement with the float
    network; the agreement marks checked answers.
    """
    loud = find_loud_layers(found)
    if not loud:
        return found
    sweep = Sweep(found.sweep.config, found.sweep.bits, found.sweep.sides, layers=loud)
    answer = yield from analyze_exactly(study.with_store(None), sweep, Pool(), loud)
    known = {score.question: score for score in answer.scores}
    return replace(
        found,
        scores=tuple(_checked_score(score, known.get(score.question)) for score in found.scores),
    )


def find_loud_layers(found: Sensitivity) -> tuple[str, ...]:
    """Return the layers with a loud and unchecked screened answer."""
    return tuple(
        dict.fromkeys(
            score.question.layer
            for score in found.scores
            if score.depth is Depth.SCREENING
            and score.agreement is None
            and score.question.bits >= LEAST_BITS
            and score.sqnr_db < LOUD_DB
        )
    )


def _checked_score(score: CellScore, exact_score: CellScore | None) -> CellScore:
    if exact_score is None or score.depth is not Depth.SCREENING:
        return score
    return replace(
        score,
        sqnr_db=exact_score.sqnr_db,
        kl=exact_score.kl,
        sqnr_ci95=exact_score.sqnr_ci95,
        agreement=exact_score.agreement,
    )
