"""A U-Net (Ronneberger et al. 2015), small: a first step of 2, three scales, skips, upsampling."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 11
"""The canvas, and the ten garments."""


class DoubleConv(nn.Sequential):
    """Two convolutions of 3 x 3, each with a batch norm and ReLU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
        )


class FashionSegmenter(nn.Module):
    """Images (N, 1, 96, 96) to scores of each pixel, (N, 11, 96, 96)."""

    WIDTHS = (16, 32, 64)

    def __init__(self) -> None:
        super().__init__()
        first, second, third = self.WIDTHS
        self.stem = nn.Conv2d(1, first, 3, stride=2, padding=1)
        self.down1, self.down2 = DoubleConv(first, first), DoubleConv(first, second)
        self.bottom = DoubleConv(second, third)
        self.up2 = DoubleConv(third + second, second)
        self.up1 = DoubleConv(second + first, first)
        self.classes = nn.Conv2d(first, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 1, 96, 96) to (N, 11, 96, 96); scores are computed at 48 x 48 and enlarged."""
        one = self.down1(F.relu(self.stem(x)))
        two = self.down2(F.max_pool2d(one, 2))
        deep = self.bottom(F.max_pool2d(two, 2))
        deep = self.up2(torch.cat([F.interpolate(deep, scale_factor=2.0), two], 1))
        deep = self.up1(torch.cat([F.interpolate(deep, scale_factor=2.0), one], 1))
        return F.interpolate(
            self.classes(deep), scale_factor=2.0, mode="bilinear", align_corners=False
        )


def untrained_fashion_segmenter() -> FashionSegmenter:
    """Return the untrained network of the sample `fashion-segmenter`."""
    return FashionSegmenter()
