"""Two layers, `a` and `b`, with every kind of connection between them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from sample_models.imbalanced import ClippedReLU
from tests.networks import Wired

Middle = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Connection:
    """How to build `a`, what is between, and `b`; the shape of one image; what the pair says."""

    a: Callable[[], nn.Module]
    middle: Callable[[], Middle]
    b: Callable[[], nn.Module]
    shape: tuple[int, ...]
    clips: int = 0
    sloped: bool = False

    def graph(self, seed: int = 0) -> FloatGraph:
        """Return the network with channels of `a` that differ by factors up to e^4."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            a, middle, b = self.a(), self.middle(), self.b()
            parts = {"middle": middle} if isinstance(middle, nn.Module) else {}
            model = Wired(lambda m, x: m.b(middle(m.a(x))), a=a, b=b, **parts)
            spread(a)
        return capture_graph(model.eval(), self.shape)

    def inputs(self, count: int = 8) -> Tensor:
        """Return random images, large enough to reach every clip."""
        return 3 * torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def spread(layer: nn.Module) -> None:
    """Multiply each output channel of a layer, weight and bias, by a factor of its own."""
    weight = layer.get_parameter("weight")
    factors = torch.exp(4 * torch.rand(len(weight)) - 2)
    weight.mul_(factors.reshape(-1, *[1] * (weight.dim() - 1)))
    if isinstance(layer.bias, nn.Parameter):
        layer.bias.mul_(factors)


class Cap(nn.Module):
    """A limit held as a buffer, and what to do with it."""

    cap: Tensor

    def __init__(self, cap: Tensor, apply: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.register_buffer("cap", cap)
        self.apply_cap = apply

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_cap(x, self.cap)


def conv(groups: int = 1, *, bias: bool = True) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(3 if groups == 1 else 4, 6, 3, groups=groups, bias=bias)


def wide(groups: int = 1, c_out: int = 4) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(6, c_out, 3, groups=groups)


def linear(c_in: int = 6, c_out: int = 4) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(c_in, c_out)


def each() -> Tensor:
    """Return a cap for each of six channels."""
    return torch.tensor([0.05, 0.5, 1.0, 2.0, 6.0, 40.0])


IMAGE, GROUPED, TOKENS = (3, 8, 8), (4, 8, 8), (5, 7)


def _bare() -> Middle:
    return lambda x: x


FOUND: dict[str, Connection] = {
    "nothing": Connection(conv(), _bare, wide(), IMAGE),
    "relu": Connection(conv(), lambda: F.relu, wide(), IMAGE),
    "relu in place": Connection(conv(), lambda: F.relu_, wide(), IMAGE),
    "no bias": Connection(conv(bias=False), lambda: F.relu, wide(), IMAGE),
    "clamp at zero": Connection(conv(), lambda: lambda x: x.clamp(min=0), wide(), IMAGE),
    "relu6": Connection(conv(), nn.ReLU6, wide(), IMAGE, clips=1),
    "relu6 in place": Connection(conv(), lambda: nn.ReLU6(inplace=True), wide(), IMAGE, clips=1),
    "hardtanh from 0": Connection(conv(), lambda: nn.Hardtanh(0.0, 1.5), wide(), IMAGE, clips=1),
    "clamp above": Connection(conv(), lambda: lambda x: x.clamp(max=1.5), wide(), IMAGE, clips=1),
    "caps": Connection(conv(), lambda: ClippedReLU(each()), wide(), IMAGE, clips=1),
    "caps of four axes": Connection(
        conv(),
        lambda: Cap(each().reshape(1, 6, 1, 1), torch.minimum),
        wide(),
        IMAGE,
        clips=1,
    ),
    "caps without a floor": Connection(
        conv(),
        lambda: Cap(each().reshape(6, 1, 1), lambda x, cap: torch.clamp(x, max=cap)),
        wide(),
        IMAGE,
        clips=1,
    ),
    "one cap, a tensor": Connection(
        conv(), lambda: Cap(torch.tensor(1.5), torch.minimum), wide(), IMAGE, clips=1
    ),
    "two clips": Connection(
        conv(), lambda: nn.Sequential(nn.ReLU6(), ClippedReLU(each())), wide(), IMAGE, clips=2
    ),
    "prelu, one slope": Connection(conv(), nn.PReLU, wide(), IMAGE, sloped=True),
    "prelu, six slopes": Connection(conv(), lambda: nn.PReLU(6), wide(), IMAGE, sloped=True),
    "leaky relu": Connection(conv(), lambda: nn.LeakyReLU(0.2), wide(), IMAGE, sloped=True),
    "padding": Connection(conv(), lambda: lambda x: F.pad(x.relu(), (1, 0, 2, 1)), wide(), IMAGE),
    "max pool": Connection(
        conv(), lambda: lambda x: F.max_pool2d(x.relu(), 3, 1, 1), wide(), IMAGE
    ),
    "average pool": Connection(conv(), lambda: lambda x: F.avg_pool2d(x, 2, 1), wide(), IMAGE),
    "dropout": Connection(conv(), lambda: nn.Dropout(0.5), wide(), IMAGE),
    "nearest upsampling": Connection(
        conv(), lambda: lambda x: F.interpolate(x, scale_factor=2.0), wide(), IMAGE
    ),
    "pool and flatten": Connection(
        conv(),
        lambda: nn.Sequential(nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        linear(),
        IMAGE,
        clips=1,
    ),
    "pool, flatten, clip": Connection(
        conv(),
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU6()),
        linear(),
        IMAGE,
        clips=1,
    ),
    "mean and view": Connection(
        conv(),
        lambda: lambda x: x.relu().mean((2, 3), keepdim=True).view(x.shape[0], -1),
        linear(),
        IMAGE,
    ),
    "mean without axes": Connection(
        conv(), lambda: lambda x: x.relu().mean((2, 3)), linear(), IMAGE
    ),
    "largest": Connection(conv(), lambda: lambda x: x.amax((2, 3)), linear(), IMAGE),
    "flat convolution": Connection(
        lambda: nn.Conv1d(3, 6, 3), nn.ReLU6, lambda: nn.Conv1d(6, 4, 3), (3, 9), clips=1
    ),
    "linear": Connection(linear(7, 6), _bare, linear(), (7,)),
    "linear, relu6": Connection(linear(7, 6), nn.ReLU6, linear(), (7,), clips=1),
    "tokens, relu6": Connection(linear(7, 6), nn.ReLU6, linear(), TOKENS, clips=1),
    "as many tokens as channels": Connection(linear(7, 6), nn.ReLU6, linear(), (6, 7), clips=1),
    "mean over tokens": Connection(
        linear(7, 6), lambda: lambda x: x.relu().mean(1), linear(), TOKENS
    ),
    "caps of features": Connection(
        linear(7, 6), lambda: Cap(each(), torch.minimum), linear(), TOKENS, clips=1
    ),
    "features of an image": Connection(linear(7, 6), nn.ReLU6, linear(), (3, 6, 7), clips=1),
    "from groups": Connection(conv(groups=2), nn.ReLU6, wide(), GROUPED, clips=1),
    "into groups": Connection(conv(), nn.ReLU6, wide(groups=3, c_out=9), IMAGE, clips=1),
    "groups into groups": Connection(
        conv(groups=2), nn.ReLU6, wide(groups=3, c_out=3), GROUPED, clips=1
    ),
    "into depthwise": Connection(conv(), nn.ReLU6, wide(groups=6, c_out=12), IMAGE, clips=1),
}


@cache
def joined(name: str) -> FloatGraph:
    """Return the captured network of that name; one for all tests, so none may change it."""
    return FOUND[name].graph()
