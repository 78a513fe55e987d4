"""What quantization does to the output of one layer that gets the float network's input."""

from collections.abc import Iterable, Iterator

from torch import Tensor

from analysis.grids import Grids
from analysis.questions import Question
from quant.encoding import Encoding
from quant.gradients import Backward, Local
from quant.simulation import Side

FLOAT_BYTES = 4


class LocalErrors:
    """The errors that questions are about, layer by layer.

    Weights are put on their grids once and kept, as far as `memory_bytes` allows; beyond that they
    are made anew for each batch.
    """

    def __init__(
        self, backward: Backward, grids: Grids, questions: Iterable[Question], memory_bytes: int
    ) -> None:
        self._backward, self._grids = backward, grids
        self._free = memory_bytes
        self._kept: dict[tuple[str, int], Tensor] = {}
        self._bits: dict[str, dict[int, set[Side]]] = {}
        for question in questions:
            sides = self._bits.setdefault(question.layer, {}).setdefault(question.bits, set())
            sides.add(question.side)

    def of(self, local: Local) -> Iterator[tuple[int, Side, Tensor]]:
        """Yield (bits, side, error (N, ...)) for each question about a layer."""
        for bits, sides in self._bits.get(local.layer.name, {}).items():
            yield from self._at(local, bits, sides)

    def _at(self, local: Local, bits: int, sides: set[Side]) -> Iterator[tuple[int, Side, Tensor]]:
        moved = None
        if local.run is not None and sides & {Side.WEIGHTS, Side.BOTH}:
            moved = local.run(self._weight(local, bits))
        if sides & {Side.ACTIVATIONS, Side.BOTH}:  # weights alone need no statistics
            grid = self._grid(local, bits)
            before = local.output if moved is None else moved
            if Side.BOTH in sides:
                yield bits, Side.BOTH, grid.fake_quantize(before).sub_(local.output)
            if Side.ACTIVATIONS in sides:
                error = grid.fake_quantize(local.output).sub_(local.output)
                yield bits, Side.ACTIVATIONS, error
        if Side.WEIGHTS in sides and moved is not None:
            yield bits, Side.WEIGHTS, moved.sub_(local.output)

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
