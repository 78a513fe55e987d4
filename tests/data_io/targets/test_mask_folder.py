"""Masks beside images: the same crop and size, classes untouched; what is wrong is told."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_io.errors import DatasetError
from data_io.folder import open_folder
from data_io.preprocessing import Preprocess
from data_io.targets.mask_folder import with_masks


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for number in range(3):
        pixels = np.full((12, 16, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
        classes = np.zeros((12, 16), np.uint8)
        classes[:6] = number
        classes[6:, 8:] = 255
        mask = Image.fromarray(classes)
        if number == 1:
            mask.putpalette(list(range(256)) * 3)
        mask.save(masks / f"{number}.png")
    return images, masks


def test_masks_follow_the_crop_and_keep_their_classes(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    data = with_masks(open_folder(images, Preprocess(resize=6, crop=6)), masks)
    (batch,) = data.batches(3)
    assert isinstance(batch.targets, torch.Tensor)
    assert batch.targets.shape == (3, 6, 6)
    assert batch.targets.dtype == torch.int64
    for number in range(3):
        assert batch.targets[number, :3].unique().tolist() == [number]
        assert set(batch.targets[number, 3:].unique().tolist()) == {0, 255}
    assert data.digest != open_folder(images, Preprocess(resize=6, crop=6)).digest


def test_what_is_wrong_with_masks_is_told(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    data = open_folder(images, Preprocess())
    with pytest.raises(DatasetError, match="must lie in a folder"):
        with_masks(data, masks / "none")
    (masks / "1.png").unlink()
    with pytest.raises(DatasetError, match=r"1\.png is not in masks"):
        list(with_masks(data, masks).batches(3))
    Image.new("RGB", (16, 12)).save(masks / "1.png")
    with pytest.raises(DatasetError, match="mode RGB"):
        list(with_masks(data, masks).batches(3))
    Image.new("L", (5, 5)).save(masks / "1.png")
    with pytest.raises(DatasetError, match="has 5 x 5"):
        list(with_masks(data, masks).batches(3))
