"""Masks of a COCO file: against pycocotools, through resize and crop; what is wrong is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_tools

from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.folder import open_folder
from data_io.preprocessing import Preprocess
from data_io.targets.attach_targets import with_targets
from data_io.targets.coco_masks import draw_region, fill_polygon, with_coco_masks

HEIGHT, WIDTH = 100, 200


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / name)
    return folder


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def coco(folder: Path, annotations: list[dict[str, Any]], categories: int = 2) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "categories": [{"id": 10 * number} for number in range(categories, 0, -1)],
        "annotations": [{"image_id": 7, "category_id": 10, **one} for one in annotations],
    }
    path = folder.parent / "masks.json"
    path.write_text(json.dumps(content))
    return path


def masks_of(data: Dataset) -> NDArray[np.int64]:
    (batch,) = data.batches(2)
    assert isinstance(batch.targets, torch.Tensor)
    assert batch.targets.dtype == torch.int64
    found: NDArray[np.int64] = batch.targets.numpy()
    return found


def random_region(seed: int) -> NDArray[np.uint8]:
    """A blob with holes: noise, smoothed along both axes."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH))
    smooth = sum(np.roll(noise, (dy, dx), (0, 1)) for dy in range(7) for dx in range(7))
    return np.asfortranarray((np.asarray(smooth) > 3).astype(np.uint8))


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    wanted = random_region(seed)
    packed = coco_tools.encode(wanted)
    text = {"size": packed["size"], "counts": packed["counts"].decode("ascii")}
    assert np.array_equal(draw_region(text, (HEIGHT, WIDTH)), wanted.astype(bool))
    flat = wanted.T.reshape(-1)  # down the columns
    borders = [0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]
    runs = np.diff(borders).tolist()
    counts = [0, *runs] if flat[0] else runs
    plain = {"size": [HEIGHT, WIDTH], "counts": counts}
    assert np.array_equal(draw_region(plain, (HEIGHT, WIDTH)), wanted.astype(bool))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools
@pytest.mark.parametrize("corners", [3, 5, 12])
def test_polygons_cover_what_pycocotools_covers(corners: int) -> None:
    """pycocotools rounds the border to a fifth of a pixel first; elsewhere both agree."""
    random = np.random.default_rng(corners)
    for _ in range(5):
        angles = np.sort(random.uniform(0, 2 * np.pi, corners))
        radius = random.uniform(20, 45, corners)
        points = np.stack([100 + radius * np.cos(angles), 50 + radius * np.sin(angles)], 1)
        found = fill_polygon(points.reshape(-1), (HEIGHT, WIDTH))
        packed = coco_tools.frPyObjects([points.reshape(-1).tolist()], HEIGHT, WIDTH)
        wanted = coco_tools.decode(packed)[..., 0].astype(bool)
        differs = found != wanted
        around = sum(np.roll(wanted, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
        inside_border = (np.asarray(around) > 0) & (np.asarray(around) < 9)
        assert not (differs & ~inside_border).any()
        area = 0.5 * abs(
            np.dot(points[:, 0], np.roll(points[:, 1], 1))
            - np.dot(points[:, 1], np.roll(points[:, 0], 1))
        )
        assert found.sum() == pytest.approx(area, abs=0.25 * np.sqrt(area) + 5)


def test_classes_follow_the_ids_and_the_background_is_0(images: Path) -> None:
    file = coco(
        images,
        [
            {"segmentation": square(0, 0, 20)},
            {"segmentation": square(40, 0, 20), "category_id": 20},
            {"segmentation": square(10, 0, 20), "category_id": 20},  # over the first
            {"segmentation": square(80, 0, 20), "iscrowd": 1},
        ],
    )
    masks = masks_of(with_coco_masks(open_folder(images, Preprocess()), file, outputs=3))
    assert masks[0, 10, [5, 15, 25, 45, 85, 150]].tolist() == [1, 255, 2, 2, 255, 0]
    assert (masks[1] == 0).all()


def test_a_network_without_background_ignores_what_no_object_covers(images: Path) -> None:
    file = coco(images, [{"segmentation": square(0, 0, 20), "category_id": 20}])
    data = open_folder(images, Preprocess())
    assert set(np.unique(masks_of(with_coco_masks(data, file, outputs=2)))) == {1, 255}
    one = coco(images, [{"segmentation": square(0, 0, 20)}], categories=1)
    assert set(np.unique(masks_of(with_coco_masks(data, one, outputs=1)))) == {0, 1}


def test_masks_follow_resize_and_crop(images: Path) -> None:
    file = coco(images, [{"segmentation": square(60, 20, 40)}])
    steps = Preprocess(resize=50, crop=50)
    (mask, _) = masks_of(with_coco_masks(open_folder(images, steps), file, outputs=3))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 5, 24)


def test_a_coco_file_gives_masks_where_the_network_segments(images: Path) -> None:
    file = coco(images, [{"segmentation": square(0, 0, 20), "bbox": [0, 0, 20, 20]}])
    data = open_folder(images, Preprocess())
    (batch,) = with_targets(data, file, 3).batches(2)
    assert isinstance(batch.targets, torch.Tensor)
    assert with_targets(data, file, 3).digest != with_targets(data, file, 2).digest


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        ([[1, 2, 3, 4]], "three corners"),
        ([[1, 2, 3, 4, "x", 6]], "one of a.png is not"),
        ([[1, 2, 3, 4, float("nan"), 6]], "three corners"),
        ({"size": [5, 5], "counts": [25]}, "of the size"),
        ({"size": [HEIGHT, WIDTH], "counts": [7]}, "of 7 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [-1, HEIGHT * WIDTH + 1]}, "run lengths"),
        ({"size": [HEIGHT, WIDTH], "counts": "~~"}, "run lengths"),
        ({"size": [HEIGHT, WIDTH], "counts": "o" * 100_000}, "more than 60 bits"),
        (5, "one of a.png is not"),
    ],
)
def test_what_is_wrong_with_an_object_is_told(
    images: Path, segmentation: object, sentence: str
) -> None:
    file = coco(images, [{"segmentation": segmentation}])
    with pytest.raises(DatasetError, match=sentence):
        masks_of(with_coco_masks(open_folder(images, Preprocess()), file, outputs=3))


def test_what_is_wrong_with_the_file_is_told(images: Path) -> None:
    data = open_folder(images, Preprocess())
    with pytest.raises(DatasetError, match="annotations"):
        with_coco_masks(data, coco(images, [{}]), outputs=3)
    file = coco(images, [])
    file.write_text(json.dumps({"images": 5}))
    with pytest.raises(DatasetError, match="must be a COCO file"):
        with_coco_masks(data, file, outputs=3)
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(DatasetError, match="Each image must be in"):
        with_coco_masks(data, file, outputs=3)
