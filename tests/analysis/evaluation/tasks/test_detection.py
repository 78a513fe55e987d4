"""Detection against pycocotools, heads decoded by hand, and suppression."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from analysis.evaluation.tasks.boxes import (
    Detections,
    decode,
    recognise_head,
    suppress,
    to_corners,
)
from analysis.evaluation.tasks.detection import BoxEvidence
from analysis.evaluation.tasks.kinds import Head
from quant.errors import QuantError

SIZE = (96, 96)
CLASSES = 3


def scene(images: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return true corners, classes and crowds (N, 6), and detections (N, 20, 6) near them."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(images, 6, 2, generator=generator) * 60 + 18
    sides = torch.rand(images, 6, 2, generator=generator) * 45 + 6
    boxes = to_corners(torch.cat([centres, sides], -1))
    classes = torch.randint(0, CLASSES, (images, 6), generator=generator)
    classes[::4, 4:] = -1
    crowd = torch.zeros_like(classes)
    crowd[1::5, 0] = 1
    noise = torch.randn(images, 6, 4, generator=generator) * 2.5
    close = torch.cat([boxes + noise, boxes + 3 * noise], 1)
    strange = to_corners(torch.rand(images, 8, 4, generator=generator) * 40 + 20)
    corners = torch.cat([close, strange], 1)
    low, high = corners[..., :2], corners[..., 2:]
    corners = torch.cat([torch.minimum(low, high), torch.maximum(low, high)], -1)
    labels = torch.cat([classes.clamp(min=0)] * 2 + [classes[:, [0, 1, 2, 3, 0, 1, 2, 3]]], 1)
    scores = torch.rand(images, 20, 1, generator=generator) * 0.9 + 0.05
    return boxes, classes, crowd, torch.cat([corners, scores, labels[..., None].float()], -1)


def coco_scores(boxes: Tensor, classes: Tensor, crowd: Tensor, found: Tensor) -> list[float]:
    """Return mAP50-95, mAP50, mAP75 and those of small, medium and large by pycocotools."""
    truths: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for image in range(len(boxes)):
        for box, label, many in zip(boxes[image], classes[image], crowd[image], strict=True):
            if label >= 0:
                x0, y0, x1, y1 = box.tolist()
                truths.append(
                    {
                        "id": len(truths) + 1,
                        "image_id": image,
                        "category_id": int(label),
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": (x1 - x0) * (y1 - y0),
                        "iscrowd": int(many),
                    }
                )
        detections += [
            {
                "image_id": image,
                "category_id": int(row[5]),
                "score": row[4],
                "bbox": [row[0], row[1], row[2] - row[0], row[3] - row[1]],
            }
            for row in found[image].tolist()
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": n} for n in range(len(boxes))],
            "annotations": truths,
            "categories": [{"id": n} for n in range(CLASSES)],
        }
        coco.createIndex()
        judged = COCOeval(coco, coco.loadRes(detections), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return [float(one) for one in judged.stats[:6]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mean_average_precision_is_that_of_pycocotools(seed: int) -> None:
    boxes, classes, crowd, found = scene(24, seed)
    evidence = BoxEvidence(Head.DECODED, SIZE)
    targets = {"boxes": boxes, "classes": classes, "crowd": crowd}
    for start in (0, 10):
        part = slice(start, 10 if start == 0 else 24)
        evidence.add((found[part],), {name: one[part] for name, one in targets.items()})
    expected = coco_scores(boxes, classes, crowd, found)
    assert evidence.score(np.ones(24)) == pytest.approx(expected[0], abs=1e-6)
    parts = evidence.parts()
    assert parts["mAP50"] == pytest.approx(expected[1], abs=1e-6)
    for name, place in (("mAP small", 3), ("mAP medium", 4)):
        assert parts[name] == pytest.approx(expected[place], abs=1e-6)
    assert expected[5] == -1  # pycocotools: no large box
    assert "mAP large" not in parts


def test_an_image_that_counts_twice_is_an_image_there_twice() -> None:
    boxes, classes, crowd, found = scene(6, 5)
    targets = {"boxes": boxes, "classes": classes, "crowd": crowd}
    evidence = BoxEvidence(Head.DECODED, SIZE)
    evidence.add((found,), targets)
    order = torch.tensor([0, 0, 1, 2, 3, 5])
    doubled = BoxEvidence(Head.DECODED, SIZE)
    doubled.add((found[order],), {name: one[order] for name, one in targets.items()})
    weights = np.array([2.0, 1, 1, 1, 0, 1])
    # equal scores of both copies enter the curve together or one by one, so nearly the same
    assert evidence.score(weights) == pytest.approx(doubled.score(np.ones(6)), abs=0.02)


def test_heads_are_recognised_and_give_the_same_boxes() -> None:
    boxes = torch.tensor([[[40.0, 40, 20, 10], [70, 20, 8, 8]]]).repeat(1, 5, 1)
    boxes = boxes + torch.arange(10)[None, :, None] * torch.tensor([0.0, 8, 0, 0])
    shares = torch.rand(1, 10, CLASSES, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    new = torch.cat([boxes, shares], -1).movedim(1, 2)
    old = torch.cat([boxes, torch.ones(1, 10, 1), shares], -1)
    apart = (to_corners(boxes), shares)
    assert recognise_head((new,)) is Head.YOLO_V8
    assert recognise_head(apart) is Head.DECODED
    assert recognise_head((old.repeat(1, 200, 1)[..., :6],)) is Head.YOLO_V5
    first, second, third = (
        decode(outputs, head, SIZE)[0]
        for outputs, head in (((new,), Head.AUTO), ((old,), Head.YOLO_V5), (apart, Head.AUTO))
    )
    for other in (second, third):
        assert torch.allclose(first.boxes, other.boxes)
        assert torch.allclose(first.scores, other.scores)
        assert torch.equal(first.classes, other.classes)
    logits = torch.cat([boxes / 96, torch.logit(shares)], -1).movedim(1, 2)
    assert torch.allclose(decode((logits,), Head.YOLO_V8, SIZE)[0].boxes, first.boxes, atol=1e-4)
    with pytest.raises(QuantError, match="bring a metric of your own"):
        recognise_head((torch.zeros(2, 10),))


def test_a_worse_box_of_the_same_class_goes() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [40, 40, 50, 50]])
    found = suppress(
        Detections(boxes, torch.tensor([0.5, 0.9, 0.8, 0.1]), torch.tensor([0, 0, 1, 0]))
    )
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.1])


def test_an_ssd_head_is_decoded_by_hand() -> None:
    priors = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.25, 0.25, 0.1, 0.1]])
    offsets = torch.tensor([[[1.0, -2.0, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0]]])
    scores = torch.tensor([[[0.0, 3.0, -1.0], [4.0, 0.0, 2.0]]])
    (found,) = decode((offsets, scores), Head.SSD, SIZE, priors)
    # centre 0.5 + 0.1 * 0.2, 0.5 - 0.2 * 0.4; height 0.4 e; the softmax of 0, 3, -1 gives 0.936
    height = 0.4 * 2.718281828
    expected = [0.52 - 0.1, 0.42 - height / 2, 0.52 + 0.1, 0.42 + height / 2]
    assert (found.boxes[0] / 96).tolist() == pytest.approx(expected, abs=1e-5)
    assert found.scores[0].item() == pytest.approx(0.93624, abs=1e-4)
    assert found.classes.tolist() == [0, 1]
    with pytest.raises(QuantError, match=r"got outputs .* and no priors. Name the priors"):
        decode((offsets, scores), Head.SSD, SIZE)
