"""A prepared model: captured, batch norms folded, sizes known."""

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
    input_noun,
    sample_count,
    split_batch,
    tensors_of_batch,
)
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.simulation.float_law import check_float_law
from quant.simulation.plan import plan_sites

# Of the largest activation in one forward. Measured with one and two AVX-512 cores on all samples:
# smaller batches spend their time between small layers, larger ones leave the cache, and above
# 32 MB allocators do not keep freed memory (analysis.process_settings).
CACHE_FRIENDLY_BYTES = 20_000_000
LARGEST_BATCH = 64


def batch_that_fits(room: int, each: int) -> int:
    """Return the largest power of two of images of `each` bytes that fit into `room` bytes, or 1.

    Example:
        >>> batch_that_fits(100, 30)
        2
    """
    fitting = max(1, room // max(1, each))
    return 1 << (fitting.bit_length() - 1)


@dataclass(frozen=True, eq=False)
class Network:
    """A folded graph with the identity of the model.

    `parameters` counts weights before folding. `digest` is the digest of the file or sample.
    `notes` are sentences on reading the file. `targets` name the site of every tensor of the file,
    by tensor name; `given` holds the encodings of a quantized file.
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
        """The number of images in a forward that suits the cache, or the fixed batch size."""
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
        """A digest of the computation of the graph, independent of the file."""
        return self.compiled_program.portable.digest

    @property
    def output_count(self) -> int:
        """The length of the last axis of the output: the number of classes of a classifier.

        1 if the output is one number for each image, of shape (N,).
        """
        return (1, *self.graph.output_shape)[-1]

    @property
    def is_classifier(self) -> bool:
        """Whether the (first) output has a number for each of several classes and no other axis."""
        return len(self.graph.output_shape) == 1 and self.output_count > 1

    @property
    def chance(self) -> float:
        """The share of images that a guess answers right; 0 where the network is no classifier."""
        return 1 / self.output_count if self.is_classifier else 0.0

    @property
    def noun(self) -> str:
        """What the network takes, in a word: a row of a table, or an image."""
        return input_noun(self.graph.inputs)

    @property
    def float_weights(self) -> tuple[FloatWeight, ...]:
        """Stored tensors that enter products and stay float under every configuration."""
        return find_float_weights(self.graph)

    @property
    def mac_count(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(layer.macs for layer in self.graph.layers)


def prepare_network(
    name: str,
    model: nn.Module | ExportedProgram,
    inputs: tuple[int, ...] | Sequence[InputLike],
    digest: str,
    batch: int | None = None,
    notes: tuple[str, ...] = (),
) -> Network:
    """Capture and fold a model for the given inputs, with a free batch or only N = `batch`.

    `inputs` is the shape of the only input without the batch, or a description of the inputs.

    Raises:
        CaptureError: torch cannot trace the model, or the simulation at 32 bits differs from the
            float run; the message says the place and the remedy.
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
        """Return the outputs for `inputs`."""


def forward_first_output(
    run: Callable[[Inputs], Tensor], batch: int | None, inputs: Inputs
) -> Tensor:
    """Run a graph on inputs of shape (N, ...) and return the (first) output.

    A network with a fixed batch gets padded batches. `run` may be any callable graph; `batch` is
    the fixed batch size or None.
    """
    return first_output_of(_forward_in_pieces(run, batch, inputs))


def forward_all_outputs(graph: Runnable, batch: int | None, inputs: Inputs) -> tuple[Tensor, ...]:
    """Run a graph on inputs of shape (N, ...), padded for a fixed batch; return the outputs."""
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
