"""A tiny YOLO-like detector with a planted mix of ranges; its labels are its own boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.calibration import calibrate_network
from analysis.evaluation.tasks.boxes import decode
from analysis.evaluation.tasks.choose_task import metric_of
from analysis.evaluation.tasks.kinds import Head, TaskKind
from analysis.network import Network, prepare_network
from analysis.study import Study
from data_io.dataset import Dataset
from quant.progress import drain_steps

SIDE, CELLS, CLASSES, IMAGES = 64, 8, 3, 12


class TinyYolo(nn.Module):
    """Images (N, 1, 64, 64) to (N, 4 + 3, 64 cells): boxes of 0 to 64 pixels, scores of 0 to 1."""

    cells: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 8, stride=8)
        self.deep = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.head = nn.Conv2d(20, 4 + CLASSES, 1)
        steps = torch.arange(CELLS, dtype=torch.float32)
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        self.register_buffer("cells", torch.stack([columns.flatten(), rows.flatten()]))

    def forward(self, image: Tensor) -> Tensor:
        fine = F.silu(self.stem(image))
        deep = F.interpolate(F.silu(self.deep(fine)), scale_factor=2.0)
        raw = self.head(torch.cat([fine, deep], 1)).flatten(2)
        shares = raw.sigmoid()
        centre = (shares[:, :2] + self.cells) * 8
        sides = shares[:, 2:4] * 16 + 4
        return torch.cat([centre, sides, shares[:, 4:]], 1)


@dataclass(frozen=True, eq=False)
class BoxedImages:
    """Images in memory with boxes and classes as targets."""

    inputs: Tensor
    targets: dict[str, Tensor]

    def read(self, indices: Sequence[int]) -> tuple[Tensor, None]:
        return self.inputs[list(indices)], None

    def read_targets(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {name: one[list(indices)] for name, one in self.targets.items()}


@cache
def yolo_study() -> Study:
    """Return the calibrated study; its labels are the float network's boxes above a score."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = TinyYolo().eval()
        with torch.no_grad():
            model.head.weight.mul_(4.0)
            nn.init.constant_(model.head.get_parameter("bias")[4:], -1.0)
        images = torch.rand(IMAGES, 1, SIDE, SIDE) * torch.rand(IMAGES, 1, 1, 1) * 4
    network: Network = prepare_network("tiny-yolo", model, (1, SIDE, SIDE), "tiny-yolo")
    with torch.no_grad():
        found = decode((model(images),), Head.YOLO_V8, (SIDE, SIDE))
    kept = [one.scores > 0.3 for one in found]
    most = max(1, *(int(one.sum()) for one in kept))
    boxes, classes = torch.zeros(IMAGES, most, 4), torch.full((IMAGES, most), -1)
    for place, (one, own) in enumerate(zip(found, kept, strict=True)):
        boxes[place, : int(own.sum())] = one.boxes[own]
        classes[place, : int(own.sum())] = one.classes[own]
    source = BoxedImages(images, {"boxes": boxes, "classes": classes})
    data = Dataset("scenes", source, tuple(range(IMAGES)), False, (), lambda: "tiny")  # noqa: FBT003
    metric = metric_of(TaskKind.DETECTION, Head.AUTO, (1, SIDE, SIDE))
    calibrated = drain_steps(calibrate_network(network, data))
    return Study(network, data, data, calibrated=calibrated, metric=metric)
