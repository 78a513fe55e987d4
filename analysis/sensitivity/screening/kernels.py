"""Inner products of gradients with quantization errors, image by image.

Compiled loops round, clamp, subtract and multiply in registers without storing the error, in a
tenth of the time of separate torch operations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quant.encoding import Encoding
from quant.engine.loops import VECTORS, compile_loop

# Values of an image that stay in the first-level cache for all encodings. Each piece is summed in
# single precision, the pieces in double precision.
PIECE_VALUES = 2048

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Levels:
    """Encodings of one scale: `scales` (S,), and the smallest and largest level, (2, S)."""

    scales: Floats
    limits: Floats


def levels_of_encodings(encodings: Sequence[Encoding]) -> Levels:
    """Return per-tensor encodings as arrays for the products."""
    lows = [encoding.qmin - int(encoding.zero_point) for encoding in encodings]
    highs = [encoding.qmax - int(encoding.zero_point) for encoding in encodings]
    scales = np.array([float(encoding.scale) for encoding in encodings], np.float32)
    return Levels(scales, np.array([lows, highs], np.float32))


class ErrorProducts:
    """A layer's output (N, ...) and P gradients, for products with changes of the output."""

    def __init__(self, output: Tensor, gradients: Sequence[Tensor]) -> None:
        self._output, self._rows = output, _rows_by_image(output)
        self._pulls = [_rows_by_image(gradient) for gradient in gradients]

    def products_of_encodings(self, moved: Tensor, levels: Levels) -> Tensor:
        """Return (S, P, N) for `moved` (N, ...) under S encodings, instead of the output."""
        rows = self._rows if moved is self._output else _rows_by_image(moved)
        found = np.empty((len(levels.scales), len(self._pulls), len(rows)))
        for probe, pull in enumerate(self._pulls):
            found[:, probe] = _encoding_products(
                rows, self._rows, pull, levels.scales, levels.limits
            )
        return torch.from_numpy(found)

    def products_of_move(self, moved: Tensor) -> Tensor:
        """Return (1, P, N) for `moved` (N, ...) instead of the output."""
        rows = _rows_by_image(moved)
        found = [_moved_products(rows, self._rows, pull) for pull in self._pulls]
        return torch.from_numpy(np.stack(found)[None])


@compile_loop(VECTORS)
def _encoding_products(
    moved: Floats, base: Floats, pull: Floats, scales: Floats, limits: Floats
) -> NDArray[np.float64]:
    """Return (S, N): sums of `pull` times (quantized `moved` minus `base`), from (N, K) arrays."""
    images, values = moved.shape
    found = np.zeros((len(scales), images))
    for image in range(images):
        for start in range(0, values, PIECE_VALUES):
            # One index for each value in the inner loop; otherwise the compiler does not vectorize.
            x = moved[image, start : start + PIECE_VALUES]
            y = base[image, start : start + PIECE_VALUES]
            g = pull[image, start : start + PIECE_VALUES]
            for encoding in range(len(scales)):
                scale, low, high = scales[encoding], limits[0, encoding], limits[1, encoding]
                steps = np.float32(1) / scale
                total = np.float32(0)
                for place in range(len(x)):
                    level = np.rint(x[place] * steps)
                    level = min(max(level, low), high)
                    total += g[place] * (level * scale - y[place])
                found[encoding, image] += total
    return found


@compile_loop(VECTORS)
def _moved_products(moved: Floats, base: Floats, pull: Floats) -> NDArray[np.float64]:
    """Return (N,): sums of `pull` times (`moved` minus `base`), from (N, K) arrays."""
    images, values = moved.shape
    found = np.zeros(images)
    for image in range(images):
        for start in range(0, values, PIECE_VALUES):
            x = moved[image, start : start + PIECE_VALUES]
            y = base[image, start : start + PIECE_VALUES]
            g = pull[image, start : start + PIECE_VALUES]
            total = np.float32(0)
            for place in range(len(x)):
                total += g[place] * (x[place] - y[place])
            found[image] += total
    return found


def _rows_by_image(values: Tensor) -> Floats:
    """Return rows of shape (N, K); values of channels-last tensors stay in memory order."""
    if values.dim() == 4:
        values = values.permute(0, 2, 3, 1)
    rows = values.reshape(len(values), -1).float().contiguous()
    return np.asarray(rows.numpy())
