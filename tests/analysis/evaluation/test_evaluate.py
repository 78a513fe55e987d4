import math
from collections.abc import Sequence
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from analysis.evaluation.evaluate import (
    MAX_DISAGREEMENTS,
    Disagreement,
    Evaluation,
    evaluate_network,
    score_float_network,
)
from analysis.evaluation.intervals import paired_interval, proportion_interval
from analysis.network import Network, prepare_network
from quant.config import uniform_config
from quant.errors import QuantError
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.analysis.results import ToyData

CLASSES = 3


def network() -> Network:
    """A network whose logits are the first three values of its input."""
    linear = nn.Linear(2 * CLASSES, CLASSES, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(2 * CLASSES)[:CLASSES])
    return prepare_network("picks", nn.Sequential(linear), (2 * CLASSES,), "digest")


class Picks:
    """Stands for a quantized network; its logits are the last three values."""

    def __call__(self, inputs: Tensor) -> Tensor:
        return inputs[:, CLASSES:]

    run = __call__


QUANTIZED = cast("QuantGraph", Picks())


def data(answers: Sequence[tuple[int, int]], labels: Sequence[int] | None = None) -> ToyData:
    """One image for each (float class, quantized class)."""
    inputs = torch.zeros(len(answers), 2 * CLASSES)
    for row, (before, after) in enumerate(answers):
        inputs[row, before] = inputs[row, CLASSES + after] = 1.0
    return ToyData(inputs, labels)


def score(answers: Sequence[tuple[int, int]], labels: Sequence[int] | None = None) -> Evaluation:
    return drain_steps(evaluate_network(network(), QUANTIZED, data(answers, labels)))


def test_counts_by_hand() -> None:
    # right/right, right/wrong twice, wrong/right, wrong/wrong alike, wrong/wrong otherwise
    answers = [(0, 0), (1, 2), (2, 0), (0, 1), (0, 0), (1, 2)]
    labels = [0, 1, 2, 1, 1, 0]
    found = score(answers, labels)
    assert (found.samples, found.labelled) == (6, True)
    assert found.float_top1 == 3 / 6
    assert found.quantized_top1 == 2 / 6
    assert found.agreement == 2 / 6
    assert found.top1_drop == pytest.approx(1 / 6)
    assert found.float_top1_ci95 == proportion_interval(3, 6)
    assert found.quantized_top1_ci95 == proportion_interval(2, 6)
    assert found.agreement_ci95 == proportion_interval(2, 6)
    assert found.top1_drop_ci95 == paired_interval(2, 1, 6)


def test_the_score_so_far_is_told_with_each_batch() -> None:
    def known(answers: list[tuple[int, int]], labels: list[int] | None) -> list[str]:
        steps = evaluate_network(network(), QUANTIZED, data(answers, labels))
        return [step.known for step in steps]

    answers = [(0, 0), (1, 2), (2, 0), (0, 1)]
    assert known(answers, [0, 1, 1, 1])[-1] == "top-1 50.0 % (float 50.0 %) on 4 rows"
    assert known(answers, None)[-1] == "the float answer for 25.0 % of 4 rows"


def test_disagreements_name_image_and_classes() -> None:
    found = score([(0, 0), (1, 2), (2, 0)], [0, 1, 1])
    assert found.disagreements == (Disagreement(1, 1, 1, 2), Disagreement(2, 1, 2, 0))


def test_disagreements_are_bounded() -> None:
    found = score([(0, 1)] * (MAX_DISAGREEMENTS + 5))
    assert len(found.disagreements) == MAX_DISAGREEMENTS
    assert found.agreement == 0.0


def test_sqnr_over_all_images() -> None:
    # signal 3, noise 2 in the one image that differs
    assert score([(0, 0), (1, 1), (1, 2)]).sqnr_db == pytest.approx(10 * math.log10(3 / 2))
    assert score([(0, 0)]).sqnr_db == math.inf


def test_without_labels_only_agreement_is_known() -> None:
    found = score([(0, 0), (1, 2)])
    assert not found.labelled
    assert found.agreement == 0.5
    assert found.disagreements == (Disagreement(1, None, 1, 2),)
    known = (found.float_top1, found.quantized_top1, found.top1_drop, found.top1_drop_ci95)
    assert known == (None, None, None, None)


def test_batches_do_not_change_the_result() -> None:
    answers = [(i % 3, i * i % 3) for i in range(600)]
    labels = [i * 7 % 3 for i in range(600)]
    steps = evaluate_network(network(), QUANTIZED, data(answers, labels))
    fractions = []
    while True:
        try:
            fractions.append(next(steps).fraction)
        except StopIteration as end:
            found = end.value
            break
    assert fractions == [done / 600 for done in (*range(64, 600, 64), 600)]
    right = [sum(pair[i] == label for pair, label in zip(answers, labels, strict=True))
             for i in (0, 1)]  # fmt: skip
    assert (found.float_top1, found.quantized_top1) == (right[0] / 600, right[1] / 600)


def test_a_loss_has_a_positive_sign() -> None:
    lost = score([(0, 1)] * 30 + [(0, 0)] * 70, [0] * 100)
    assert lost.top1_drop == pytest.approx(0.3)
    assert lost.top1_drop_ci95 is not None
    assert 0 < lost.top1_drop_ci95.low < 0.3 < lost.top1_drop_ci95.high
    won = score([(1, 0)] * 30 + [(0, 0)] * 70, [0] * 100)
    assert won.top1_drop_ci95 is not None
    assert won.top1_drop_ci95.high < 0


@pytest.mark.parametrize("label", [-1, CLASSES, 999])
def test_labels_that_are_no_output_are_refused(label: int) -> None:
    with pytest.raises(QuantError, match=f"between 0 and 2, .* got {label}"):
        score([(0, 0), (1, 1)], [0, label])
    with pytest.raises(QuantError, match=f"got {label}"):
        drain_steps(score_float_network(network(), data([(0, 0)], [label])))


def test_no_images_are_refused() -> None:
    with pytest.raises(QuantError, match="needs data"):
        score([])


def test_float_alone() -> None:
    found = drain_steps(
        score_float_network(network(), data([(0, 1), (1, 1), (2, 1), (0, 0)], [0, 1, 0, 0]))
    )
    assert found is not None
    assert (found.samples, found.top1) == (4, 0.75)
    assert found.top1_ci95 == proportion_interval(3, 4)


def test_float_alone_needs_labels_and_images() -> None:
    assert drain_steps(score_float_network(network(), data([(0, 1)]))) is None
    assert drain_steps(score_float_network(network(), data([], []))) is None


def test_one_number_for_each_image_has_a_score_of_values() -> None:
    single = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    made = prepare_network("regression", single, (4,), "digest")
    inputs = torch.arange(12.0).reshape(3, 4)
    calibration = drain_steps(Calibrate()(made.graph, [inputs]))
    quantized = quantize_graph(made.graph, uniform_config(8, 8), calibration)
    found = drain_steps(evaluate_network(made, quantized, ToyData(inputs, None)))
    assert not made.is_classifier
    assert made.output_count == 1
    assert 20 < found.sqnr_db < 80
