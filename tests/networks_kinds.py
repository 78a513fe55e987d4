"""Small networks of each kind that once came in wrong: what people write, and its right values."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

Run = Callable[[Any, Tensor], Any]


def stored(value: Tensor) -> nn.Parameter:
    """Return a parameter, of whole numbers too."""
    return nn.Parameter(value, requires_grad=value.is_floating_point())


class Written(nn.Module):
    """A network whose forward is a function of itself and its input."""

    def __init__(self, run: Run, **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, stored(part) if isinstance(part, Tensor) else part)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the function returns."""
        result: Tensor = self.run(self, x)
        return result


@dataclass(frozen=True)
class Case:
    """A network, the shape of one input, the shapes of its weights and the MACs of one input."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    weights: tuple[tuple[int, ...], ...]
    macs: int
    kind: str = "float32"


def random(*shape: int) -> Tensor:
    """Return normal numbers of that shape."""
    return torch.randn(shape)


def head(body: nn.Module) -> nn.Module:
    """Return a network of a body of 8 channels and a classifier of 5."""
    return nn.Sequential(body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


def conv() -> nn.Conv2d:
    """Return a convolution from 3 to 8 channels."""
    return nn.Conv2d(3, 8, 3, padding=1)


def old_weight_norm() -> nn.Module:
    """Return a convolution with the weight norm that torch advises against, and people use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: nn.Module = nn.utils.weight_norm(conv())
    return found


def standardized(m: Any, x: Tensor) -> Tensor:
    """Convolve with a weight that is standardized anew at every call."""
    w = m.conv.weight
    w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
    return F.conv2d(x, w, m.conv.bias, padding=1)


def clip_part(m: Any, x: Tensor) -> Any:
    """Clip some channels of a value in place, and read the whole value."""
    x = m.a(x)
    x[:, :4].clamp_(0, 1)
    return m.b(x).mean((2, 3))


def frozen(m: Any, x: Tensor) -> Any:
    """Run a part under torch.no_grad."""
    with torch.no_grad():
        x = m.a(x).relu()
    return m.b(x.mean((2, 3)))


def steps(m: Any, x: Tensor) -> Any:
    """Run a cell step by step."""
    state = (x.new_zeros(len(x), 6), x.new_zeros(len(x), 6))
    for place in range(x.shape[1]):
        state = m.cell(x[:, place], state)
    return m.head(state[0] + state[1])


def frames(m: Any, x: Tensor) -> Any:
    """Merge the frames of a film with the batch."""
    y = m.b(F.max_pool2d(m.a(x.flatten(0, 1)).relu(), 2)).mean((2, 3))
    return m.head(y.unflatten(0, x.shape[:2]).mean(1))


def windows(m: Any, x: Tensor) -> Any:
    """Merge windows of tokens with the batch."""
    x = m.embed(x).permute(0, 2, 3, 1)
    n, h, w, c = x.shape
    x = x.view(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
    return m.head(F.relu(m.mix(x)).view(n, -1, c).mean(1))


def spectrum(m: Any, x: Tensor) -> Any:
    """Leave and enter the real numbers by a Fourier transform."""
    return m.out(torch.fft.rfft(m.body(x)).abs())


IMAGE = (3, 8, 8)
CONV, LINEAR = (8, 3, 3, 3), (5, 8)
CONV_MACS, LINEAR_MACS = 64 * 8 * 27, 40
BOTH = CONV_MACS + LINEAR_MACS

CASES: dict[str, Case] = {
    "weight_norm": Case(
        lambda: head(parametrizations.weight_norm(conv())), IMAGE, (CONV, LINEAR), BOTH
    ),
    "old weight_norm": Case(lambda: head(old_weight_norm()), IMAGE, (CONV, LINEAR), BOTH),
    "spectral_norm": Case(
        lambda: head(parametrizations.spectral_norm(conv())), IMAGE, (CONV, LINEAR), BOTH
    ),
    "weight standardization": Case(
        lambda: head(Written(standardized, conv=conv())), IMAGE, (CONV, LINEAR), BOTH
    ),
    "whole weights times a scale": Case(
        lambda: Written(
            lambda m, x: F.linear(x, m.q.round() * m.s), q=random(5, 8) * 9, s=random(5, 1)
        ), (8,), (LINEAR,), 40,
    ),
    "packed weights": Case(
        lambda: Written(
            lambda m, x: F.linear(x, torch.stack([m.q & 15, m.q >> 4], -1).flatten(1) * m.s),
            q=torch.randint(0, 256, (5, 4)), s=random(5, 1),
        ), (8,), (LINEAR,), 40,
    ),
    "linear of a transpose": Case(
        lambda: Written(lambda m, x: F.linear(x, m.w.t()), w=random(8, 5)), (8,), (LINEAR,), 40
    ),
    "einsum": Case(
        lambda: Written(lambda m, x: torch.einsum("ntc,oc->nto", x, m.w), w=random(5, 8)),
        (6, 8), (LINEAR,), 240,
    ),
    "einsum to heads": Case(
        lambda: Written(lambda m, x: torch.einsum("...c,hdc->...hd", x, m.w), w=random(2, 3, 8)),
        (6, 8), ((6, 8),), 6 * 48,
    ),
    "einsum over heads": Case(
        lambda: Written(lambda m, x: torch.einsum("nthd,hdo->nto", x, m.w), w=random(2, 4, 5)),
        (6, 2, 4), ((5, 8),), 240,
    ),
    "experts": Case(
        lambda: Written(lambda m, x: torch.einsum("nei,eio->neo", x, m.w), w=random(3, 8, 5)),
        (3, 8), ((15, 8, 1),), 120,
    ),
    "experts by bmm": Case(
        lambda: Written(
            lambda m, x: torch.bmm(x.transpose(0, 1), m.w).transpose(0, 1), w=random(3, 8, 5)
        ),
        (3, 8), ((15, 8, 1),), 120,
    ),
    "bilinear": Case(
        lambda: Written(lambda m, x: m.pair(x[:, :3], x[:, 3:]), pair=nn.Bilinear(3, 4, 5)),
        (7,), ((20, 3),), 60 + 20,
    ),
    "matrix from the left": Case(
        lambda: Written(lambda m, x: m.w @ x, w=random(5, 8)), (8, 6), (LINEAR,), 240
    ),
    "unfold and multiply": Case(
        lambda: Written(lambda m, x: m.w @ F.unfold(x, 3), w=random(5, 27)), IMAGE,
        ((5, 27),), 36 * 135,
    ),
    "baddbmm": Case(
        lambda: Written(
            lambda m, x: torch.baddbmm(x, x, m.w.expand(x.shape[0], 6, 6)), w=random(6, 6)
        ),
        (6, 6), ((6, 6),), 216,
    ),
    "matrix with a batch axis": Case(
        lambda: Written(lambda m, x: x @ m.w, w=random(1, 8, 5)), (6, 8), (LINEAR,), 240
    ),
    "experts for heads": Case(
        lambda: Written(lambda m, x: x @ m.w, w=random(2, 8, 5)), (2, 6, 8), ((10, 8, 1),), 480
    ),
    "vector": Case(lambda: Written(lambda m, x: x @ m.w, w=random(8)), (6, 8), ((1, 8),), 48),
    "vector first": Case(
        lambda: Written(lambda m, x: m.w @ x, w=random(6)), (6, 8), ((1, 6),), 48
    ),
    "inner": Case(
        lambda: Written(lambda m, x: torch.inner(x, m.w), w=random(5, 8)), (6, 8), (LINEAR,), 240
    ),
    "addmm of shares": Case(
        lambda: Written(
            lambda m, x: torch.addmm(m.b, x, m.w, alpha=3, beta=0.5), w=random(8, 5), b=random(5)
        ), (8,), (LINEAR,), 40,
    ),
    "cells": Case(
        lambda: Written(steps, cell=nn.LSTMCell(8, 6), head=nn.Linear(6, 3)), (2, 8),
        ((24, 8), (24, 6)) * 2 + ((3, 6),), 2 * 24 * 14 + 18,
    ),
    "last cell": Case(
        lambda: Written(
            lambda m, x: m.head(m.body(x)[1][1][-1]), body=nn.LSTM(8, 6, batch_first=True),
            head=nn.Linear(6, 3),
        ), (5, 8), ((24, 8), (24, 6), (3, 6)), 5 * 24 * 14 + 18,
    ),
    "projected states": Case(
        lambda: Written(
            lambda m, x: m.head(m.body(x)[0][:, -1]),
            body=nn.LSTM(8, 6, batch_first=True, proj_size=4), head=nn.Linear(4, 3),
        ), (5, 8), ((24, 8), (24, 4), (4, 6), (3, 4)), 5 * (24 * 12 + 24) + 12,
    ),
    "projected both ways, last states": Case(
        lambda: Written(
            lambda m, x: torch.cat([y.transpose(0, 1).flatten(1) for y in m.body(x)[1]], 1),
            body=nn.LSTM(8, 6, 2, bias=False, batch_first=True, bidirectional=True, proj_size=4),
        ), (5, 8), ((24, 8), (24, 4), (4, 6)) * 4, 2 * 2 * 5 * (24 * 12 + 24),
    ),
    "frames": Case(
        lambda: Written(
            frames, a=conv(), b=nn.Conv2d(8, 8, 3, padding=1, groups=8), head=nn.Linear(8, 5)
        ), (2, *IMAGE), (CONV, (8, 1, 3, 3), LINEAR), 2 * (CONV_MACS + 16 * 72) + 40,
    ),
    "one number an image": Case(
        lambda: Written(lambda m, x: m.net(x).amax(1), net=head(conv())), IMAGE, (CONV, LINEAR),
        BOTH,
    ),
    "3-D convolutions": Case(
        lambda: nn.Sequential(
            nn.Conv3d(1, 4, 3, padding="same"), nn.BatchNorm3d(4), nn.ReLU(),
            nn.ConvTranspose3d(4, 4, 2, 2), nn.BatchNorm3d(4), nn.ReLU(), nn.Conv3d(4, 2, 1),
        ), (1, 4, 4, 4), ((4, 1, 3, 3, 3), (4, 4, 2, 2, 2), (2, 4, 1, 1, 1)), 6912 + 8192 + 4096,
    ),
    "clip on a view": Case(
        lambda: Written(clip_part, a=conv(), b=nn.Conv2d(8, 5, 1)), IMAGE,
        (CONV, (5, 8, 1, 1)), CONV_MACS + 64 * 40,
    ),
    "no_grad": Case(
        lambda: Written(frozen, a=conv(), b=nn.Linear(8, 5)), IMAGE, (CONV, LINEAR), BOTH
    ),
    "half inside": Case(
        lambda: Written(lambda m, x: m.net(x.half()).float(), net=head(conv()).half()),
        IMAGE, (CONV, LINEAR), BOTH,
    ),
    "double": Case(
        lambda: Written(lambda m, x: m.net(x.double()).float(), net=head(conv()).double()),
        IMAGE, (CONV, LINEAR), BOTH,
    ),
    "whole pixels": Case(
        lambda: Written(lambda m, x: m.net(x.float() / 255), net=head(conv())),
        IMAGE, (CONV, LINEAR), BOTH, "uint8",
    ),
    "spectrum": Case(
        lambda: Written(spectrum, body=nn.Linear(8, 8), out=nn.Linear(5, 5)),
        (8,), ((8, 8), (5, 5)), 64 + 25,
    ),
    "merged windows": Case(
        lambda: Written(
            windows, embed=nn.Conv2d(3, 8, 2, 2), mix=nn.Linear(8, 8), head=nn.Linear(8, 5)
        ),
        IMAGE, ((8, 3, 2, 2), (8, 8), LINEAR), 16 * 96 + 16 * 64 + 40,
    ),
    "embedding bag": Case(
        lambda: Written(
            lambda m, x: m.head(m.table(x)), table=nn.EmbeddingBag(20, 8, mode="sum"),
            head=nn.Linear(8, 5),
        ), (4,), ((20, 8), LINEAR), 40, "int64",
    ),
    "embedding bag with a padding": Case(
        lambda: Written(
            lambda m, x: m.head(F.embedding_bag(x, m.table, mode="sum", padding_idx=1)),
            table=random(3, 8), head=nn.Linear(8, 5),
        ), (4,), ((3, 8), LINEAR), 40, "int64",
    ),
    "mean of a bag with a padding": Case(
        lambda: Written(
            lambda m, x: m.head(F.embedding_bag(x, m.table, mode="mean", padding_idx=1)),
            table=random(3, 8), head=nn.Linear(8, 5),
        ), (4,), ((3, 8), LINEAR), 40, "int64",
    ),
    "maximum of a bag with a padding": Case(
        lambda: Written(
            lambda m, x: m.head(F.embedding_bag(x, m.table, mode="max", padding_idx=1)),
            table=random(3, 8), head=nn.Linear(8, 5),
        ), (4,), ((3, 8), LINEAR), 40, "int64",
    ),
    "lone clip": Case(
        lambda: head(nn.Sequential(conv(), nn.MaxPool2d(2), nn.ReLU6())), IMAGE,
        (CONV, LINEAR), BOTH,
    ),
    "best scores": Case(
        lambda: Written(lambda m, x: m.net(x).topk(3, 1)[0], net=head(conv())), IMAGE,
        (CONV, LINEAR), BOTH,
    ),
}  # fmt: skip
