"""Ranges found the slow way: all ends of a dense grid, scored on the values themselves."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from quant.encoding import Encoding, encode_range
from quant.spec import QuantSpec

Score = Callable[[Encoding], Tensor]


def samples(kind: str, count: int = 4000) -> Tensor:
    """Return values as layers give them: bell-shaped, clipped, heavy-tailed, with outliers."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(count, generator=generator)
    chi = torch.randn(3, count, generator=generator).square().mean(0).sqrt()
    shapes: dict[str, Callable[[], Tensor]] = {
        "normal": lambda: x,
        "relu": x.relu,
        "relu6": lambda: (3 * x).clamp(0, 6),
        "gelu": lambda: F.gelu(2 * x),
        "peaked": lambda: x * x.abs(),
        "heavy tails": lambda: x / chi,
        "skewed": x.exp,
        "one high outlier": lambda: torch.cat([x, torch.tensor([50.0])]),
        "one low outlier": lambda: torch.cat([x.abs(), torch.tensor([-40.0])]),
        "all positive": lambda: x.sigmoid() + 3,
        "all negative": lambda: -x.sigmoid() - 3,
    }
    return shapes[kind]()


KINDS = (
    "normal",
    "relu",
    "relu6",
    "gelu",
    "peaked",
    "heavy tails",
    "skewed",
    "one high outlier",
    "one low outlier",
    "all positive",
    "all negative",
)


def row(encoding: Encoding, rank: int) -> Encoding:
    """Return per-tensor grids of shape (R,) or () as (R, 1, ...): one for each row of values."""
    shape = (-1, *(1,) * rank)
    return Encoding(
        encoding.scale.reshape(shape),
        encoding.zero_point.reshape(shape),
        encoding.qmin,
        encoding.qmax,
    )


def squared_error(values: Tensor) -> Score:
    """Return a function: grids of shape (R,) to the summed squared error of `values` on each."""
    return lambda encoding: (row(encoding, 1).fake_quantize(values) - values).square().sum(1)


def candidates(low: float, high: float, spec: QuantSpec) -> tuple[Tensor, Tensor]:
    """Return the ends of ranges inside [low, high], dense geometric grids that hold the whole."""
    fine, coarse = 0.985 ** torch.arange(400), 0.88 ** torch.arange(38)
    if spec.symmetric or low >= 0 or high <= 0:  # one number says it all
        return min(low, 0) * fine, max(high, 0) * fine
    lows, highs = torch.meshgrid(low * coarse, high * coarse, indexing="ij")
    return lows.flatten(), highs.flatten()


def least(low: float, high: float, spec: QuantSpec, score: Score) -> float:
    """Return the least score over all candidates."""
    ends = (end.split(100) for end in candidates(low, high, spec))
    return min(float(score(encode_range(a, b, spec)).min()) for a, b in zip(*ends, strict=True))
