"""Scenes of garments: equal for a number and a seed, with boxes that hold their garments."""

import numpy as np
import pytest
import torch

from data_io.scenes.draw_scenes import MOST_COMMON, _common_share, draw_scene
from data_io.scenes.scene_data import SCENES as STEPS
from data_io.scenes.scene_data import SceneSource, pad_boxes


def garments() -> tuple[np.ndarray, np.ndarray]:
    images = np.zeros((4, 28, 28), np.uint8)
    for place in range(4):
        images[place, 4 : 20 + place, 6:22] = 150 + 20 * place
    return images, np.arange(4, dtype=np.uint8)


def test_a_scene_depends_on_its_number_and_the_seed_alone() -> None:
    first, again = (draw_scene(*garments(), 3, 1) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, draw_scene(*garments(), 3, 2).image)
    assert not np.array_equal(first.image, draw_scene(*garments(), 4, 1).image)


def test_boxes_hold_the_pixels_of_their_class_and_hardly_overlap() -> None:
    for number in range(20):
        scene = draw_scene(*garments(), number, 0)
        assert 1 <= len(scene.boxes) <= 4
        seen = np.zeros_like(scene.mask, bool)
        for place, (box, label) in enumerate(zip(scene.boxes, scene.classes, strict=True)):
            x0, y0, x1, y1 = map(int, box)
            inside = scene.mask[y0:y1, x0:x1] == label + 1
            assert inside.mean() > 0.7
            seen[y0:y1, x0:x1] = True
            for other in scene.boxes[:place]:
                first, second = (
                    (int(one[0]), int(one[1]), int(one[2]), int(one[3])) for one in (box, other)
                )
                assert _common_share(first, second) <= MOST_COMMON
        assert not scene.mask[~seen].any()


def test_targets_are_masks_or_padded_boxes() -> None:
    scenes = tuple(draw_scene(*garments(), number, 0) for number in range(5))
    boxed = SceneSource(scenes, STEPS, masks=False).read_targets([0, 1])
    assert isinstance(boxed, dict)
    assert boxed["classes"].shape == boxed["boxes"].shape[:2]
    counts = (pad_boxes(scenes)["classes"] >= 0).sum(1)
    assert counts.tolist() == [len(one.boxes) for one in scenes]
    source = SceneSource(scenes, STEPS, masks=True)
    masks = source.read_targets([2])
    assert isinstance(masks, torch.Tensor)
    assert np.array_equal(masks[0].numpy(), scenes[2].mask)
    inputs, labels = source.read([2])
    assert labels is None
    assert inputs[0, 0].numpy() * 255 == pytest.approx(scenes[2].image, abs=1e-3)
