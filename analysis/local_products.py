"""What quantization does to one layer that gets the float network's input, times its gradients."""

from collections.abc import Iterable, Iterator

from torch import Tensor

from analysis.blocks import Blocks, Shift
from analysis.grids import Grids
from analysis.questions import Question
from quant.encoding import Encoding
from quant.gradients import Backward, Local
from quant.simulation import Side

FLOAT_BYTES = 4


class LocalProducts:
    """The errors that questions are about, layer by layer, times the gradients there.

    Weights are put on their grids once and kept, as far as `memory_bytes` allows; beyond that they
    are made anew for each batch.
    """

    def __init__(
        self, backward: Backward, grids: Grids, questions: Iterable[Question], memory_bytes: int
    ) -> None:
        self._backward, self._grids = backward, grids
        self._free = memory_bytes
        self._kept: dict[tuple[str, int], Tensor] = {}
        self._blocks = Blocks()
        self._bits: dict[str, dict[int, set[Side]]] = {}
        for question in questions:
            sides = self._bits.setdefault(question.layer, {}).setdefault(question.bits, set())
            sides.add(question.side)

    def of(self, local: Local) -> dict[tuple[int, Side], Tensor]:
        """Return (P, N) for the bits and the side of each question about a layer.

        That is the product of each of P gradients with the layer's error on each of N images.
        """
        shifts = {
            (bits, side): shift
            for bits, sides in self._bits.get(local.layer.name, {}).items()
            for side, shift in self._shifts(local, bits, sides)
        }
        if not shifts:
            return {}
        found = self._blocks.products(local.gradients, local.output, list(shifts.values()))
        return dict(zip(shifts, found, strict=True))

    def _shifts(self, local: Local, bits: int, sides: set[Side]) -> Iterator[tuple[Side, Shift]]:
        moved = None
        if local.run is not None and sides & {Side.WEIGHTS, Side.BOTH}:
            moved = local.run(self._weight(local, bits))
        if Side.WEIGHTS in sides and moved is not None:  # needs no statistics
            yield Side.WEIGHTS, Shift(moved)
        if Side.ACTIVATIONS in sides:
            yield Side.ACTIVATIONS, Shift(local.output, self._grid(local, bits))
        if Side.BOTH in sides:
            before = local.output if moved is None else moved
            yield Side.BOTH, Shift(before, self._grid(local, bits))

    def _grid(self, local: Local, bits: int) -> Encoding:
        sites = self._grids.sites(local.layer.name, Side.ACTIVATIONS)
        return self._grids.of(sites, bits)[sites[0]]

    def _weight(self, local: Local, bits: int) -> Tensor:
        """Return a layer's weight on its grid, as the layer's kernel takes it."""
        layer = local.layer
        key = (layer.name, bits)
        if key in self._kept:
            return self._kept[key]
        sites = self._grids.sites(layer.name, Side.WEIGHTS)
        grid = self._grids.of(sites, bits)[sites[0]]
        stored = self._grids.network.graph.tensor(str(layer.weight)).detach()
        weight = self._backward.prepare(layer, grid.fake_quantize(stored))
        size = FLOAT_BYTES * stored.numel()
        if size <= self._free:
            self._free -= size
            self._kept[key] = weight
        return weight
