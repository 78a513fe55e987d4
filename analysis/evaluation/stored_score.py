"""Changed answers of a score, and the intervals of scores that an older version stored."""

from dataclasses import replace

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.image_answers import count_changes, unpack_bits
from analysis.evaluation.intervals import paired_interval, proportion_interval
from quant.errors import QuantError

HALVINGS = 40


def changed_answers(score: Evaluation) -> tuple[float, float]:
    """Return the images (lost, won) against the float network.

    A score without answers to single images gives the counts whose paired interval has the upper
    end of the score; these need not be whole.

    Raises:
        QuantError: the score has no labels.
    """
    drop, interval = score.top1_drop, score.top1_drop_ci95
    if drop is None or interval is None:
        raise QuantError("Lost and won answers need labels; the score has none.")
    answers, n = score.answers, score.samples
    if answers is not None and answers.right:
        return count_changes(unpack_bits(answers.float_right, n), unpack_bits(answers.right, n))
    difference = drop * n
    few, many = abs(difference), float(n)
    for _ in range(HALVINGS):
        changed = (few + many) / 2
        lost, won = (changed + difference) / 2, (changed - difference) / 2
        if paired_interval(lost, won, n).high < interval.high:
            few = changed
        else:
            many = changed
    return (many + difference) / 2, (many - difference) / 2


def changed_between(before: Evaluation, after: Evaluation) -> tuple[int, int] | None:
    """Return the images (lost, won) of a score against another score on the same images.

    None without labels, without answers to single images, or with another number of images.
    """
    one, other, n = before.answers, after.answers, before.samples
    if one is None or other is None or not (one.right and other.right) or after.samples != n:
        return None
    return count_changes(unpack_bits(one.right, n), unpack_bits(other.right, n))


def with_present_intervals(score: Evaluation) -> Evaluation:
    """Return a stored score with the intervals of this version; the counts stay.

    The paired interval stays where the score has no answers to single images.
    """
    n = score.samples
    if n < 1:
        return score
    agreement = proportion_interval(round(score.agreement * n), n)
    fresh = replace(score, agreement_ci95=agreement)
    if score.float_top1 is None or score.quantized_top1 is None:
        return fresh
    if score.answers is not None and score.answers.right:
        fresh = replace(fresh, top1_drop_ci95=paired_interval(*changed_answers(score), n))
    return replace(
        fresh,
        float_top1_ci95=proportion_interval(round(score.float_top1 * n), n),
        quantized_top1_ci95=proportion_interval(round(score.quantized_top1 * n), n),
    )
