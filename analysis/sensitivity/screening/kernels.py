"""Inner products of gradients with quantization errors, image by image.

An error is looked at once and never written: rounded, clamped, subtracted and multiplied in
registers it takes a tenth of the time that torch takes operation by operation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quant.encoding import Encoding
from quant.engine.loops import VECTORS, compiled

# Values of an image that stay in the cache closest to the core while every grid meets them. Each
# piece is summed in single precision, pieces in double.
PIECE = 2048

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Levels:
    """Grids of one scale each: `scales` (S,), and the least and the greatest level, (2, S)."""

    scales: Floats
    limits: Floats


def levels_of(grids: Sequence[Encoding]) -> Levels:
    """Return grids per tensor as the products take them."""
    lows = [grid.qmin - int(grid.zero_point) for grid in grids]
    highs = [grid.qmax - int(grid.zero_point) for grid in grids]
    scales = np.array([float(grid.scale) for grid in grids], np.float32)
    return Levels(scales, np.array([lows, highs], np.float32))


class ErrorProducts:
    """A layer's output (N, ...) and P gradients there, for products with changes of the output."""

    def __init__(self, output: Tensor, gradients: Sequence[Tensor]) -> None:
        self._output, self._rows = output, _row_of(output)
        self._pulls = [_row_of(gradient) for gradient in gradients]

    def on_grids(self, moved: Tensor, levels: Levels) -> Tensor:
        """Return (S, P, N) for `moved` (N, ...) put on S grids in place of the output."""
        rows = self._rows if moved is self._output else _row_of(moved)
        found = np.empty((len(levels.scales), len(self._pulls), len(rows)))
        for probe, pull in enumerate(self._pulls):
            found[:, probe] = _grid_products(rows, self._rows, pull, levels.scales, levels.limits)
        return torch.from_numpy(found)

    def of_move(self, moved: Tensor) -> Tensor:
        """Return (1, P, N) for `moved` (N, ...) in place of the output."""
        rows = _row_of(moved)
        found = [_moved_products(rows, self._rows, pull) for pull in self._pulls]
        return torch.from_numpy(np.stack(found)[None])


@compiled(VECTORS)
def _grid_products(moved: Floats, base: Floats, pull: Floats, scales: Floats, limits: Any) -> Any:
    """Return (S, N): sums of `pull` times (`moved` on each grid less `base`), all (N, K)."""
    images, values = moved.shape
    found = np.zeros((len(scales), images))
    for image in range(images):
        for start in range(0, values, PIECE):
            # one index for each value in the inner loop, or it stays scalar
            x = moved[image, start : start + PIECE]
            y = base[image, start : start + PIECE]
            g = pull[image, start : start + PIECE]
            for grid in range(len(scales)):
                scale, low, high = scales[grid], limits[0, grid], limits[1, grid]
                steps = np.float32(1) / scale
                total = np.float32(0)
                for place in range(len(x)):
                    level = np.rint(x[place] * steps)
                    level = min(max(level, low), high)
                    total += g[place] * (level * scale - y[place])
                found[grid, image] += total
    return found


@compiled(VECTORS)
def _moved_products(moved: Floats, base: Floats, pull: Floats) -> Any:
    """Return (N,): sums of `pull` times (`moved` less `base`), all (N, K)."""
    images, values = moved.shape
    found = np.zeros(images)
    for image in range(images):
        for start in range(0, values, PIECE):
            x = moved[image, start : start + PIECE]
            y = base[image, start : start + PIECE]
            g = pull[image, start : start + PIECE]
            total = np.float32(0)
            for place in range(len(x)):
                total += g[place] * (x[place] - y[place])
            found[image] += total
    return found


def _row_of(values: Tensor) -> Floats:
    """Return one row an image; channels last stay where they are."""
    if values.dim() == 4:
        values = values.permute(0, 2, 3, 1)
    rows = values.reshape(len(values), -1).float().contiguous()
    return np.asarray(rows.numpy())
