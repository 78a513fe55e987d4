"""The samples of a reconstruction, and how many of them each block sees in a step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.graph.float_graph import FloatGraph
from quant.graph.layers import shape_of_node
from quant.inputs import Inputs, arrange_batch, tensors_of_batch
from quant.passes.reconstruct.blocks import LayerBlock

CHUNK = 16
"""Samples through a block at once where nothing learns."""
HELD_SHARE = 8
"""One of this many samples judges what the others taught (our choice)."""
MOST_NUMBERS = 100_000_000
"""Numbers between two blocks, over all samples; 400 MB in float32."""
BATCH_FACTOR = 4
"""A block's batch is at most this factor smaller or larger than the mean (our choice)."""
IMAGE_AXES, IMAGE_CHANNELS = 4, (1, 3)
"""Images are (N, C, H, W), grey or in colours; with channels last a mirror would turn colours."""


@dataclass(frozen=True, eq=False, slots=True)
class BlockSamples:
    """The samples of a reconstruction: network inputs (N, ...), and how many are held back.

    The first `held` samples judge what the others taught; `size` samples run at once.
    """

    inputs: tuple[Tensor, ...]
    held: int
    size: int

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.inputs[0])

    def draw_places(self, count: int, chance: torch.Generator) -> Tensor:
        """Return the places of `count` samples (count,), drawn from those that teach."""
        first = self.held if self.held < len(self) else 0
        return first + torch.randint(len(self) - first, (count,), generator=chance)

    def take(self, places: Tensor | slice) -> tuple[Tensor, ...]:
        """Return the inputs of some samples, each of shape (len(places), ...)."""
        return tuple(one[places] for one in self.inputs)


def gather_samples(
    graph: FloatGraph, blocks: Iterable[LayerBlock], images: Sequence[Inputs], *, mirror: bool
) -> BlockSamples:
    """Return as many samples as fit in memory; the network's batch size divides the number.

    With `mirror`, mirrored copies of images teach too, where they fit in memory.
    """
    parts = zip(*(tensors_of_batch(one) for one in images), strict=True)
    whole = arrange_batch(tuple(torch.cat(values) for values in parts))
    inputs = tensors_of_batch(whole)
    size = graph.batch or CHUNK
    ends = [graph.node_named(graph[block.end].output) for block in blocks if block.end]
    largest = max((torch.Size(shape_of_node(node)).numel() for node in ends), default=1)
    count = min(len(inputs[0]), max(2 * size, MOST_NUMBERS // largest))
    if graph.batch is not None:
        count = max(size, count // size * size)
    held = -(-count // HELD_SHARE)
    held = min(count, -(-held // size) * size) if graph.batch is not None else held
    chosen = tuple(one[:count] for one in inputs)
    if mirror and graph.batch is None and len(chosen) == 1 and _holds_images(chosen[0]):
        chosen = (_with_mirrored_images(chosen[0], held, MOST_NUMBERS // largest - count),)
    return BlockSamples(chosen, held, size)


def _holds_images(values: Tensor) -> bool:
    """Whether an input of shape (N, ...) is of images with the channels first."""
    return values.dim() == IMAGE_AXES and values.shape[1] in IMAGE_CHANNELS


def _with_mirrored_images(images: Tensor, held: int, room: int) -> Tensor:
    """Return images (N, C, H, W) and behind them mirrored copies of those that teach.

    The `held` images that judge stand in front and are not mirrored: nothing near them teaches.
    """
    copies = images[held:][: max(0, room)].flip(-1)
    return torch.cat([images, copies]).contiguous(memory_format=torch.channels_last)


def share_batch(numbers: Sequence[int], batch: int) -> list[int]:
    """Return the samples of a step for each block, so that a step costs alike in all blocks.

    `numbers` counts the values of one sample in each block; a block of the mean count takes
    `batch` samples. Small late blocks, which hold most weights, so see more samples.

    >>> share_batch([100, 300, 2000], 16)
    [64, 43, 6]
    """
    mean = sum(numbers) / max(1, len(numbers))
    least, most = max(1, batch // BATCH_FACTOR), batch * BATCH_FACTOR
    return [min(most, max(least, round(batch * mean / max(1, one)))) for one in numbers]
