"""Inputs of a network: one tensor or several tensors, with names, shapes and kinds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Inputs = Tensor | tuple[Tensor, ...]
"""A batch as a network takes it: (N, ...), or one tensor (N, ...) for each of several inputs."""
Outputs = Tensor | tuple[Tensor, ...]
"""What a network gives: one tensor, or one for each of several outputs."""

KINDS = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
"""The types of elements that an input may have, by name."""
FEW = 2
"""Whole numbers of which nothing is known are drawn below this: right for masks and for tokens."""


class InputLike(Protocol):
    """Facts about an input before a network is traced."""

    @property
    def name(self) -> str:
        """Name in the file, or name of the argument."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape for one sample, without the batch."""

    @property
    def kind(self) -> str:
        """Type of the elements, a key of `KINDS`."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input: name, shape for one sample, type of the elements (`KINDS`).

    Whole numbers lie from 0 to `below` - 1 where an embedding limits the number of rows.
    """

    name: str
    shape: tuple[int, ...]
    kind: str = "float32"
    below: int | None = None

    @property
    def real(self) -> bool:
        """Whether the input holds real numbers; whole numbers have no encoding."""
        return KINDS[self.kind].is_floating_point

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return random values of shape (count, *shape): normal, or valid whole numbers."""
        size = (count, *self.shape)
        if self.real:
            return torch.randn(size, generator=generator).to(KINDS[self.kind])
        most = FEW if self.kind == "bool" else self.below or FEW
        return torch.randint(0, most, size, generator=generator).to(KINDS[self.kind])


def is_table_row(described: Input) -> bool:
    """Whether an input is a row of a table: real numbers along a single axis."""
    return described.real and len(described.shape) == 1


def input_noun(inputs: Sequence[Input]) -> str:
    """Return what a network takes, in a word: "row" for a table, else "image"."""
    return "row" if len(inputs) == 1 and is_table_row(inputs[0]) else "image"


def draw_batch(inputs: Sequence[Input], count: int, seed: int = 0) -> Inputs:
    """Return a random batch of `count` samples."""
    generator = torch.Generator().manual_seed(seed)
    return as_network_inputs([one.draw(count, generator) for one in inputs])


def as_network_inputs(parts: Sequence[Tensor]) -> Inputs:
    """Return tensors of shapes (N, ...) as inputs of a network: a single tensor is not a tuple."""
    return parts[0] if len(parts) == 1 else tuple(parts)


def tensors_of_batch(values: Inputs) -> tuple[Tensor, ...]:
    """Return the tensors of a batch, or of outputs, as a tuple of tensors of shapes (N, ...)."""
    return (values,) if isinstance(values, Tensor) else values


def first_output_of(values: Outputs) -> Tensor:
    """Return the first output, shape (N, ...), for the comparison with labels."""
    return values if isinstance(values, Tensor) else values[0]


def rows_of_output(output: Tensor) -> Tensor:
    """Return an output of shape (N, ...), one number for each image (N,) as rows (N, 1).

    Example:
        >>> rows_of_output(torch.zeros(3)).shape
        torch.Size([3, 1])
    """
    return output.unsqueeze(-1) if output.dim() == 1 else output


def sample_count(inputs: Inputs) -> int:
    """Return the number of samples in a batch."""
    return len(tensors_of_batch(inputs)[0])


def map_each_tensor(function: Callable[[Tensor], Tensor], values: Inputs) -> Inputs:
    """Return a batch with a function applied to the tensors, shapes (N, ...)."""
    if isinstance(values, Tensor):
        return function(values)
    return tuple(function(value) for value in values)


def arrange_batch(inputs: Inputs, batch: int | None = None) -> Inputs:
    """Return a batch in the fastest layout for networks: images channels last.

    A batch smaller than `batch`, the only size accepted by the network, is filled up with copies of
    the first sample.
    """
    return map_each_tensor(lambda values: _arrange_tensor(values, batch), inputs)


def _arrange_tensor(values: Tensor, batch: int | None) -> Tensor:
    if batch is not None and len(values) < batch:
        filling = values[:1].expand(batch - len(values), *values.shape[1:])
        values = torch.cat([values, filling])
    image = values.dim() == 4 and values.is_floating_point()
    return values.contiguous(
        memory_format=torch.channels_last if image else torch.contiguous_format
    )


def split_batch(inputs: Inputs, size: int) -> list[Inputs]:
    """Return a batch in pieces of at most `size` samples.

    >>> [len(piece) for piece in split_batch(torch.zeros(5, 3), 2)]
    [2, 2, 1]
    """
    if isinstance(inputs, Tensor):
        return list(inputs.split(size))
    return list(zip(*(values.split(size) for values in inputs), strict=True))


def sample_shapes(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the tensors for one sample, without the batch.

    >>> sample_shapes(torch.zeros(5, 3, 8, 8))
    ((3, 8, 8),)
    """
    return tuple(tuple(values.shape[1:]) for values in tensors_of_batch(inputs))
