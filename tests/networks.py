"""Small seeded networks: between them every way in which real networks are put together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from sample_models.efficientnet_lite import untrained_efficientnet_lite0
from sample_models.imbalanced import unbalance_channels
from sample_models.mobilenet import FashionMobileNet, untrained_fashion_mobilenet
from sample_models.resnet import untrained_fashion_resnet
from sample_models.vit import untrained_fashion_vit

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """How to build a network, and the shape of one image of its input."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]

    def model(self, seed: int = 0) -> nn.Module:
        """Return the network in eval mode, with random weights and batch-norm statistics."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.build().eval()
            randomize_batch_norms(model)
        return model

    def inputs(self, count: int, seed: int = 1) -> Tensor:
        """Return `count` random images."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, *self.shape, generator=generator)


def randomize_batch_norms(model: nn.Module) -> None:
    """Give batch norms statistics of a trained kind, some of their gammas negative."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            if module.running_mean is not None and module.running_var is not None:
                module.running_mean.normal_(0, 0.5)
                module.running_var.uniform_(0.3, 2.0)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                module.weight.data[:1] *= -1
                nn.init.normal_(module.bias, 0, 0.5)


class Wired(nn.Module):
    """Named parts and a function that wires them: fits every small network below."""

    def __init__(self, wire: Callable[["Wired", Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.wire = wire
        for name, part in parts.items():
            self.add_module(name, part)

    def __getattr__(self, name: str) -> Network:  # type: ignore[override]
        return cast("Network", super().__getattr__(name))

    def forward(self, x: Tensor) -> Tensor:
        return self.wire(self, x)


def conv_bn(c_in: int, c_out: int, kernel: int = 3, groups: int = 1) -> nn.Sequential:
    """Return a bias-free convolution that keeps the size, and its batch norm."""
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


def plain() -> nn.Module:
    """Conv, batch norm, ReLU6; depthwise with bias; average pool; linear."""
    return nn.Sequential(
        *conv_bn(3, 8),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


def kitchen() -> nn.Module:
    """The net of the golden plan: conv-bn-relu, residual, max and average pool, concat, linear."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.relu(m.bn1(m.conv1(x)))
        x = m.relu(m.bn2(m.conv2(x)) + x)
        x = m.max_pool(x)
        x = torch.cat([m.left(x), m.right(x)], 1)
        return m.linear(m.average_pool(x).flatten(1))

    return Wired(
        wire,
        conv1=nn.Conv2d(3, 8, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(8),
        conv2=nn.Conv2d(8, 8, 3, padding=1, bias=False),
        bn2=nn.BatchNorm2d(8),
        relu=nn.ReLU(),
        max_pool=nn.MaxPool2d(2),
        left=nn.Conv2d(8, 4, 1),
        right=nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU()),
        average_pool=nn.AvgPool2d(4),
        linear=nn.Linear(8, 5),
    )


def pre_activation() -> nn.Module:
    """Batch norm and ReLU before the convolution; the skip takes the value before them."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.stem(x)
        x = x + m.conv1(m.relu(m.bn1(x)))
        x = x + m.conv2(m.relu(m.bn2(x)))
        return m.linear(m.relu(x).mean((2, 3)))

    return Wired(
        wire,
        stem=nn.Conv2d(3, 6, 3, padding=1),
        bn1=nn.BatchNorm2d(6),
        conv1=nn.Conv2d(6, 6, 3, padding=1, bias=False),
        bn2=nn.BatchNorm2d(6),
        conv2=nn.Conv2d(6, 6, 1),
        relu=nn.ReLU(),
        linear=nn.Linear(6, 4),
    )


def gated() -> nn.Module:
    """SiLU, a squeeze-and-excite gate with a sigmoid, and hard-swish."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        x = F.silu(m.conv1(x))
        x = x * torch.sigmoid(m.squeeze(F.adaptive_avg_pool2d(x, 1)))
        return m.linear(F.hardswish(m.conv2(x)).flatten(1))

    return Wired(
        wire,
        conv1=conv_bn(3, 6),
        squeeze=nn.Conv2d(6, 6, 1),
        conv2=nn.Conv2d(6, 4, 3, stride=2, padding=1),
        linear=nn.Linear(64, 4),
    )


def attention() -> nn.Module:
    """Layer norm and fused attention over eight tokens, a residual, GELU."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        h = m.norm(x)
        q, k, v = (part(h).unflatten(2, (2, 6)).transpose(1, 2) for part in (m.q, m.k, m.v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + m.out(mixed)
        return m.head(F.gelu(x).mean(1))

    parts = {name: nn.Linear(12, 12) for name in ("q", "k", "v", "out")}
    return Wired(wire, norm=nn.LayerNorm(12), head=nn.Linear(12, 3), **parts)


def self_attention() -> nn.Module:
    """Attention whose query, key and value are one tensor."""
    return Wired(lambda m, x: m.out(F.scaled_dot_product_attention(x, x, x)), out=nn.Linear(4, 4))


def one_dimensional() -> nn.Module:
    """Convolutions and a batch norm over a signal."""
    return nn.Sequential(
        nn.Conv1d(2, 6, 5, stride=2, padding=2),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Conv1d(6, 6, 3, padding="same", groups=6),
        nn.AvgPool1d(2),
        nn.Flatten(),
        nn.Linear(48, 3),
    )


def transposed(groups: int = 1) -> nn.Module:
    """A transposed convolution with its batch norm, then a plain one."""
    return nn.Sequential(
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=groups),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        nn.Conv2d(6, 2, 3, dilation=2),
    )


def grouped() -> nn.Module:
    """Grouped convolutions with a channel shuffle between them."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.act(m.conv1(x))
        n, c, h, w = x.shape
        x = x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return m.act(m.conv2(x)).amax((2, 3))

    return Wired(
        wire, conv1=conv_bn(4, 8, groups=2), conv2=conv_bn(8, 8, groups=2), act=nn.LeakyReLU(0.1)
    )


def shared() -> nn.Module:
    """One convolution and one ReLU called twice, with a batch norm of its own each time."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.relu(m.bn1(m.conv(x)))
        return m.relu(m.bn2(m.conv(x)))

    return Wired(
        wire,
        conv=nn.Conv2d(3, 3, 3, padding=1),
        bn1=nn.BatchNorm2d(3),
        bn2=nn.BatchNorm2d(3),
        relu=nn.ReLU(),
    )


def padded() -> nn.Module:
    """Explicit zero padding as in TensorFlow, and a view that asks for the batch size."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        x = F.relu(m.conv1(F.pad(x, (0, 1, 0, 1))))
        x = m.conv2(m.pad(x))
        return m.linear(x.view(x.size(0), -1))

    return Wired(
        wire,
        conv1=nn.Conv2d(3, 4, 3, stride=2),
        pad=nn.ZeroPad2d(1),
        conv2=nn.Conv2d(4, 4, 3),
        linear=nn.Linear(64, 3),
    )


def perceptron() -> nn.Module:
    """Linear layers with batch norms; one without scale and shift, one without bias before it."""
    return nn.Sequential(
        nn.Linear(7, 9),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Linear(9, 8, bias=False),
        nn.BatchNorm1d(8, affine=False),
        nn.Hardtanh(-0.5, 2.0),
        nn.Linear(8, 3),
    )


class Functional(nn.Module):
    """Convolutions called with parameters of the network itself, beside a parameter named bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.randn(3, 3, 3, 3)) for _ in range(2))
        self.bias = nn.Parameter(torch.randn(3, 1, 1))
        self.bn1, self.bn2 = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(F.conv2d(x, self.first, padding=1)) + self.bias
        out: Tensor = self.bn2(F.conv2d(x, self.second, padding=1))
        return out


def scaled() -> nn.Module:
    """Fused scalings, clips with one limit, and a batch norm that nothing can take in."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        x = (m.conv(x) * 0.25).clamp(min=-0.3)
        x = m.bn(torch.cat([x, x + x], 1))
        return m.prelu(x).clamp(max=1.5)

    return Wired(wire, conv=nn.Conv2d(3, 3, 3), bn=nn.BatchNorm2d(6), prelu=nn.PReLU(6))


SMALL = {
    "plain": Case(plain, (3, 8, 8)),
    "kitchen": Case(kitchen, (3, 8, 8)),
    "pre-activation": Case(pre_activation, (3, 8, 8)),
    "gated": Case(gated, (3, 8, 8)),
    "attention": Case(attention, (8, 12)),
    "self-attention": Case(self_attention, (2, 5, 4)),
    "one-dimensional": Case(one_dimensional, (2, 32)),
    "transposed": Case(transposed, (4, 5, 5)),
    "transposed-grouped": Case(partial(transposed, 2), (4, 5, 5)),
    "grouped": Case(grouped, (4, 6, 6)),
    "shared": Case(shared, (3, 6, 6)),
    "padded": Case(padded, (3, 8, 8)),
    "perceptron": Case(perceptron, (7,)),
    "functional": Case(Functional, (3, 6, 6)),
    "scaled": Case(scaled, (3, 6, 6)),
    "bare": Case(partial(nn.Linear, 5, 4), (5,)),
}


def unbalanced() -> nn.Module:
    """Return the MobileNet whose ReLU6 cut every channel at a height of its own."""
    return unbalance_channels(FashionMobileNet())


SAMPLES = {
    "fashion-mobilenet": Case(untrained_fashion_mobilenet, (1, 28, 28)),
    "fashion-mobilenet-imbalanced": Case(unbalanced, (1, 28, 28)),
    "fashion-resnet": Case(untrained_fashion_resnet, (1, 28, 28)),
    "fashion-vit": Case(untrained_fashion_vit, (1, 28, 28)),
    "efficientnet-lite0": Case(untrained_efficientnet_lite0, (3, 64, 64)),
}
CASES = SMALL | SAMPLES
DISTINCT = (*SMALL, "fashion-mobilenet-imbalanced", "fashion-vit")
"""Names for a law of all networks: of the samples, clips of channels and tokens are in no other."""


@cache
def graph_of(name: str) -> FloatGraph:
    """Return the captured network of that name; one for all tests, so none may change it."""
    case = CASES[name]
    return capture_graph(case.model(), case.shape)
