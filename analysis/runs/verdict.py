"""The verdict on a run: whether the network may be deployed, in a sentence, with next steps.

The limits are our choice: a loss of one point of top-1 is widely accepted, and repairs without
training deserve no trust after a loss of 20 points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.images_needed import images_needed
from analysis.evaluation.intervals import paired_interval, proportion_interval
from analysis.evaluation.lost_score import LostScore, loss_digits, lost_score
from analysis.evaluation.measures import Interval
from analysis.evaluation.stored_score import changed_answers
from analysis.runs.run_store import Run
from plain_files.read_json import JsonObject
from quant.spec import FLOAT_BITS

SMALL_LOSS = 0.01
"""The share of top-1 that a deployable network may lose: one point (our choice)."""
LARGE_LOSS = 0.2
"""The share of top-1 from which repairs are unlikely to be enough: 20 points (our choice)."""


class Level(StrEnum):
    """The result of a verdict."""

    DEPLOYABLE = "deployable"
    UNDECIDED = "undecided"
    REPAIR_FIRST = "repair first"
    NOT_DEPLOYABLE = "not deployable"


class Place(StrEnum):
    """The page of a next step."""

    MODEL = "Model"
    SENSITIVITY = "Sensitivity"
    REPAIR = "Repair"
    TRADEOFFS = "Trade-offs"
    EXPORT = "Export"


@dataclass(frozen=True, slots=True)
class NextStep:
    """A user's next step: action, page, reason."""

    label: str
    place: Place
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement of a run in one sentence, and the next steps, the most promising first."""

    level: Level
    sentence: str
    steps: tuple[NextStep, ...]


EXPORT = NextStep("Export it", Place.EXPORT, "The loss is within one point.")
REPAIR = NextStep(
    "Try the recommended repairs",
    Place.REPAIR,
    "No repair was tried. They follow from what the weights show, and need no training.",
)
TRADEOFFS = NextStep(
    "Find the best trade-offs", Place.TRADEOFFS, "More bits in the layers that need them."
)
CHEAPER = NextStep(
    "Find the best trade-offs", Place.TRADEOFFS, "Some layers may do with fewer bits."
)
HARMFUL = NextStep(
    "See the most harmful layers", Place.SENSITIVITY, "Few layers often cause most of the loss."
)
MORE_IMAGES = NextStep("Score more data", Place.MODEL, "More data make the interval narrower.")
CHECK_DATA = NextStep(
    "Check data and preprocessing", Place.MODEL, "The float network should answer better."
)


def judge_run(run: Run, classes: int | None = None, others: Sequence[Run] = ()) -> Verdict:
    """Return the verdict on a run.

    A network is deployable if the upper end of the paired interval is a loss of at most one point.
    A network needs repair first if the lower end is a larger loss. In between, the verdict is
    undecided. Where the task has a metric, its points take the place of those of top-1. A network
    is not deployable after a loss of more than 20 points, at chance level, or with outputs that are
    no numbers.
    Without labels the share of answers that differ from the float network stands for the loss, as
    an upper bound.

    Args:
        run: the run to judge.
        classes: the number of classes of the network; None skips the comparison with chance.
        others: further runs; runs of the configuration with float weights, or with float
            activations, tell the loss of a single side.
    """
    score = run.evaluation
    if score.overflow:
        sentence = "Some outputs of the quantized network are NaN or infinite"
        return _build_verdict(run, Level.NOT_DEPLOYABLE, sentence)
    if score.sqnr_db == inf:
        sentence = "The outputs are exactly those of the float network"
        return _build_verdict(run, Level.DEPLOYABLE, sentence)
    lost = lost_score(score)
    if lost is not None and lost.interval is not None and score.metric is not None:
        return _verdict_by_metric(run, lost, lost.interval)
    if not score.classes:
        return _verdict_without_classes(run)
    if score.top1_drop is None or score.top1_drop_ci95 is None:
        return _verdict_by_agreement(run)
    chance = 0.0 if classes is None else 1 / classes
    if _is_at_chance(score.float_top1_ci95, chance):
        sentence = (
            f"The float network itself answers no better than chance "
            f"({100 * (score.float_top1 or 0):.1f} % top-1): nothing can be judged on these data"
        )
        return Verdict(Level.UNDECIDED, f"{sentence}.", (CHECK_DATA,))
    level = _level_of_loss(score.top1_drop, score.top1_drop_ci95)
    sentence = _lost_points_text(score.top1_drop, score.top1_drop_ci95)
    if _is_at_chance(score.quantized_top1_ci95, chance):
        level = Level.NOT_DEPLOYABLE
        sentence += ", no better than chance"
    images = _images_to_decide(score) if level is Level.UNDECIDED else None
    return _build_verdict(run, level, sentence, images, _side_loss_text(run, others))


def loses_much_accuracy(run: Run) -> bool:
    """Whether the measured loss exceeds one point: of the task's metric, or of agreement."""
    score, lost = run.evaluation, lost_score(run.evaluation)
    if lost is not None:
        return lost.points > 100 * SMALL_LOSS
    return score.classes and 1 - score.agreement > SMALL_LOSS


def _build_verdict(
    run: Run, level: Level, sentence: str, images: int | None = None, sides: str = ""
) -> Verdict:
    """Join the parts of a sentence and choose the next steps."""
    text = f"{sentence}: {level}{sides}."
    if level is Level.UNDECIDED:
        text += (
            f" About {images} {run.cost.noun}s like these would decide whether one point is kept."
            if images is not None
            else " The loss is too close to one point for more data to decide."
        )
    return Verdict(level, text, _next_steps(run, level))


def _next_steps(run: Run, level: Level) -> tuple[NextStep, ...]:
    if level is Level.DEPLOYABLE:
        return EXPORT, CHEAPER
    repairs = (TRADEOFFS, HARMFUL) if run.recipe else (REPAIR, HARMFUL, TRADEOFFS)
    return (MORE_IMAGES, *repairs[:2]) if level is Level.UNDECIDED else repairs


def _verdict_without_classes(run: Run) -> Verdict:
    """Return a verdict without judgement: QuantScope has no limit for an SQNR or a metric."""
    score = run.evaluation
    text = f"The output is no row of classes; its SQNR is {score.sqnr_db:.1f} dB"
    if score.metric is not None:
        text += f" and {score.metric.name} changes by {score.metric.change:+.4g}"
    steps = (HARMFUL, TRADEOFFS) if run.recipe else (HARMFUL, REPAIR, TRADEOFFS)
    return Verdict(Level.UNDECIDED, f"{text}: {Level.UNDECIDED}, what is enough is yours.", steps)


def _verdict_by_metric(run: Run, lost: LostScore, interval: Interval) -> Verdict:
    """Return the verdict by the loss in the task's metric, with the interval in points.

    The number of images that would decide assumes that intervals narrow with the square root.
    """
    shares = Interval(interval.low / 100, interval.high / 100)
    level = _level_of_loss(lost.points / 100, shares)
    images = None
    if level is Level.UNDECIDED:

        def at(count: int) -> Interval:
            narrower = (run.evaluation.samples / count) ** 0.5
            low, high = lost.points - interval.low, interval.high - lost.points
            return Interval(
                (lost.points - low * narrower) / 100, (lost.points + high * narrower) / 100
            )

        images = images_needed(run.evaluation.samples, at, SMALL_LOSS)
    return _build_verdict(run, level, lost.loss_sentence, images, _sides_of_run_text(run))


def _verdict_by_agreement(run: Run) -> Verdict:
    score = run.evaluation
    interval = score.agreement_ci95
    level = _level_of_loss(1 - score.agreement, Interval(1 - interval.high, 1 - interval.low))
    sentence = (
        f"Without labels: answers as the float network does on {100 * score.agreement:.1f} % of "
        f"{score.samples} {run.cost.noun}s (95 %: {100 * interval.low:.1f} to "
        f"{100 * interval.high:.1f})"
    )
    images = _images_to_agree(score) if level is Level.UNDECIDED else None
    return _build_verdict(run, level, sentence, images, _sides_of_run_text(run))


def _level_of_loss(loss: float, interval: Interval) -> Level:
    """Return the level of a loss with the 95 % interval, as shares of 1."""
    if interval.high <= SMALL_LOSS:
        return Level.DEPLOYABLE
    if interval.low <= SMALL_LOSS:
        return Level.UNDECIDED
    return Level.NOT_DEPLOYABLE if loss > LARGE_LOSS else Level.REPAIR_FIRST


def _is_at_chance(top1: Interval | None, chance: float) -> bool:
    """Whether a top-1 equals guessing within the interval."""
    return top1 is not None and chance > 0 and top1.low <= chance


def _lost_points_text(loss: float, interval: Interval) -> str:
    """Return the lost points of top-1, such as "Lost 79.6 points of top-1 (...)".

    Less than one point has two digits, as on the cards.
    """
    digits = loss_digits(100 * loss)
    ends = f"95 %: {100 * interval.low:z.{digits}f} to {100 * interval.high:z.{digits}f}"
    if loss < 0:
        return f"Gained {-100 * loss:.{digits}f} points of top-1 (loss, {ends})"
    return f"Lost {100 * loss:z.{digits}f} points of top-1 ({ends})"


def _images_to_decide(score: Evaluation) -> int | None:
    """Return the number of images that would decide, at the present rate; None if too large."""
    lost, won = changed_answers(score)

    def at(images: int) -> Interval:
        share = images / score.samples
        return paired_interval(lost * share, won * share, images)

    return images_needed(score.samples, at, SMALL_LOSS)


def _images_to_agree(score: Evaluation) -> int | None:
    def at(images: int) -> Interval:
        return proportion_interval((1 - score.agreement) * images, images)

    return images_needed(score.samples, at, SMALL_LOSS)


def _side_loss_text(run: Run, others: Sequence[Run]) -> str:
    """Return the loss by weights alone and by activations alone, as far as measured.

    Other runs tell where the run itself was measured without its sides.
    """
    if run.sides:
        return _sides_of_run_text(run)
    phrases = []
    for side, silent in (("weight", "activation"), ("activation", "weight")):
        losses = [
            other.evaluation.top1_drop
            for other in others
            if other.evaluation.top1_drop is not None
            and _is_single_side_run(run, other, side, silent)
        ]
        if losses:
            phrases.append(f"{side}s alone lose {100 * losses[0]:.1f} points")
    return f"; {', '.join(phrases)}" if phrases else ""


def _sides_of_run_text(run: Run) -> str:
    """Return the losses of each side alone, such as "; weights alone lose 78.0 points of top-1".

    The larger loss comes first, because a side may gain a little by chance.
    """
    if not run.sides:
        return ""
    first, *rest = sorted(run.sides, key=lambda side: -side.points)
    told = f"; {first.side} alone lose {first.points:z.1f} {first.unit}"
    told += "".join(f", {one.side} alone {one.points:z.1f}" for one in rest)
    part = first.images < run.evaluation.samples
    return f"{told} (on {first.images} of the data)" if part else told


def _is_single_side_run(run: Run, other: Run, side: str, silent: str) -> bool:
    """Whether `other` is the run with a float `silent` side; rules are not compared."""
    mixed, single = run.config.get("default", {}), other.config.get("default", {})
    return (
        (run.model_digest, run.data_digest, run.recipe, run.seed)
        == (other.model_digest, other.data_digest, other.recipe, other.seed)
        and not (run.config.get("rules") or other.config.get("rules"))
        and _bits_of_side(mixed, silent) not in (None, FLOAT_BITS)
        and _bits_of_side(single, silent) == FLOAT_BITS
        and _bits_of_side(single, side) not in (None, FLOAT_BITS)
        and mixed.get(side) == single.get(side)
    )


def _bits_of_side(spec: JsonObject, side: str) -> int | None:
    bits = spec.get(side, {}).get("bits")
    return bits if isinstance(bits, int) else None
