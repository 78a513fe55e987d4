"""Architectures that people bring, at small size: vision; `networks_wild_sequences` has more."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.inputs import Input


@dataclass(frozen=True)
class Wild:
    """An architecture: how to build it, what it takes, and what it computes."""

    build: Callable[[], nn.Module]
    inputs: tuple[Input, ...]


def image(size: int = 16, channels: int = 3) -> tuple[Input, ...]:
    """Return the description of one image."""
    return (Input("x", (channels, size, size)),)


def block(
    into: int,
    out: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return a convolution, a batch norm and a function."""
    conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), act())


def classifier(width: int) -> nn.Sequential:
    """Return global pooling and a linear layer to 5 classes."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5))


class Residual(nn.Module):
    """A basic (18) or bottleneck (50) block of ResNet; with groups, one of RegNet."""

    def __init__(self, into: int, out: int, stride: int, *, deep: bool, groups: int = 1) -> None:
        super().__init__()
        middle = out // 2 if deep else out
        parts = [block(into, middle, 1 if deep else 3, 1 if deep else stride)]
        if deep:
            parts.append(block(middle, middle, 3, stride, groups))
        last = nn.Conv2d(middle, out, 1 if deep else 3, padding=0 if deep else 1, bias=False)
        self.body = nn.Sequential(*parts, last, nn.BatchNorm2d(out))
        self.skip = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Add the body to the shortcut."""
        return F.relu(self.body(x) + self.skip(x))


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int, gate: type[nn.Module]) -> None:
        super().__init__()
        self.down, self.up, self.gate = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1), gate()

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels by what their means say."""
        scale: Tensor = self.gate(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))
        return x * scale


class Inverted(nn.Module):
    """An inverted residual of MobileNetV2, V3 or EfficientNet."""

    def __init__(self, width: int, act: type[nn.Module], gate: type[nn.Module] | None) -> None:
        super().__init__()
        self.expand = block(width, 2 * width, 1, act=act)
        self.depth = block(2 * width, 2 * width, 3, groups=2 * width, act=act)
        self.squeeze = Squeeze(2 * width, gate) if gate else nn.Identity()
        self.project = nn.Sequential(
            nn.Conv2d(2 * width, width, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the projection to the input."""
        y: Tensor = self.project(self.squeeze(self.depth(self.expand(x))))
        return x + y


class Shuffle(nn.Module):
    """A unit of ShuffleNetV2: split, convolve one half, join, shuffle."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.body = nn.Sequential(block(half, half, 1), block(half, half, groups=half))

    def forward(self, x: Tensor) -> Tensor:
        """Shuffle the channels of both halves."""
        one, two = x.chunk(2, 1)
        y = torch.cat([one, self.body(two)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Dense(nn.Module):
    """A dense block: norm, function and convolution, each reading all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 + 4 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Join the input with what every layer adds."""
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return x


class Inception(nn.Module):
    """Four branches of GoogLeNet."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three, self.five = block(8, 4, 1), block(8, 4, 3), block(8, 4, 5)
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), block(8, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Join the branches."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class ConvNext(nn.Module):
    """A block of ConvNeXt: depthwise 7x7, norm over channels last, two linear layers, a scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.up = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 2 * width)
        self.down, self.gamma = nn.Linear(2 * width, width), nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Add the scaled block to the input."""
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        found: Tensor = x + y.permute(0, 3, 1, 2)
        return found


class UNet(nn.Module):
    """One step down and one up, with a skip; the answer is an image."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = block(3, 8), block(8, 16, stride=2)
        self.up, self.out = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a class for each pixel."""
        skip = self.down(x)
        found: Tensor = self.out(torch.cat([skip, self.up(self.deep(skip))], 1))
        return found


class Yolo(nn.Module):
    """Two scales of boxes with SiLU, upsampling and a spatial pyramid of max-pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = (
            block(3, 8, stride=2, act=nn.SiLU),
            block(8, 8, stride=2, act=nn.SiLU),
        )
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (3, 5))
        self.join, self.small, self.large = (
            block(24, 8, 1, act=nn.SiLU),
            nn.Conv2d(16, 6, 1),
            nn.Conv2d(8, 6, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the boxes of both scales as rows."""
        high = self.stem(x)
        low = self.deep(high)
        low = self.join(torch.cat([low, *(pool(low) for pool in self.pools)], 1))
        up = F.interpolate(low, scale_factor=2.0, mode="nearest")
        boxes = [self.small(torch.cat([up, high], 1)), self.large(low)]
        rows = torch.cat([box.flatten(2) for box in boxes], 2).transpose(1, 2)
        return torch.cat([rows[..., :4].sigmoid() * 2, rows[..., 4:]], 2)


class DeepLab(nn.Module):
    """Dilated convolutions, pooling of the image, bilinear upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.body = block(3, 8, stride=2)
        self.rates = nn.ModuleList(nn.Conv2d(8, 4, 3, padding=r, dilation=r) for r in (1, 2, 3))
        self.whole, self.out = nn.Conv2d(8, 4, 1), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a class for each pixel."""
        y = self.body(x)
        pooled = F.interpolate(
            self.whole(F.adaptive_avg_pool2d(y, 1)), size=y.shape[2:], mode="bilinear"
        )
        z = torch.cat([*(rate(y) for rate in self.rates), pooled], 1)
        return F.interpolate(
            self.out(F.relu(z)), size=(16, 16), mode="bilinear", align_corners=False
        )


class Ssd(nn.Module):
    """Heads at two depths that return boxes and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = block(3, 8, stride=2), block(8, 8, stride=2)
        self.boxes = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.scores = nn.ModuleList(nn.Conv2d(8, 6, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (N, places, 4) and scores (N, places, 3)."""
        one = self.one(x)
        levels = (one, self.two(one))
        pairs = zip(self.boxes, levels, strict=True)
        boxes = [head(y).permute(0, 2, 3, 1).reshape(y.shape[0], -1, 4) for head, y in pairs]
        pairs = zip(self.scores, levels, strict=True)
        scores = [head(y).permute(0, 2, 3, 1).reshape(y.shape[0], -1, 3) for head, y in pairs]
        return torch.cat(boxes, 1), torch.cat(scores, 1).softmax(-1)


def small(*parts: nn.Module, width: int) -> nn.Module:
    """Return a stem of 8 channels, parts and a classifier."""
    return nn.Sequential(block(3, 8), *parts, classifier(width))


VISION: dict[str, Wild] = {
    "ResNet-18": Wild(lambda: small(Residual(8, 16, 2, deep=False), width=16), image()),
    "ResNet-50": Wild(lambda: small(Residual(8, 16, 2, deep=True), width=16), image()),
    "RegNet": Wild(lambda: small(Residual(8, 16, 2, deep=True, groups=4), width=16), image()),
    "MobileNetV2": Wild(lambda: small(Inverted(8, nn.ReLU6, None), width=8), image()),
    "MobileNetV3": Wild(lambda: small(Inverted(8, nn.Hardswish, nn.Hardsigmoid), width=8), image()),
    "EfficientNet": Wild(lambda: small(Inverted(8, nn.SiLU, nn.Sigmoid), width=8), image()),
    "ShuffleNetV2": Wild(lambda: small(Shuffle(8), width=8), image()),
    "DenseNet": Wild(lambda: small(Dense(), width=20), image()),
    "GoogLeNet": Wild(lambda: small(Inception(), width=16), image()),
    "ConvNeXt": Wild(lambda: small(ConvNext(8), width=8), image()),
    "U-Net": Wild(UNet, image()),
    "YOLO": Wild(Yolo, image()),
    "DeepLab": Wild(DeepLab, image()),
    "SSD": Wild(Ssd, image()),
    "Super-resolution": Wild(
        lambda: nn.Sequential(
            block(1, 8, 5, act=nn.Tanh), nn.Conv2d(8, 4, 3, padding=1), nn.PixelShuffle(2)
        ),
        image(channels=1),
    ),
    "DS-CNN": Wild(
        lambda: nn.Sequential(block(1, 8), block(8, 8, groups=8), block(8, 8, 1), classifier(8)),
        image(channels=1),
    ),
    "Auto-encoder": Wild(
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 3, 2, 1, 1), nn.Sigmoid()
        ), image(channels=1),
    ),
}  # fmt: skip
