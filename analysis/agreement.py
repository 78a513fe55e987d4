"""How well one depth of a sensitivity analysis ranks what another found."""

import math

from analysis.evaluation.measures import spearman
from analysis.sensitivity.sweep import Question, Sensitivity
from quant.simulation.quant_graph import Side


def agreement_of(
    first: Sensitivity, second: Sensitivity, side: Side | None = None, bits: int | None = None
) -> float | None:
    """Return Spearman's rho of the output's SQNR over the questions that both answer.

    Without `side` or `bits` over all of them. Scores of another depth than their answer's own,
    which fill what is not known yet, are left out. None where fewer than three questions are left
    or one side ranks nothing.
    """
    known = _sqnr(second, side, bits)
    pairs = [(own, known[q]) for q, own in _sqnr(first, side, bits).items() if q in known]
    return spearman([own for own, _ in pairs], [other for _, other in pairs])


def _sqnr(found: Sensitivity, side: Side | None, bits: int | None) -> dict[Question, float]:
    return {
        score.question: score.sqnr_db
        for score in found.scores
        if score.depth is found.depth
        and side in (None, score.question.side)
        and bits in (None, score.question.bits)
        and not math.isnan(score.sqnr_db)
    }
