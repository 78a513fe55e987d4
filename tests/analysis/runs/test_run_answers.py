"""Answers of runs image by image, against counts by hand and the networks' own outputs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.evaluation.image_answers import (
    AnswerTally,
    ImageAnswers,
    confidences_of_outputs,
    pack_numbers,
    unpack_numbers,
)
from analysis.evaluation.intervals import paired_interval
from analysis.runs.changed_answers import changed_answers
from analysis.runs.run_answers import answers_of_run, class_changes, differing_images
from analysis.runs.run_store import Run
from quant.errors import QuantError
from tests.analysis.results import layer_cost, report, run

LABELS = torch.tensor([0, 0, 1, 1, 1])


def one_hot(*classes: int) -> torch.Tensor:
    """Return shares (N, 3): 0.8 for the class, 0.1 for the others."""
    return torch.nn.functional.one_hot(torch.tensor(classes), 3) * 0.7 + 0.1


def answered(*classes: int, labels: torch.Tensor | None = LABELS) -> Run:
    tally = AnswerTally()
    for start in (0, 3):  # two batches
        part = slice(start, start + 3)
        tally.add_answers(
            range(10, 15)[part],
            None if labels is None else labels[part],
            one_hot(0, 0, 1, 1, 1)[part],
            one_hot(*classes)[part],
        )
    told = ImageAnswers("f8", **tally.packed_answers(labelled=labels is not None))
    made = run("run", report(layer_cost("a")))
    return replace(made, evaluation=replace(made.evaluation, samples=5, answers=told))


FIRST, SECOND, THIRD = answered(0, 0, 1, 1, 2), answered(0, 1, 1, 1, 1), answered(2, 1, 2, 1, 2)


def test_images_with_other_answers_are_found_with_both_answers_and_confidences() -> None:
    found = changed_answers(FIRST, SECOND)
    assert [(one.index, one.label, one.before, one.after, one.change) for one in found] == [
        (11, 0, 0, 1, "now wrong"),
        (14, 1, 2, 1, "now right"),
    ]
    assert {one.before_confidence for one in found} == {0.8}
    assert {one.after_confidence for one in found} == {0.8}


def test_more_than_two_runs_differ_where_one_of_them_does() -> None:
    found = differing_images([FIRST, SECOND, THIRD])
    assert [(row.index, [one.place for one in row.answers]) for row in found] == [
        (10, [0, 0, 2]),
        (11, [0, 1, 1]),
        (12, [1, 1, 2]),
        (14, [2, 1, 2]),
    ]


def test_drop_by_class_by_hand() -> None:
    found = class_changes(FIRST, THIRD)
    assert [(c.place, c.images, c.right_before, c.right_after) for c in found] == [
        (0, 2, 2, 0),
        (1, 3, 2, 1),
    ]
    assert [c.lost for c in found] == [1.0, pytest.approx(1 / 3)]
    assert found[0].interval == paired_interval(2, 0, 2)


def test_nothing_is_told_of_other_images_older_runs_or_without_labels() -> None:
    assert differing_images([FIRST, replace(SECOND, data_digest="other")]) == ()
    older = replace(SECOND, evaluation=replace(SECOND.evaluation, answers=ImageAnswers("f8")))
    assert answers_of_run(older) is None
    assert differing_images([FIRST, older]) == ()
    plain = answered(0, 0, 1, 1, 2, labels=None), answered(0, 1, 1, 1, 1, labels=None)
    assert class_changes(*plain) == ()
    assert [row.label for row in differing_images(plain)] == [None, None]


def test_confidence_is_the_softmax_of_outputs_and_shares_stay_shares() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    assert torch.equal(confidences_of_outputs(logits), logits.double().softmax(1).amax(1))
    shares = logits.softmax(1)
    assert torch.allclose(confidences_of_outputs(shares), shares.amax(1).double())


def test_numbers_come_back_and_a_text_of_another_length_is_refused() -> None:
    values = np.array([0, 1, 2**32 - 1])
    assert unpack_numbers(pack_numbers(values), 3).tolist() == values.tolist()
    for text, count in ((pack_numbers(values), 2), (pack_numbers(values), 4), ("no text", 3)):
        with pytest.raises(QuantError, match="must hold a number for each"):
            unpack_numbers(text, count)
    bomb = pack_numbers(np.zeros(10**6, np.int64))
    assert len(bomb) < 10_000
    with pytest.raises(QuantError, match="3 images"):
        unpack_numbers(bomb, 3)
