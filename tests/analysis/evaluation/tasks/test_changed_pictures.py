"""Which images change most, and boxes and masks painted."""

import numpy as np
import pytest
import torch

from analysis.evaluation.tasks.boxes import Detections
from analysis.evaluation.tasks.changed_pictures import (
    ChangedPictures,
    TaskAnswer,
    compare_boxes,
    compare_masks,
    pack_mask,
    unpack_mask,
)
from analysis.evaluation.tasks.choose_task import metric_of
from analysis.evaluation.tasks.kinds import Head, TaskKind
from analysis.runs.json_values import plain_from_result, result_from_plain
from figures.quality.task_pictures import COLORS, paint_boxes, paint_mask


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = torch.tensor([row[:5] for row in rows]).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], torch.tensor([row[5] for row in rows]).long())


def test_boxes_without_a_partner_are_counted() -> None:
    before = found((0, 0, 10, 10, 0.9, 1), (20, 20, 30, 30, 0.8, 2), (50, 50, 60, 60, 0.1, 2))
    after = found((1, 0, 10, 10, 0.7, 1), (20, 20, 30, 30, 0.8, 3))
    answer = compare_boxes(7, before, after)
    # the first is the same; the second has another class now; the third scores too little
    assert answer.change == 2 / 4
    assert answer.index == 7
    assert [box[5] for box in answer.float_boxes] == [1, 2]
    assert compare_boxes(0, before, before).change == 0
    assert compare_boxes(0, found(), found()).change == 0


def test_masks_are_kept_small_and_come_back() -> None:
    mask = torch.zeros(200, 300, dtype=torch.long)
    mask[:100] = 5
    answer = compare_masks(1, mask, mask.flip(0))
    assert answer.change == 1
    assert answer.mask_shape == (85, 128)
    assert set(np.unique(unpack_mask(answer.mask, answer.mask_shape))) == {0, 5}
    with pytest.raises(ValueError, match=r"must hold 4 pixels; got 5"):
        unpack_mask(pack_mask(np.zeros((3, 3), np.uint8)), (2, 2))
    with pytest.raises(ValueError, match=r"must hold 4 pixels; got 0"):
        unpack_mask("bm8=", (2, 2))
    again = result_from_plain(TaskAnswer, plain_from_result(answer))
    assert again == answer


def test_the_most_changed_images_come_first() -> None:
    metric = metric_of(TaskKind.SEGMENTATION, Head.AUTO, (1, 4, 4))
    assert metric is not None
    before = torch.zeros(3, 2, 4, 4)
    before[:, 0] = 1.0
    after = before.clone()
    after[1, 1, :1], after[2, 1, :3] = 2.0, 2.0
    pictures = ChangedPictures(metric)
    pictures.add_outputs((4, 5, 6), (before,), (after,))
    assert [(one.index, one.change) for one in pictures.most_changed()] == [(6, 0.75), (5, 0.25)]


def test_a_detector_is_decoded_as_its_metric_decodes_it() -> None:
    metric = metric_of(TaskKind.DETECTION, Head.YOLO_V8, (1, 96, 96))
    assert metric is not None
    boxes = torch.tensor([40.0, 40, 20, 10])[None, :, None].repeat(1, 1, 9)
    scores = torch.zeros(1, 2, 9)
    scores[0, 1, 3] = 0.9
    pictures = ChangedPictures(metric)
    pictures.add_outputs(
        (0,), (torch.cat([boxes, scores], 1),), (torch.cat([boxes, 0 * scores], 1),)
    )
    (answer,) = pictures.most_changed()
    assert answer.change == 1
    assert answer.float_boxes == ((30.0, 35.0, 50.0, 45.0, 0.9, 1),)
    assert answer.boxes == ()


def test_frames_and_masks_are_painted_in_the_colour_of_the_class() -> None:
    picture = np.zeros((96, 96, 1), np.float32)
    painted = paint_boxes(picture, [(10, 20, 40, 50, 0.9, 2)])
    assert painted.shape == (288, 288, 3)
    assert painted[60, 60] == pytest.approx(COLORS[2] / 255)
    assert painted[100, 60].sum() == 0  # inside stays as it is
    mask = np.zeros((48, 48), np.uint8)
    mask[0, 0] = 3
    colored = paint_mask(picture, mask)
    assert colored[0, 0] == pytest.approx(0.55 * COLORS[2] / 255)
    assert colored[20, 20].sum() == 0
