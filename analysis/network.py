"""A model made ready for every question: captured, batch norms folded, measured by shape."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from quant.config import QuantConfig
from quant.engine.program import Program, compile_program
from quant.file_encodings import EncodingTarget, Given
from quant.finite_values import check_finite_weights
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.float_weights import FloatWeight, find_float_weights, summarize_float_weights
from quant.inputs import (
    InputLike,
    Inputs,
    Outputs,
    arrange_batch,
    first_output_of,
    sample_count,
    split_batch,
    tensors_of_batch,
)
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.simulation.float_law import check_float_law
from quant.simulation.plan import plan_sites

# Of the largest activation in one forward. Measured with one and two AVX-512 cores on all samples:
# smaller batches spend their time between small layers, larger ones leave the cache, and above
# 32 MB no allocator keeps what a layer gives back (analysis.process_settings).
CACHE_FRIENDLY_BYTES = 20_000_000
LARGEST_BATCH = 64


def batch_that_fits(room: int, each: int) -> int:
    """Return the largest power of two of images of `each` bytes that fit into `room`, or 1."""
    fitting = max(1, room // max(1, each))
    return 1 << (fitting.bit_length() - 1)


@dataclass(frozen=True, eq=False)
class Network:
    """A folded graph and what identifies it.

    `parameters` counts weights before folding. `digest` is that of the file or sample. `notes` are
    sentences on how the file was read. `targets` say which grids the tensors of that file have, by
    their names in it, and `given` what it says of them, if it was quantized already. `takes_pixels`
    says that the input is pixels of 0 to 255, which the network scales itself.
    """

    name: str
    digest: str
    graph: FloatGraph
    parameters: int
    notes: tuple[str, ...] = ()
    targets: Mapping[str, EncodingTarget] = field(default_factory=dict)
    given: Given | None = None
    takes_pixels: bool = False

    @property
    def forward_batch_size(self) -> int:
        """The number of images in a forward that suits the cache, or the only one that runs."""
        if self.graph.batch is not None:
            return self.graph.batch
        largest = max(4 * math.prod(layer.shape) for layer in self.graph.layers)
        return min(LARGEST_BATCH, batch_that_fits(CACHE_FRIENDLY_BYTES, largest))

    @cached_property
    def compiled_program(self) -> Program:
        """The compiled program of the graph, with a place for an encoding at every site."""
        return compile_program(self.graph, plan_sites(self.graph, QuantConfig()))

    @cached_property
    def graph_digest(self) -> str:
        """A digest of all that the graph computes with, whatever it was made from."""
        return self.compiled_program.portable.digest

    @property
    def output_count(self) -> int:
        """The length of the last axis of the output: the number of classes of a classifier."""
        return self.graph.output_shape[-1]

    @property
    def is_classifier(self) -> bool:
        """Whether the (first) output has a number for each of several classes, and nothing else."""
        return len(self.graph.output_shape) == 1 and self.output_count > 1

    @property
    def chance(self) -> float:
        """The share of images that a guess answers right; 0 where the network is no classifier."""
        return 1 / self.output_count if self.is_classifier else 0.0

    @property
    def float_weights(self) -> tuple[FloatWeight, ...]:
        """Stored tensors that enter products and stay float whatever is configured."""
        return find_float_weights(self.graph)

    @property
    def mac_count(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(layer.macs for layer in self.graph.layers)


def prepare_network(
    name: str,
    model: nn.Module | ExportedProgram,
    inputs: tuple[int, ...] | Sequence[InputLike],
    digest: str,
    batch: int | None = None,
    notes: tuple[str, ...] = (),
) -> Network:
    """Capture and fold a model that takes these inputs, or only N = `batch` of them.

    `inputs` is the shape of its one input without the batch, or describes each of its inputs.

    Raises:
        CaptureError: the model cannot be traced, or its simulation at 32 bits is not its float run;
            the message says where and what to do.
    """
    graph = capture_graph(model, inputs, batch)
    folded = FoldBatchNorm()(graph)
    check_finite_weights(folded)
    check_float_law(folded)
    told = (*notes, *graph.notes, *summarize_float_weights(find_float_weights(folded)))
    return Network(name, digest, folded, graph.parameter_count(), told)


class Runnable(Protocol):
    """A network as a graph, simulated or not."""

    def run(self, inputs: Inputs) -> Outputs:
        """Return all outputs."""


def forward_first_output(
    run: Callable[[Inputs], Tensor], batch: int | None, inputs: Inputs
) -> Tensor:
    """Run a graph on inputs (N, ...) and return its (first) output.

    A network with a fixed batch is fed padded ones. `run` may be any callable graph; `batch` is
    the fixed batch size or None.
    """
    return first_output_of(_forward_in_pieces(run, batch, inputs))


def forward_all_outputs(graph: Runnable, batch: int | None, inputs: Inputs) -> tuple[Tensor, ...]:
    """Run a graph on inputs (N, ...) as `forward` does, and return all its outputs."""
    return tensors_of_batch(_forward_in_pieces(graph.run, batch, inputs))


@torch.inference_mode()
def _forward_in_pieces(
    run: Callable[[Inputs], Outputs], batch: int | None, inputs: Inputs
) -> Outputs:
    if batch is None or sample_count(inputs) == batch:
        return run(arrange_batch(inputs))
    found = []
    for piece in split_batch(inputs, batch):
        count = sample_count(piece)
        outputs = run(arrange_batch(piece, batch))
        found.append([output[:count] for output in tensors_of_batch(outputs)])
    joined = tuple(torch.cat(parts) for parts in zip(*found, strict=True))
    return joined[0] if len(joined) == 1 else joined
