"""Boxes of a COCO file beside a folder of images, through resize and crop."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_io.errors import DatasetError
from data_io.folder import open_folder
from data_io.image_geometry import ResizeTo
from data_io.preprocessing import Preprocess
from data_io.targets.coco_boxes import map_corners, with_boxes


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(folder / name)
    return folder


def coco(folder: Path, **changes: object) -> Path:
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 200, "height": 100},
            {"id": 9, "file_name": "b.png", "width": 200, "height": 100},
        ],
        "categories": [{"id": 18}, {"id": 3}],
        "annotations": [
            {"image_id": 7, "category_id": 18, "bbox": [60, 10, 40, 50]},
            {"image_id": 7, "category_id": 3, "bbox": [40, 0, 40, 20], "iscrowd": 1},
            {"image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 20]},
        ],
        **changes,
    }
    path = folder.parent / "boxes.json"
    path.write_text(json.dumps(content))
    return path


def test_boxes_follow_resize_and_crop(images: Path) -> None:
    data = with_boxes(open_folder(images, Preprocess(resize=50, crop=50)), coco(images))
    (batch,) = data.batches(2)
    assert isinstance(batch.targets, dict)
    # half the size, then 25 pixels less on the left; the third box is cut away
    assert batch.targets["boxes"][0].tolist() == [[5, 5, 25, 30], [0, 0, 15, 10]]
    assert batch.targets["classes"].tolist() == [[1, 0], [-1, -1]]
    assert batch.targets["crowd"].tolist() == [[0, 1], [0, 0]]


def test_a_stretch_has_a_scale_for_each_axis() -> None:
    steps = Preprocess(resize=80, resize_to=ResizeTo.BOTH_SIDES)
    assert map_corners((20, 10, 100, 50), (200, 100), steps) == (8.0, 8.0, 40.0, 40.0)
    whole = Preprocess(crop_fraction=0.5)
    assert map_corners((75, 25, 100, 50), (200, 100), whole) == (0.0, 0.0, 25.0, 25.0)


def test_boxes_follow_a_letterbox() -> None:
    """200 x 100 becomes 80 x 40 within 80 x 80: 20 rows of padding above."""
    steps = Preprocess(resize=80, resize_to=ResizeTo.PADDED)
    assert map_corners((20, 10, 100, 50), (200, 100), steps) == (8.0, 24.0, 40.0, 40.0)
    wide = Preprocess(resize=40, resize_width=120, resize_to=ResizeTo.PADDED)
    assert map_corners((20, 10, 100, 50), (200, 100), wide) == (28.0, 4.0, 60.0, 20.0)


def test_what_is_no_coco_file_is_told(images: Path) -> None:
    data = open_folder(images, Preprocess())
    with pytest.raises(DatasetError, match=r"b\.png is not"):
        with_boxes(
            data,
            coco(
                images,
                images=[{"id": 7, "file_name": "a.png", "width": 200, "height": 100}],
                annotations=[],
            ),
        )
    with pytest.raises(DatasetError, match="must be a COCO file"):
        with_boxes(data, coco(images, annotations=[{"image_id": 1}]))


@pytest.mark.parametrize(
    ("width", "box", "told"),
    [
        (0, [1, 1, 5, 5], "an image of 0 x 100"),
        (10**30, [1, 1, 5, 5], "an image of 1000000"),
        (float("inf"), [1, 1, 5, 5], "OverflowError"),
        (200, [1, 1, float("inf"), 5], r"a box of corners \(1.0, 1.0, inf"),
        (200, [float("nan"), 1, 5, 5], r"a box of corners \(nan"),
        (200, [10**39, 10**39, 1e308, 1e308], None),
    ],
)
def test_numbers_that_no_image_has_are_told(
    images: Path, width: float, box: list[float], told: str | None
) -> None:
    shown = [{"id": 1, "file_name": "a.png", "width": width, "height": 100}]
    shown.append({"id": 2, "file_name": "b.png", "width": 100, "height": 100})
    file = coco(images, images=shown, annotations=[{"image_id": 1, "category_id": 3, "bbox": box}])
    data = open_folder(images, Preprocess(resize=50, crop=50))
    if told is None:
        assert with_boxes(data, file)
        return
    with pytest.raises(DatasetError, match=f"must be a COCO file .*{told}"):
        with_boxes(data, file)
