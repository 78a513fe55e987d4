"""The change from one score to another on equal images, with the interval of the difference."""

import math

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.intervals import paired_interval
from analysis.evaluation.measures import Interval
from analysis.evaluation.stored_score import changed_between
from analysis.evaluation.told_score import (
    SAME_DB,
    ScoreMeasure,
    ScoreUnit,
    ToldScore,
    told_scores,
)


def lost_top1_share(before: Evaluation, after: Evaluation) -> tuple[float, Interval] | None:
    """Return the share of top-1 that `after` loses against `before`, with the 95 % interval.

    The interval is that of pairs of images, as a gate decides by; for scores of older versions,
    which hold pairs with the float network only, the widest that both intervals allow for every
    correlation of the losses. The result is None without labels.
    """
    if before.top1_drop is None or after.top1_drop is None:
        return None
    if before.top1_drop_ci95 is None or after.top1_drop_ci95 is None:
        return None
    pairs = changed_between(before, after)
    if pairs is not None:
        return (pairs[0] - pairs[1]) / before.samples, paired_interval(*pairs, before.samples)
    first = Interval(0.0, 0.0) if _is_float_score(before) else before.top1_drop_ci95
    second = Interval(0.0, 0.0) if _is_float_score(after) else after.top1_drop_ci95
    difference = after.top1_drop - before.top1_drop
    return difference, Interval(second.low - first.high, second.high - first.low)


def score_change_clause(before: Evaluation, after: Evaluation) -> str:
    """Return the change in words, such as "costs 2.4 points (95 % interval 1.2 to 3.7)".

    The measure is the first that both scores have.
    """
    old, new = told_scores((before, after))
    if new.measure is ScoreMeasure.METRIC:
        return _metric_clause(old, new, _loss_interval(before, after, old, new))
    lost = lost_top1_share(before, after) if new.measure is ScoreMeasure.TOP1 else None
    if lost is not None:
        return _top1_clause(*lost)
    if after.classes and before.classes:
        return _agreement_clause(before, after)
    return _sqnr_clause(before.sqnr_db, after.sqnr_db)


def _is_float_score(score: Evaluation) -> bool:
    """Whether the outputs equal those of the float network by construction, without any error."""
    return score.sqnr_db == math.inf


def _loss_interval(
    before: Evaluation, after: Evaluation, old: ToldScore, new: ToldScore
) -> Interval | None:
    """Return the widest interval of the loss that the intervals against float allow."""
    none = Interval(0.0, 0.0)
    first = none if _is_float_score(before) else old.loss_interval
    second = none if _is_float_score(after) else new.loss_interval
    if first is None or second is None:
        return None
    return Interval(second.low - first.high, second.high - first.low)


def _metric_clause(old: ToldScore, new: ToldScore, ends: Interval | None) -> str:
    """Return the change of a metric in words; a change within the interval is none."""
    gain = new.gain_over(old)
    undecided = ends is not None and ends.low <= 0 <= ends.high
    if undecided or old.is_same_value(new.value):
        clause = f"makes no {'measurable ' if undecided else ''}difference in {new.name}"
        if ends is None:
            return clause
        return f"{clause} (95 % interval of the loss {_ends_text(new, ends)})"
    spread = ""
    if ends is not None:
        told = ends if gain < 0 else Interval(-ends.high, -ends.low)
        spread = f" (95 % interval {_ends_text(new, told)})"
    if new.unit is ScoreUnit.PERCENT:
        return f"{'gains' if gain > 0 else 'costs'} {new.step_text(gain, digits=1)}{spread}"
    verb = "raises" if new.value > old.value else "lowers"
    size = new.amount_text(abs(gain))
    return f"{verb} {new.name} by {size}, to {new.value_text}{spread}"


def _ends_text(score: ToldScore, ends: Interval) -> str:
    if score.unit is ScoreUnit.PERCENT:
        return f"{100 * ends.low:z.1f} to {100 * ends.high:z.1f} points"
    return f"{score.amount_text(ends.low)} to {score.amount_text(ends.high)}"


def _top1_clause(loss: float, interval: Interval) -> str:
    points, low, high = 100 * loss, 100 * interval.low, 100 * interval.high
    if low > 0:
        return f"costs {points:.1f} points (95 % interval {low:.1f} to {high:.1f})"
    if high < 0:
        return f"gains {-points:.1f} points (95 % interval {-high:.1f} to {-low:.1f})"
    return (
        "makes no measurable difference in accuracy "
        f"(95 % interval of the loss {low:.1f} to {high:.1f} points)"
    )


def _agreement_clause(old: Evaluation, new: Evaluation) -> str:
    """Compare the agreement with the float network, for scores without labels."""
    shares = f"{100 * old.agreement:.1f} % and {100 * new.agreement:.1f} %"
    if new.agreement_ci95.high < old.agreement_ci95.low:
        return f"agrees less often with the float network ({shares} of the answers)"
    if new.agreement_ci95.low > old.agreement_ci95.high:
        return f"agrees more often with the float network ({shares} of the answers)"
    return f"makes no measurable difference in agreement with the float network ({shares})"


def _sqnr_clause(old_db: float, new_db: float) -> str:
    """Compare outputs that are no row of classes."""
    gained = new_db - old_db
    if not math.isfinite(gained) or abs(gained) < SAME_DB:
        return "makes no difference in the SQNR of the output"
    word = "raises" if gained > 0 else "lowers"
    return f"{word} the SQNR of the output by {abs(gained):.1f} dB (to {new_db:.1f} dB)"
