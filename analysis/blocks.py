"""Inner products of gradients with quantization errors, in pieces that lie in the cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.encoding import Encoding

# Values in a piece. An error is written, rounded and read again some five times before it is let
# go, and every width's meets the same gradients: a piece at a time takes half of the time that a
# layer as a whole takes.
BLOCK = 2**18
# Values of an image from which one product an image is faster than a sum over products of all.
LONG_ROW = 2**14


@dataclass(frozen=True, eq=False, slots=True)
class Shift:
    """A layer's output that something moved: `moved` (N, ...), put on a grid if there is one."""

    moved: Tensor
    grid: Encoding | None = None


class Blocks:
    """Room for one piece of an error, used again and again."""

    def __init__(self) -> None:
        self._error, self._product = torch.empty(BLOCK), torch.empty(BLOCK)

    def products(
        self, gradients: Sequence[Tensor], output: Tensor, shifts: Sequence[Shift]
    ) -> Tensor:
        """Return (S, P, N): for S shifts of an output (N, ...), its change times P gradients.

        Gradients are (N, ...) too, and a product is taken for each of N images. The sign is that
        of the change or the opposite.
        """
        pulls, after = [_row_of(gradient) for gradient in gradients], _row_of(output)
        rows = [(_row_of(shift.moved), shift.grid) for shift in shifts]
        images, values = after.shape
        some = max(1, BLOCK // max(1, values))
        parts: list[Tensor] = []
        for first in range(0, images, some):
            group = slice(first, first + some)
            pieces = [
                self._of_images(group, slice(start, start + BLOCK), pulls, after, rows)
                for start in range(0, values, BLOCK)
            ]
            parts.append(torch.stack(pieces).sum(0, dtype=torch.float64))
        found: Tensor = torch.cat(parts, 1)
        return found.reshape(len(shifts), len(gradients), images)

    def _of_images(
        self,
        images: slice,
        values: slice,
        pulls: Sequence[Tensor],
        after: Tensor,
        rows: Sequence[tuple[Tensor, Encoding | None]],
    ) -> Tensor:
        """Return (S * P, n) for n images and some of their values."""
        base, pieces = after[images, values], [pull[images, values] for pull in pulls]
        room = self._product[: base.numel()].view(base.shape)
        found: list[Tensor] = []
        for moved, grid in rows:
            error = self._error_of(moved[images, values], base, grid)
            for piece in pieces:
                if base.shape[1] >= LONG_ROW:
                    found += map(torch.dot, piece.unbind(), error.unbind())
                else:
                    found.append(torch.mul(piece, error, out=room).sum(1))
        stacked: Tensor = torch.stack(found)
        return stacked.reshape(len(rows) * len(pieces), -1)

    def _error_of(self, moved: Tensor, base: Tensor, grid: Encoding | None) -> Tensor:
        room = self._error[: moved.numel()].view(moved.shape)
        if grid is None:
            return torch.sub(moved, base, out=room)
        zero_point = int(grid.zero_point)
        torch.div(moved, grid.scale, out=room).round_()
        room.clamp_(grid.qmin - zero_point, grid.qmax - zero_point)
        # this way round it takes one step less
        return torch.sub(base, room, alpha=float(grid.scale), out=room)


def _row_of(values: Tensor) -> Tensor:
    """Return one row an image; channels last stay where they are."""
    if values.dim() == 4:
        values = values.permute(0, 2, 3, 1)
    return values.reshape(len(values), -1)
