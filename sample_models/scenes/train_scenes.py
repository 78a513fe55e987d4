"""Train a sample on scenes: `python -m sample_models.scenes.train_scenes fashion-detector`.

Scenes are drawn from the bundled part of Fashion-MNIST's training set with seed 0; those that
choose ranges have another seed, those that are scored another set of garments. Seeded: a machine
with the same torch version gives equal weights. `python -m benchmarks.task_scores` measures the
float mAP or mIoU, which the registry cites.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from data_io.fashion_files import COUNTS, bundled_file_of, unpack_images
from data_io.scenes.draw_scenes import DrawnScene, draw_scene
from data_io.scenes.scene_data import SCENES
from sample_models.scenes.detector import (
    CLASSES,
    STRIDES,
    FashionDetector,
    untrained_fashion_detector,
)
from sample_models.scenes.segmenter import untrained_fashion_segmenter

WEIGHTS = Path(__file__).parents[1] / "weights"
SCENE_SEED = 0
LARGE_SIDE = 36.0
"""Garments whose longer side exceeds this belong to the coarse scale (our choice)."""
BOX_WEIGHT, SCORE_WEIGHT = 4.0, 1.0
FOCUS = 2.0
"""The exponent of the focal loss (Lin et al. 2017)."""


@dataclass(frozen=True, slots=True)
class SceneSchedule:
    """Scenes drawn, passes over them, scenes a step, and the highest rate of AdamW.

    `stop_at` ends the training before the schedule does, after so many steps.
    """

    scenes: int
    epochs: int
    batch: int = 32
    learning_rate: float = 3e-3
    stop_at: int | None = None


SCHEDULES = {
    "fashion-detector": SceneSchedule(4000, 5, batch=8, learning_rate=2e-3, stop_at=1182),
    "fashion-segmenter": SceneSchedule(2400, 5, batch=16, stop_at=600),
}


def corners_of(boxes: Tensor) -> Tensor:
    """Return corners, shape (n, 4), of boxes by centre, width and height, (n, 4)."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def generalized_overlap(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU (M,) and generalized IoU (M,) of corners (M, 4) (Rezatofighi et al. 2019)."""
    low, high = (
        torch.maximum(first[:, :2], second[:, :2]),
        torch.minimum(first[:, 2:], second[:, 2:]),
    )
    common = (high - low).clamp(min=0).prod(1)
    areas = [(one[:, 2:] - one[:, :2]).clamp(min=0).prod(1) for one in (first, second)]
    union = areas[0] + areas[1] - common
    hull = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    share = common / union.clamp(min=1e-6)
    around = hull.prod(1).clamp(min=1e-6)
    return share, share - (around - union) / around


def assign_cells(model: FashionDetector, scenes: list[DrawnScene]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells that answer for garments: (scene and cell (M, 2), corners (M, 4), classes).

    A garment is answered for by the cells of its scale that lie less than a stride from its
    centre.
    """
    centres = ((model.cells + 0.5) * model.strides).T.numpy()
    strides = model.strides[0].numpy()
    places, corners, classes = [], [], []
    for number, scene in enumerate(scenes):
        for box, label in zip(scene.boxes, scene.classes, strict=True):
            middle = (box[:2] + box[2:]) / 2
            scale = STRIDES[int(max(box[2:] - box[:2]) > LARGE_SIDE)]
            near = np.abs(centres - middle).max(1) < scale
            for cell in np.flatnonzero(near & (strides == scale)):
                places.append((number, int(cell)))
                corners.append(box)
                classes.append(int(label))
    if not places:
        return torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, 4), torch.zeros(0).long()
    return torch.tensor(places), torch.from_numpy(np.stack(corners)), torch.tensor(classes)


def detector_loss(model: nn.Module, inputs: Tensor, scenes: list[DrawnScene]) -> Tensor:
    """Return the scalar loss: boxes by generalized IoU, scores by focal loss."""
    assert isinstance(model, FashionDetector)
    raw = model.forward_raw(inputs)
    places, corners, classes = assign_cells(model, scenes)
    found = model.decode(raw)[places[:, 0], :4, places[:, 1]]
    share, general = generalized_overlap(corners_of(found), corners)
    targets = torch.zeros_like(raw[:, 4:])
    targets[places[:, 0], classes, places[:, 1]] = share.detach().clamp(0, 1)
    away = (targets - raw[:, 4:].sigmoid()).abs().detach() ** FOCUS
    each = F.binary_cross_entropy_with_logits(raw[:, 4:], targets, reduction="none") * away
    count = max(1, len(places))
    return BOX_WEIGHT * (1 - general).sum() / count + SCORE_WEIGHT * 4 * each.sum() / count


def segmenter_loss(model: nn.Module, inputs: Tensor, scenes: list[DrawnScene]) -> Tensor:
    """Return the scalar cross-entropy of pixels; garments count three times the canvas."""
    masks = torch.from_numpy(np.stack([one.mask for one in scenes])).long()
    weights = torch.tensor([1.0] + [3.0] * CLASSES)
    return F.cross_entropy(model(inputs), masks, weights)


LOSSES: dict[str, Callable[[nn.Module, Tensor, list[DrawnScene]], Tensor]] = {
    "fashion-detector": detector_loss,
    "fashion-segmenter": segmenter_loss,
}
BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "fashion-detector": untrained_fashion_detector,
    "fashion-segmenter": untrained_fashion_segmenter,
}


def draw_training_scenes(count: int) -> list[DrawnScene]:
    """Return `count` scenes of garments from the bundled part of the training set."""
    images, labels = unpack_images(bundled_file_of("train-part").read_bytes(), COUNTS["train-part"])
    return [draw_scene(images, labels, number, SCENE_SEED) for number in range(count)]


def train_scene_sample(name: str, schedule: SceneSchedule, seed: int) -> nn.Module:
    """Train with AdamW and a one-cycle schedule; the rate ends near 0."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    scenes = draw_training_scenes(schedule.scenes)
    model = BUILDERS[name]()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = schedule.epochs * (len(scenes) // schedule.batch)
    optimizer = torch.optim.AdamW(model.parameters(), schedule.learning_rate, weight_decay=0.02)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=steps, pct_start=0.15
    )
    start, done = time.monotonic(), 0
    for epoch in range(schedule.epochs):
        order = torch.randperm(len(scenes), generator=generator)
        for index in order[: len(order) // schedule.batch * schedule.batch].split(schedule.batch):
            if done == schedule.stop_at:
                break
            chosen = [scenes[place] for place in index.tolist()]
            pixels = torch.from_numpy(np.stack([one.image for one in chosen]))[:, None]
            inputs = SCENES.scale_pixels(pixels)
            loss = LOSSES[name](model.train(), inputs, chosen)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            rates.step()
            done += 1
        minutes = (time.monotonic() - start) / 60
        last = float(loss.detach())
        print(f"{name} epoch {epoch + 1} loss {last:.4f} {minutes:.1f} min", flush=True)  # noqa: T201
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    metadata = {"steps": str(done), "seed": str(seed)}
    save_file(state, WEIGHTS / f"{name}.safetensors", metadata)
    return model.eval()


def main() -> None:
    """Read the command line and train one network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=tuple(BUILDERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train_scene_sample(arguments.name, SCHEDULES[arguments.name], arguments.seed)


if __name__ == "__main__":
    main()
