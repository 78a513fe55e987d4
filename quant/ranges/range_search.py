"""The search for the range with the least error."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from quant.encoding import Encoding, encode_range, integer_limits
from quant.spec import QuantSpec, ScaleKind
from quant.torch_state import wait_while_tracing

# What the search tries: the whole range shrunk evenly; where the ends are free, each end by itself,
# or one outlier would cost the other side; then small steps around the best. The tests hold it
# against brute force: the error is at most 5 % above the least, over eleven kinds of values.
BOTH_ENDS = tuple(0.8**step for step in range(1, 21))
ONE_END = tuple(0.7**step for step in range(1, 14))
FINE_BOTH = (0.91, 0.955, 1.045, 1.09, 0.97, 0.985, 1.015, 1.03)
FINE_ONE = (0.84, 0.92, 1.08, 1.16, 0.94, 0.97, 1.03, 1.06, 0.98, 0.99, 1.01, 1.02)


@wait_while_tracing
def search_row_ranges(
    rows: Tensor, low: Tensor, high: Tensor, spec: QuantSpec
) -> tuple[Tensor, Tensor]:
    """Return the ranges (R,) with the least squared error of rows (R, K), as a joint search would.

    `low` and `high`, of shape (R,), are the widest ranges.
    """
    if spec.bits == 1 or rows.dtype != torch.float32 or rows.device.type != "cpu":
        return search_best_range(low, high, spec, lambda one: _squared_row_error(rows, one))
    from quant.ranges import search_code  # noqa: PLC0415  Numba is heavy

    least, greatest = _own_ends(low, high)
    search_code.search_rows(
        rows.detach().contiguous().numpy(),
        least.numpy(),
        greatest.numpy(),
        _codes_of_spec(spec, low),
        _RATIOS,
    )
    return least, greatest


@wait_while_tracing
def search_histogram_ranges(
    counts: Tensor, edges: Tensor, low: Tensor, high: Tensor, spec: QuantSpec
) -> tuple[Tensor, Tensor]:
    """Return the ranges with the least `histogram_error`, in the shape of `low` and `high`.

    Counts have the shape (R, B) and edges (R, B + 1), for ranges (R,); without R for ranges ().
    """
    if spec.bits == 1:
        return search_best_range(low, high, spec, lambda one: histogram_error(counts, edges, one))
    from quant.ranges import search_code  # noqa: PLC0415  Numba is heavy

    least, greatest = _own_ends(low, high)
    search_code.search_histograms(
        np.atleast_2d(counts.double().contiguous().numpy()),
        np.atleast_2d(edges.double().contiguous().numpy()),
        least.reshape(-1).numpy(),
        greatest.reshape(-1).numpy(),
        _codes_of_spec(spec, low),
        _RATIOS,
    )
    return least, greatest


def _own_ends(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return copies that hold zero, float32 in the given shape: the search writes into them."""
    return (
        low.detach().float().clamp(max=0.0).contiguous(),
        high.detach().float().clamp(min=0.0).contiguous(),
    )


def _codes_of_spec(spec: QuantSpec, low: Tensor) -> tuple[int, int, bool, bool]:
    """Return what `search_code` needs of a spec; `low` has any shape."""
    return (
        *integer_limits(spec, low),
        spec.symmetric,
        spec.scale is ScaleKind.POWER_OF_TWO,
    )


_RATIOS = (
    np.array(BOTH_ENDS, np.float32),
    np.array(ONE_END, np.float32),
    np.array(FINE_BOTH, np.float32),
    np.array(FINE_ONE, np.float32),
)


def search_best_range(
    low: Tensor, high: Tensor, spec: QuantSpec, error: Callable[[Encoding], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return (low, high) within the given ranges with the least `error`, by element.

    `low` and `high` have shape (R,) or (); `error` maps an encoding of the shape to a number per
    element. The full range is a candidate, so the result is never worse than min-max.
    """
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)  # an encoding holds zero
    best = _Best(low, high, lambda a, b: error(encode_range(a, b, spec)))
    for ratio in BOTH_ENDS:
        best.attempt_range(low * ratio, high * ratio)
    if not spec.symmetric:
        _shrink_one_end(best, low, high)
        # again: the best place of one end depends on the other
        _shrink_one_end(best, best.low, best.high)
    for factor in FINE_BOTH:
        best.attempt_range(best.low * factor, best.high * factor)
    if not spec.symmetric:
        for factor in FINE_ONE:
            best.attempt_range(best.low * factor, best.high)
            best.attempt_range(best.low, best.high * factor)
    return best.low, best.high


class _Best:
    """The range with the least loss so far, by element."""

    def __init__(
        self, low: Tensor, high: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self.low, self.high, self._loss_of = low, high, loss_of
        self._loss = loss_of(low, high)

    def attempt_range(self, low: Tensor, high: Tensor) -> None:
        """Take over the given range, (R,), for elements with less loss."""
        loss = self._loss_of(low, high)
        better = loss < self._loss
        self._loss = torch.where(better, loss, self._loss)
        self.low = torch.where(better, low, self.low)
        self.high = torch.where(better, high, self.high)


def _shrink_one_end(best: _Best, low: Tensor, high: Tensor) -> None:
    for ratio in ONE_END:
        best.attempt_range(low, high * ratio)
        best.attempt_range(low * ratio, high)


def histogram_error(counts: Tensor, edges: Tensor, encoding: Encoding) -> Tensor:
    """Return the summed squared error of quantizing a histogram per tensor, float64.

    Values are taken as spread evenly inside a bin, and the error is integrated exactly: s^2/12 for
    a full step inside the encoding, the squared distance to the end outside. For R histograms,
    counts (R, B) and edges (R, B + 1), a scale (R,) gives errors (R,).
    """
    scale = encoding.scale.double()
    low, high = encoding.low.double(), encoding.high.double()
    if scale.dim():
        scale, low, high = scale[:, None], low[:, None], high[:, None]
    integral = _error_integral(edges, scale, low, high)
    width = edges.diff()
    mean = integral.diff() / width.clamp(min=1e-300)
    starts = edges[..., :-1]
    nearest = (starts / scale).round().mul(scale).clamp(low, high)
    at_point = (starts - nearest).square()
    # a bin cut to a point, such as a ReLU6's pile at 6, holds one value
    return (counts * torch.where(width > 1e-12 * scale, mean, at_point)).sum(-1)


def _error_integral(x: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the integral of the squared quantization error from 0 to x, of x's shape."""
    inside = x.clamp(low, high)
    step = (inside / scale).round()
    rest = inside - step * scale
    rounding = step * scale**3 / 12 + rest**3 / 3
    above = (x - high).clamp(min=0) ** 3 / 3
    below = (low - x).clamp(min=0) ** 3 / 3
    return rounding + above - below


def _squared_row_error(blocks: Tensor, encoding: Encoding) -> Tensor:
    rows = Encoding(
        encoding.scale[:, None], encoding.zero_point[:, None], encoding.qmin, encoding.qmax
    )
    return rows.fake_quantize(blocks).sub_(blocks).square_().sum(1)
