"""Train the sample letter-mlp; called by `python -m sample_models.train letter-mlp`.

The first 16 000 rows of the bundled table train, the last 4 000 are only scored. Seeded: a machine
with the same torch version gives equal weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_io.bundled import letter_test, letter_train
from data_io.dataset import Dataset
from sample_models.letter_mlp import untrained_letter_mlp


@dataclass(frozen=True, slots=True)
class TableSchedule:
    """Epochs, highest rate of Adam (falling along a cosine), and rows a step."""

    epochs: int = 60
    learning_rate: float = 3e-3
    batch: int = 256


def read_all_rows(data: Dataset) -> tuple[Tensor, Tensor]:
    """Return (inputs float32 (N, F), labels int64 (N,)) of a labelled table."""
    batch = next(data.batches(len(data)))
    if batch.labels is None or isinstance(batch.inputs, tuple):
        raise ValueError(f"{data.name} must hold one table with labels to train with.")
    return batch.inputs, batch.labels


def train_letter_mlp(schedule: TableSchedule, seed: int) -> tuple[nn.Module, float]:
    """Return (the trained network, top-1 in [0, 1] on the test rows)."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    rows, labels = read_all_rows(letter_train())
    model = untrained_letter_mlp()
    steps = schedule.epochs * -(-len(rows) // schedule.batch)
    optimizer = torch.optim.AdamW(model.parameters(), schedule.learning_rate, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(schedule.epochs):
        for chosen in torch.randperm(len(rows), generator=generator).split(schedule.batch):
            loss = F.cross_entropy(model(rows[chosen]), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rates.step()
    test_rows, test_labels = read_all_rows(letter_test())
    with torch.no_grad():
        hits = model.eval()(test_rows).argmax(1) == test_labels
    return model, float(hits.float().mean())
