"""The scenes of the samples fashion-detector and fashion-segmenter, drawn at first use."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from data_io.dataset import Dataset
from data_io.fashion_files import COUNTS, DIGESTS, bundled_file_of, unpack_images
from data_io.preprocessing import Preprocess
from data_io.scenes.draw_scenes import DrawnScene, draw_scene

SCENES = Preprocess(channels=1, mean=(0.0,), std=(255.0,))
"""Pixels of 0 to 255 become 0 to 1, as the YOLO projects have it."""
SCENE_COUNTS = {"test": 500, "train-part": 600}
SCENE_SEEDS = {"test": 1, "train-part": 2}
"""Training draws with seed 0, so no scene of either split has trained."""
NO_BOX = -1


@dataclass(frozen=True)
class SceneSource:
    """Scenes in memory, 10 kB each; targets are boxes, or masks."""

    scenes: tuple[DrawnScene, ...]
    preprocess: Preprocess
    masks: bool

    def read(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return (float32 inputs (N, 1, 96, 96), None): a scene has no single class."""
        images = np.stack([self.scenes[index].image for index in indices])[:, None]
        return self.preprocess.scale_pixels(torch.from_numpy(images)), None

    def read_targets(self, indices: Sequence[int]) -> Tensor | dict[str, Tensor]:
        """Return masks (N, 96, 96), or boxes (N, M, 4) and classes (N, M), -1 for no box."""
        chosen = [self.scenes[index] for index in indices]
        if self.masks:
            return torch.from_numpy(np.stack([one.mask for one in chosen])).long()
        return pad_boxes(chosen)


def pad_boxes(scenes: Sequence[DrawnScene]) -> dict[str, Tensor]:
    """Return the boxes (N, M, 4) and classes (N, M) of scenes; class -1 fills up."""
    most = max(1, *(len(one.classes) for one in scenes))
    boxes = torch.zeros(len(scenes), most, 4)
    classes = torch.full((len(scenes), most), NO_BOX, dtype=torch.long)
    for place, one in enumerate(scenes):
        boxes[place, : len(one.boxes)] = torch.from_numpy(one.boxes)
        classes[place, : len(one.classes)] = torch.from_numpy(one.classes)
    return {"boxes": boxes, "classes": classes}


@cache
def _drawn_scenes(split: str) -> tuple[DrawnScene, ...]:
    """Return the scenes of a split, drawn once a process: half a second."""
    images, labels = unpack_images(bundled_file_of(split).read_bytes(), COUNTS[split])
    numbers = range(SCENE_COUNTS[split])
    return tuple(draw_scene(images, labels, number, SCENE_SEEDS[split]) for number in numbers)


def open_scenes(split: str, class_names: tuple[str, ...], *, masks: bool) -> Dataset:
    """Return the scenes of "test" or "train-part" with masks, or else boxes, as targets."""
    what = "masks" if masks else "boxes"
    known = f"{DIGESTS[split]} scenes {SCENE_SEEDS[split]} {what} {SCENES.to_json()}"
    return Dataset(
        name=f"Fashion scenes with {what}, {'test' if split == 'test' else 'training'}",
        source=SceneSource(_drawn_scenes(split), SCENES, masks),
        indices=tuple(range(SCENE_COUNTS[split])),
        labelled=False,
        class_names=class_names,
        source_digest=lambda: hashlib.sha256(known.encode()).hexdigest(),
    )
