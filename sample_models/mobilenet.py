"""A MobileNetV2-style classifier small enough to train on a laptop (Sandler et al. 2018)."""

from torch import Tensor, nn


def _conv_with_norm(
    c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, *, act: bool = True
) -> nn.Sequential:
    """Return a bias-free convolution, a batch norm, and a ReLU6 if `act` is set."""
    layers: list[nn.Module] = [
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
    ]
    if act:
        layers.append(nn.ReLU6())
    return nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; plus the input for equal shapes."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        self.skip = stride == 1 and c_in == c_out
        self.expand = _conv_with_norm(c_in, hidden, 1) if expansion != 1 else nn.Identity()
        self.depthwise = _conv_with_norm(hidden, hidden, 3, stride, groups=hidden)
        self.project = _conv_with_norm(hidden, c_out, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, H, W) to (N, c_out, H/stride, W/stride)."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


class FashionMobileNet(nn.Module):
    """28 x 28 grey images to 10 logits through eight inverted residuals."""

    # expansion, output channels, stride of each block
    BLOCKS = (
        (1, 16, 1),
        (4, 32, 2),
        (4, 32, 1),
        (4, 32, 1),
        (4, 64, 2),
        (4, 64, 1),
        (4, 64, 1),
        (4, 96, 1),
    )

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = _conv_with_norm(1, 16, 3)
        blocks: list[nn.Module] = []
        channels = 16
        for expansion, c_out, stride in self.BLOCKS:
            blocks.append(InvertedResidual(channels, c_out, stride, expansion))
            channels = c_out
        self.blocks = nn.Sequential(*blocks)
        self.head = _conv_with_norm(channels, 256, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 1, 28, 28) to logits (N, classes)."""
        logits: Tensor = self.classifier(self.pool(self.head(self.blocks(self.stem(x)))).flatten(1))
        return logits


def untrained_fashion_mobilenet() -> nn.Module:
    """Return the untrained network of the sample `fashion-mobilenet`."""
    return FashionMobileNet()
