"""Train a sample: `python -m sample_models.train NAME`.

letter-mlp learns from the bundled table, in a minute (`train_letter_mlp`). For other samples the
full training set (60 000 images) is read from Debian's package dataset-fashion-mnist. Seeded: a
machine with the same torch version gives equal weights; another machine gives other weights, as
good. The weights are written to sample_models/weights/NAME.safetensors together with measured
values (float top-1 on the test set, epochs, seed) in the file's metadata.
"""

import argparse
import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from sample_models.mobilenet import untrained_fashion_mobilenet
from sample_models.resnet import untrained_fashion_resnet
from sample_models.train_letter import TableSchedule, train_letter_mlp
from sample_models.vit import untrained_fashion_vit

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "fashion-mobilenet": untrained_fashion_mobilenet,
    "fashion-resnet": untrained_fashion_resnet,
    "fashion-vit": untrained_fashion_vit,
}


@dataclass(frozen=True)
class Schedule:
    """Length of a training, highest learning rate, and arithmetic."""

    epochs: int
    learning_rate: float
    bfloat16: bool = False


# What made the weights in this folder. bfloat16 halves the transformer's time and no other's.
SCHEDULES = {
    "fashion-mobilenet": Schedule(18, 4e-3),
    "fashion-resnet": Schedule(15, 4e-3),
    "fashion-vit": Schedule(26, 2e-3, bfloat16=True),
}
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
LETTER = "letter-mlp"
WEIGHTS = Path(__file__).parent / "weights"
MEAN, STD = 0.2860, 0.3530


def read_fashion_split(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Return (images uint8 (N, 1, 28, 28), labels int64 (N,)) of `split`: "train" or "t10k"."""

    def read_idx_file(name: str, header: int) -> np.ndarray:
        with gzip.open(folder / f"{split}-{name}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=header).copy()

    images = torch.from_numpy(read_idx_file("images-idx3", 16)).reshape(-1, 1, 28, 28)
    return images, torch.from_numpy(read_idx_file("labels-idx1", 8)).long()


def normalize_fashion_images(images: Tensor) -> Tensor:
    """Map uint8 images (N, 1, 28, 28) to zero mean and unit variance over the training set."""
    return (images.float() / 255 - MEAN) / STD


def augment_images(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift images (N, 1, H, W) by up to 2 pixels; flip half, blank an 8 x 8 square in half."""
    n = len(images)
    padded = F.pad(images, (2, 2, 2, 2))
    dx, dy = torch.randint(0, 5, (2, n, 1), generator=generator)
    rows = (torch.arange(28) + dy)[:, :, None]
    columns = (torch.arange(28) + dx)[:, None, :]
    flip = torch.rand(n, 1, 1, generator=generator) < 0.5
    columns = torch.where(flip, columns.flip(2), columns)
    out = padded[torch.arange(n)[:, None, None], 0, rows, columns]
    x0, y0 = torch.randint(0, 21, (2, n, 1, 1), generator=generator)
    grid = torch.arange(28)
    inside_x = (grid[None, None, :] >= x0) & (grid[None, None, :] < x0 + 8)
    inside_y = (grid[None, :, None] >= y0) & (grid[None, :, None] < y0 + 8)
    erase = inside_x & inside_y & (torch.rand(n, 1, 1, generator=generator) < 0.5)
    return out.masked_fill(erase, int(MEAN * 255))[:, None]


@torch.no_grad()
def top1_accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return top-1 accuracy in [0, 1]."""
    model.eval()
    hits = sum(
        int((model(normalize_fashion_images(x)).argmax(1) == y).sum())
        for x, y in zip(images.split(500), labels.split(500), strict=True)
    )
    return hits / len(labels)


def train_image_sample(name: str, schedule: Schedule, seed: int, folder: Path) -> None:
    """Train with AdamW, a one-cycle schedule and label smoothing; keep the mean of late weights."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, labels = read_fashion_split(folder, "train")
    test_images, test_labels = read_fashion_split(folder, "t10k")
    model = BUILDERS[name]().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch, epochs, lr = 128, schedule.epochs, schedule.learning_rate
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.02)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    start = time.monotonic()
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(images), generator=generator)
        for index in order[: len(order) // batch * batch].split(batch):
            x = normalize_fashion_images(augment_images(images[index], generator))
            with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bfloat16):
                logits = model(x).float()
            loss = F.cross_entropy(logits, labels[index], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rates.step()
            averaged.update_parameters(model)
        score = top1_accuracy(averaged, test_images, test_labels)
        minutes = (time.monotonic() - start) / 60
        print(f"{name} epoch {epoch + 1}/{epochs} top-1 {score:.4f} {minutes:.1f} min", flush=True)
        state = {k: v.contiguous() for k, v in averaged.module.state_dict().items()}
        metadata = {"top1": f"{score:.4f}", "epochs": str(epoch + 1), "seed": str(seed)}
        WEIGHTS.mkdir(exist_ok=True)
        save_file(state, WEIGHTS / f"{name}.safetensors", metadata)


def train_letter_sample(epochs: int | None, seed: int) -> None:
    """Train letter-mlp and write the weights with the measured values."""
    schedule = replace(TableSchedule(), epochs=epochs or TableSchedule().epochs)
    model, score = train_letter_mlp(schedule, seed)
    print(f"{LETTER} {schedule.epochs} epochs, top-1 {score:.4f}")
    metadata = {"top1": f"{score:.4f}", "epochs": str(schedule.epochs), "seed": str(seed)}
    save_file(model.state_dict(), WEIGHTS / f"{LETTER}.safetensors", metadata)


def main() -> None:
    """Read the command line and train one network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=(*BUILDERS, LETTER))
    parser.add_argument("--epochs", type=int, help="instead of the schedule's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.name == LETTER:
        train_letter_sample(arguments.epochs, arguments.seed)
        return
    schedule = SCHEDULES[arguments.name]
    if arguments.epochs:
        schedule = replace(schedule, epochs=arguments.epochs)
    train_image_sample(arguments.name, schedule, arguments.seed, arguments.data)


if __name__ == "__main__":
    main()
