"""Targets of the user's images: those that choose ranges have them too, for losses by layer."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from analysis.split import ImageChoice, choose_data_split, preprocess_of_shape
from data_io.image_geometry import ResizeTo
from data_io.preprocessing import Preprocess
from quant.config import uniform_config
from sample_models.scenes.detector import SIDE
from tests.sample_networks import sample_network

GREY = Preprocess(channels=1, mean=(0.0,), std=(255.0,), resize=SIDE, resize_to=ResizeTo.PADDED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images with a box each, as the YOLO projects lay them out."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for name in "abcdef":
        Image.fromarray(np.full((50, 100), 40, np.uint8)).save(images / f"{name}.png")
        (labels / f"{name}.txt").write_text("2 0.5 0.5 0.4 0.4\n")
    return tmp_path


def test_images_for_ranges_and_for_scores_have_boxes(folder: Path) -> None:
    wish = TaskChoice(TaskKind.AUTO, Head.AUTO, folder / "labels")
    choice = ImageChoice(folder / "images", GREY, None, 3, 0, wish)
    network = sample_network("fashion-detector")
    split = choose_data_split("mine", network, uniform_config(8, 8), choice)
    assert split.metric is not None
    assert split.calibration is not None
    for part in (split.score, split.calibration):
        (batch,) = part.batches(3)
        assert isinstance(batch.targets, dict)
        assert batch.targets["classes"].tolist() == [[2], [2], [2]]
        # 100 x 50 within 96 x 96: 48 rows high, 24 rows of padding above
        assert batch.targets["boxes"][0, 0].tolist() == pytest.approx([28.8, 38.4, 67.2, 57.6])


def test_an_input_that_is_no_square_is_filled_by_a_stretch() -> None:
    wide = preprocess_of_shape((3, 24, 60), scales=True)
    assert wide.preprocess_image(np.zeros((50, 100, 3), np.uint8)).shape == (3, 24, 60)
    behind = preprocess_of_shape((24, 60, 3), scales=True)
    assert behind.preprocess_image(np.zeros((50, 100, 3), np.uint8)).shape == (24, 60, 3)
    assert preprocess_of_shape((3, 24, 24), scales=True).resize_to is ResizeTo.SHORT_SIDE
