"""A model made ready for every question: captured, batch norms folded, measured by shape."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from quant.graph import FloatGraph, capture
from quant.passes.fold_batch_norm import FoldBatchNorm

# Bytes of the largest activation in one forward. Two AVX-512 cores ran EfficientNet-Lite0 fastest
# with batches of 8, whose largest activation has this size.
CACHE_FRIENDLY_BYTES = 40_000_000
LARGEST_BATCH = 256


@dataclass(frozen=True, eq=False, slots=True)
class Network:
    """A folded graph and what identifies it.

    `parameters` counts weights before folding. `digest` is that of the file or sample. `notes` are
    sentences on how the file was read.
    """

    name: str
    digest: str
    graph: FloatGraph
    parameters: int
    notes: tuple[str, ...] = ()

    @property
    def batch_size(self) -> int:
        """The number of images in a forward that suits the cache, or the only one that runs."""
        if self.graph.batch is not None:
            return self.graph.batch
        largest = max(4 * math.prod(layer.shape) for layer in self.graph.layers)
        fitting = max(1, CACHE_FRIENDLY_BYTES // largest)
        return min(LARGEST_BATCH, 1 << (fitting.bit_length() - 1))

    @property
    def outputs(self) -> int:
        """The length of the last axis of the output: the number of classes of a classifier."""
        return self.graph.output_shape[-1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(layer.macs for layer in self.graph.layers)


def prepare(
    name: str,
    model: nn.Module | ExportedProgram,
    input_shape: tuple[int, ...],
    digest: str,
    batch: int | None = None,
    notes: tuple[str, ...] = (),
) -> Network:
    """Capture and fold a model that takes (N, *input_shape), or only N = `batch`.

    Raises:
        CaptureError: the model cannot be traced; the message says where and what to do.
    """
    graph = capture(model, input_shape, batch)
    return Network(name, digest, FoldBatchNorm()(graph), graph.parameters(), notes)


@torch.inference_mode()
def forward(run: Callable[[Tensor], Tensor], batch: int | None, inputs: Tensor) -> Tensor:
    """Run a graph on inputs (N, ...); a network with a fixed batch is fed padded ones.

    `run` may be any callable graph; `batch` is the fixed batch size or None.
    """
    if inputs.dim() == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if batch is None or len(inputs) == batch:
        return run(inputs)
    pieces = []
    for piece in inputs.split(batch):
        missing = batch - len(piece)
        padded = torch.cat([piece, piece[:1].expand(missing, *piece.shape[1:])])
        pieces.append(run(padded)[: len(piece)])
    return torch.cat(pieces)
