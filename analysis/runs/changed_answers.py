"""Images on which two runs answer differently, from the answers that the runs keep."""

from dataclasses import dataclass

from analysis.evaluation.evaluate import Disagreement
from analysis.runs.run_answers import ImageRow, answers_of_comparable_runs, differing_images
from analysis.runs.run_store import Run


@dataclass(frozen=True, slots=True)
class ChangedAnswer:
    """An image with other answers in two runs of one network.

    Attributes:
        index: the place of the image in the data.
        label: the true class; None without labels.
        before: the class of the first run.
        after: the class of the second run.
        before_confidence: the share of `before` in the first run's output; None where unknown.
        after_confidence: the share of `after` in the second run's output.
    """

    index: int
    label: int | None
    before: int
    after: int
    before_confidence: float | None = None
    after_confidence: float | None = None

    @property
    def change(self) -> str:
        """What the change means for the image; empty without a label."""
        if self.label is None:
            return ""
        if self.label == self.before:
            return "now wrong"
        return "now right" if self.label == self.after else "wrong in both"


def changed_answers(before: Run, after: Run) -> tuple[ChangedAnswer, ...]:
    """Return the images on which two runs of one network and data are known to differ.

    A run of an older version keeps the first images on which its answer is not that of the float
    network; up to the last image that both runs list, an image that a run does not list has the
    float answer.
    """
    if (before.model_digest, before.data_digest) != (after.model_digest, after.data_digest):
        return ()
    if answers_of_comparable_runs([before, after]):
        return tuple(map(_changed_answer, differing_images([before, after])))
    first, second = _by_image(before), _by_image(after)
    last = min(_last_known(before), _last_known(after))
    found = []
    for index in sorted(set(first) | set(second)):
        if index > last:
            break
        one = first.get(index) or second[index]
        old = first[index].quantized_class if index in first else one.float_class
        new = second[index].quantized_class if index in second else one.float_class
        if old != new:
            found.append(ChangedAnswer(index, one.label, old, new))
    return tuple(found)


def _changed_answer(row: ImageRow) -> ChangedAnswer:
    old, new = row.answers
    return ChangedAnswer(row.index, row.label, old.place, new.place, old.confidence, new.confidence)


def _by_image(run: Run) -> dict[int, Disagreement]:
    return {item.index: item for item in run.evaluation.disagreements}


def _last_known(run: Run) -> float:
    """Return the last image whose answer the run tells; infinite where the list is whole.

    It is -1 where the run tells no answer, such as that of a network without classes.
    """
    listed, score = run.evaluation.disagreements, run.evaluation
    if len(listed) >= round((1 - score.agreement) * score.samples):
        return float("inf")
    return max((item.index for item in listed), default=-1)
