"""Metrics of tasks by hand, and paired intervals over images."""

import numpy as np
import pytest
import torch

from analysis.evaluation.tasks.anomaly import AnomalyEvidence
from analysis.evaluation.tasks.choose_task import decide_task, metric_of
from analysis.evaluation.tasks.embedding import NeighbourEvidence
from analysis.evaluation.tasks.kinds import Head, TaskKind
from analysis.evaluation.tasks.regression import ErrorEvidence
from analysis.evaluation.tasks.segmentation import PixelEvidence
from analysis.evaluation.tasks.task_metric import TaskTally
from quant.errors import QuantError


def test_the_mean_iou_counts_pixels_over_all_images() -> None:
    masks = torch.tensor([[[0, 0], [1, 1]], [[1, 255], [1, 1]]])
    answers = torch.tensor([[[0, 1], [1, 1]], [[1, 0], [0, 1]]])
    scores = torch.nn.functional.one_hot(answers, 3).movedim(-1, 1).float()
    evidence = PixelEvidence()
    evidence.add((scores[:1],), masks[:1])
    evidence.add((scores[1:],), masks[1:])
    # class 0: 1 of 3; class 1: 4 of 6; class 2 occurs nowhere
    assert evidence.score(np.ones(2)) == pytest.approx((1 / 3 + 4 / 6) / 2)
    assert evidence.parts() == pytest.approx({"class 0": 1 / 3, "class 1": 4 / 6})
    assert evidence.score(np.array([1.0, 0])) == pytest.approx((1 / 2 + 2 / 3) / 2)
    with pytest.raises(QuantError, match="classes from 0 to 2, or 255"):
        evidence.add((scores,), masks.clamp(max=7) + 1)


def test_errors_of_a_regression() -> None:
    truth = torch.tensor([[1.0], [2.0], [4.0]])
    found = torch.tensor([[1.5], [2.0], [3.0]])
    evidence = ErrorEvidence()
    evidence.add((found,), truth[:, 0])
    assert evidence.score(np.ones(3)) == pytest.approx(0.5)
    spread = float(((truth - truth.mean()) ** 2).sum())
    expected = {"RMSE": np.sqrt(1.25 / 3), "R2": 1 - 1.25 / spread}
    assert evidence.parts() == pytest.approx(expected)


def test_the_auc_is_the_share_of_pairs_in_order() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 6, (40,), generator=generator).float()
    labels = torch.randint(0, 2, (40,), generator=generator)
    evidence = AnomalyEvidence()
    evidence.add((scores[:, None],), labels)
    high, low = scores[labels == 1][:, None], scores[labels == 0][None]
    pairs = float(((high > low).double() + 0.5 * (high == low).double()).mean())
    assert evidence.score(np.ones(40)) == pytest.approx(pairs)


def test_the_nearest_other_image_decides_an_embedding() -> None:
    vectors = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1], [0.1, 1], [1, 0.9]])
    evidence = NeighbourEvidence()
    evidence.add((vectors[:2],), torch.tensor([0, 0]))
    evidence.add((vectors[2:],), torch.tensor([1, 1, 1]))
    # the last is nearest to (0.9, 0.1) of class 0
    assert evidence.score(np.ones(5)) == pytest.approx(4 / 5)


def test_the_change_has_a_paired_interval() -> None:
    """Both networks err on the same images, so the change is known better than either score."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.randn(60, 1, generator=generator)
    wrong = truth + torch.randn(60, 1, generator=generator).abs()
    metric = metric_of(TaskKind.REGRESSION, Head.AUTO, (3, 8, 8))
    assert metric is not None
    tally = TaskTally(metric)
    tally.add_outputs((wrong,), (wrong + 0.1,), truth)
    found = tally.metric_result()
    assert found.change == pytest.approx(0.1, abs=1e-6)
    assert found.change_ci95 is not None
    assert found.quantized_ci95 is not None
    narrow = found.change_ci95.high - found.change_ci95.low
    assert narrow < 0.1 * (found.quantized_ci95.high - found.quantized_ci95.low)
    assert [part.name for part in found.parts] == ["RMSE", "R2"]


def test_the_task_follows_from_targets_and_outputs() -> None:
    masks, values = torch.zeros(2, 8, 8, dtype=torch.int64), torch.zeros(2, 3)
    boxes = {"boxes": torch.zeros(2, 1, 4), "classes": torch.zeros(2, 1)}
    assert decide_task(((5, 8, 8),), masks) is TaskKind.SEGMENTATION
    assert decide_task(((3,),), values) is TaskKind.REGRESSION
    assert decide_task(((84, 100),), boxes) is TaskKind.DETECTION
    assert decide_task(((10,),), torch.zeros(2, dtype=torch.int64)) is TaskKind.CLASSIFICATION
    assert decide_task(((10,),), None) is TaskKind.CLASSIFICATION
