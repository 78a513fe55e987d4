"""A detector like YOLO v8 (Jocher et al. 2023), small: SiLU, upsampling, concat, two scales."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 96
CLASSES = 10
STRIDES = (8, 16)
ANCHORS = (24.0, 44.0)
"""The side in pixels of a box whose raw width is 0, one for each stride (our choice)."""

RARE = -4.6
"""The raw score at the start of training: a chance of 1 in 100."""


class ConvSilu(nn.Sequential):
    """A convolution without bias, a batch norm, and SiLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(c_out),
            nn.SiLU(),
        )


class SplitBlock(nn.Module):
    """Split the channels in halves, refine one twice, and concatenate all, as C2f does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.enter = ConvSilu(channels, channels, 1)
        self.first, self.second = ConvSilu(half, half), ConvSilu(half, half)
        self.leave = ConvSilu(channels + half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        kept, refined = self.enter(x).chunk(2, 1)
        new = refined + self.second(self.first(refined))
        out: Tensor = self.leave(torch.cat([kept, refined, new], 1))
        return out


class FashionDetector(nn.Module):
    """Images (N, 1, 96, 96) to (N, 4 + 10, 180): centre x, y, width, height in pixels, scores."""

    cells: Tensor
    strides: Tensor
    anchors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvSilu(1, 8, 3, 2), ConvSilu(8, 16, 3, 2), SplitBlock(16))
        self.stage8 = nn.Sequential(ConvSilu(16, 32, 3, 2), SplitBlock(32))
        self.stage16 = nn.Sequential(ConvSilu(32, 64, 3, 2), SplitBlock(64))
        self.merge = nn.Sequential(ConvSilu(96, 48, 1), SplitBlock(48))
        self.head8 = nn.Sequential(ConvSilu(48, 48), nn.Conv2d(48, 4 + CLASSES, 1))
        self.head16 = nn.Sequential(ConvSilu(64, 48), nn.Conv2d(48, 4 + CLASSES, 1))
        for head in (self.head8, self.head16):  # few cells hold a garment (Lin et al. 2017)
            nn.init.constant_(head.get_parameter("1.bias")[4:], RARE)
        cells, strides, anchors = _cells_of_image()
        self.register_buffer("cells", cells, persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        self.register_buffer("anchors", anchors, persistent=False)

    def forward_raw(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 96, 96) to raw numbers (N, 14, 180) of both scales."""
        fine = self.stage8(self.stem(x))
        coarse = self.stage16(fine)
        merged = self.merge(torch.cat([F.interpolate(coarse, scale_factor=2.0), fine], 1))
        raw = self.head8(merged), self.head16(coarse)
        return torch.cat([one.flatten(2) for one in raw], 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 1, 96, 96) to decoded boxes and scores, (N, 14, 180)."""
        return self.decode(self.forward_raw(x))

    def decode(self, raw: Tensor) -> Tensor:
        """Map raw numbers (N, 14, 180) to boxes in pixels and scores of 0 to 1.

        A centre is (2 s - 0.5 + cell) strides, a side 4 s^2 anchors, as in YOLO v5; s is the
        sigmoid.
        """
        shares = raw.sigmoid()
        centre = (shares[:, :2] * 2 - 0.5 + self.cells) * self.strides
        sides = (shares[:, 2:4] * 2) ** 2 * self.anchors
        return torch.cat([centre, sides, shares[:, 4:]], 1)


def _cells_of_image() -> tuple[Tensor, Tensor, Tensor]:
    """Return the places x, y of the cells (2, 180), their strides and their anchors (1, 180)."""
    cells, strides, anchors = [], [], []
    for stride, anchor in zip(STRIDES, ANCHORS, strict=True):
        steps = torch.arange(SIDE // stride, dtype=torch.float32)
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        cells.append(torch.stack([columns.flatten(), rows.flatten()]))
        strides.append(torch.full((1, len(steps) ** 2), float(stride)))
        anchors.append(torch.full((1, len(steps) ** 2), anchor))
    return torch.cat(cells, 1), torch.cat(strides, 1), torch.cat(anchors, 1)


def untrained_fashion_detector() -> FashionDetector:
    """Return the untrained network of the sample `fashion-detector`."""
    return FashionDetector()
