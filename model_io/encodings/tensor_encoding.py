"""The encoding of one tensor in a file and in the simulation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_io.errors import ModelError
from quant.encoding import Encoding
from quant.spec import FLOAT_BITS, Granularity, QuantSpec


@dataclass(frozen=True, slots=True)
class FileEncoding:
    """real = scale * (q - zero_point); q is an integer of `bits` bits.

    Attributes:
        tensor: name of the tensor in the file.
        bits: width of the encoding; the stored type can be wider.
        signed: whether q can be negative.
        symmetric: whether zero lies in the middle of the encoding, by choice or by chance.
        scale: the scales in order, float32.
        zero_point: one integer for each scale.
        shape: shape of the scales; () for one scale, (C,) by channel, more axes for blocks.
        axis: axis of the tensor's channels or blocks; None for one scale, or for output channels
            that the file does not name.
        block_size: number of elements along `axis` that share a scale.
        parameter: whether the tensor is a weight or bias; None for a file without the information.
        floating: whether the tensor stays float; then only `bits` counts.
        narrow: whether a signed encoding leaves out the smallest code, as -7 to 7 of 4 bits does.
        problem: the reason why QuantScope cannot use the encoding; empty for a usable encoding.
    """

    tensor: str
    bits: int
    signed: bool = False
    symmetric: bool = False
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    axis: int | None = None
    block_size: int | None = None
    parameter: bool | None = None
    floating: bool = False
    problem: str = ""
    narrow: bool = False

    @property
    def scale_granularity(self) -> Granularity:
        """The granularity of the scales."""
        if self.block_size is not None:
            return Granularity.PER_GROUP
        return Granularity.PER_CHANNEL if self.shape else Granularity.PER_TENSOR

    @property
    def code_limits(self) -> tuple[int, int]:
        """The least and the greatest whole number."""
        levels = 1 << self.bits
        least = -levels // 2 + self.narrow
        return (least, levels // 2 - 1) if self.signed else (0, levels - 1)

    def spec_fields(self) -> dict[str, Any]:
        """Return the fields of a spec that the encoding determines."""
        if self.floating:
            return {"bits": FLOAT_BITS}
        fields: dict[str, Any] = {
            "bits": self.bits,
            "symmetric": self.symmetric,
            "granularity": self.scale_granularity,
        }
        if self.block_size is not None:
            fields["group_size"] = self.block_size
        return fields


def float_tensor_record(tensor: str, *, parameter: bool) -> FileEncoding:
    """Return the record of a float tensor."""
    return FileEncoding(tensor, FLOAT_BITS, parameter=parameter, floating=True)


def file_encoding_of(
    tensor: str,
    encoding: Encoding,
    spec: QuantSpec,
    channel_axis: int | None = None,
    *,
    flipped: bool = False,
) -> FileEncoding:
    """Return an encoding of the simulation in the form of a file.

    Args:
        tensor: name of the tensor in the file.
        encoding: the encoding in the simulation.
        spec: the spec of the encoding.
        channel_axis: the axis of a weight's output channels; None for activations.
        flipped: whether the file holds a matrix transposed.
    """
    parameter = channel_axis is not None
    scale, zero_point = encoding.scale, encoding.zero_point.expand_as(encoding.scale)
    axis, block = None, None
    if scale.dim() and channel_axis is not None:
        inputs = 1 - channel_axis
        if spec.granularity is Granularity.PER_GROUP and scale.shape[inputs] > 1:
            axis, block = inputs, min(spec.group_size, scale.shape[inputs])
            starts = torch.arange(0, scale.shape[inputs], block)
            scale, zero_point = (held.index_select(inputs, starts) for held in (scale, zero_point))
            if flipped:
                scale, zero_point, axis = scale.T, zero_point.T, 1 - axis
        else:
            scale, zero_point = scale.flatten(), zero_point.flatten()
            axis = 1 - channel_axis if flipped else channel_axis
    own = encoding.channel_bits is not None  # a file has one width a tensor: that of its codes
    return FileEncoding(
        tensor,
        (encoding.qmax - encoding.qmin).bit_length() if own else spec.bits,
        signed=encoding.qmin < 0,
        symmetric=spec.symmetric,
        scale=tuple(scale.flatten().tolist()),
        zero_point=tuple(int(zero) for zero in zero_point.flatten().tolist()),
        shape=tuple(scale.shape),
        axis=axis,
        block_size=block,
        parameter=parameter,
    )


def simulated_activation_encoding(encoding: FileEncoding) -> Encoding:
    """Return the encoding of an activation in the simulation.

    Raises:
        ModelError: the encoding has several scales, or is unusable.
    """
    _check_has_scale(encoding)
    if len(encoding.scale) != 1:
        raise ModelError(
            f"The activation {encoding.tensor!r} must have one scale, got "
            f"{len(encoding.scale)}: a scale "
            "for each channel cannot leave the sum. Calibrate it instead."
        )
    scale = torch.tensor(encoding.scale[0], dtype=torch.float32)
    return Encoding(scale, torch.tensor(float(encoding.zero_point[0])), *encoding.code_limits)


def simulated_weight_encoding(
    encoding: FileEncoding,
    shape: tuple[int, ...],
    channel_axis: int,
    *,
    flipped: bool | None = None,
) -> Encoding:
    """Return the encoding of a weight in the simulation.

    Args:
        encoding: the encoding in the file.
        shape: shape of the weight in the simulation.
        channel_axis: axis of the output channels in the simulation.
        flipped: whether the file holds the matrix transposed; None reads the answer from the axis
            in the file, because scales belong to output channels.

    Raises:
        ModelError: the scales do not fit the weight, or the encoding is unusable.
    """
    _check_has_scale(encoding)
    if encoding.scale_granularity is Granularity.PER_TENSOR:
        scale, zero_point = _scale_and_zero_tensors(encoding)
        return Encoding(scale.reshape(()), zero_point.reshape(()), *encoding.code_limits)
    wanted = channel_axis if encoding.block_size is None else 1 - channel_axis
    if flipped is None:
        flipped = len(shape) == 2 and encoding.axis is not None and encoding.axis % 2 != wanted
    if encoding.axis is not None:  # what the file's axis is in the simulation
        axis = encoding.axis % len(shape)
        axis = 1 - axis if flipped and axis < 2 else axis
        if axis != wanted:
            what = "channels" if encoding.block_size is None else "blocks"
            raise ModelError(
                f"The {what} of {encoding.tensor!r} must lie along axis {wanted} of its weight "
                f"{shape}, got axis {axis}. Let the encoding be chosen here instead."
            )
    spread = _spread_by_channel if encoding.block_size is None else _spread_by_block
    scale, zero_point = (
        spread(held, encoding, shape, channel_axis, flipped)
        for held in _scale_and_zero_tensors(encoding)
    )
    return Encoding(scale, zero_point, *encoding.code_limits)


def _spread_by_channel(
    values: Tensor, encoding: FileEncoding, shape: tuple[int, ...], axis: int, _flipped: bool
) -> Tensor:
    if values.numel() != shape[axis]:
        raise ModelError(
            f"{encoding.tensor!r} must have a scale for each of {shape[axis]} channels, got "
            f"{values.numel()}. Check that the file belongs to this model."
        )
    return values.reshape([-1 if place == axis else 1 for place in range(len(shape))])


def _spread_by_block(
    values: Tensor, encoding: FileEncoding, shape: tuple[int, ...], axis: int, flipped: bool
) -> Tensor:
    """Return a value of shape (outputs, inputs, 1, ...): inputs of a block have equal values."""
    outputs, inputs = shape[axis], shape[1 - axis]
    size = encoding.block_size or 1
    blocks = -(-inputs // size)
    if values.numel() != outputs * blocks:
        raise ModelError(
            f"{encoding.tensor!r} must have {outputs} x {blocks} scales for blocks of {size}, got "
            f"{values.numel()}. Check that the file belongs to this model."
        )
    channels_last = len(encoding.shape) > 1 and (axis == 1) != flipped
    table = values.reshape(blocks, outputs).T if channels_last else values.reshape(outputs, blocks)
    spread = table.repeat_interleave(size, 1)[:, :inputs]
    whole = spread.reshape(outputs, inputs, *(1 for _ in shape[2:]))
    return whole.movedim(0, axis).contiguous()


def _scale_and_zero_tensors(encoding: FileEncoding) -> tuple[Tensor, Tensor]:
    scale = torch.from_numpy(np.array(encoding.scale, np.float32))
    return scale, torch.tensor([float(zero) for zero in encoding.zero_point])


def _check_has_scale(encoding: FileEncoding) -> None:
    if encoding.problem:
        raise ModelError(encoding.problem)
    if encoding.floating:
        raise ModelError(f"{encoding.tensor!r} stays float: it has no encoding. Leave it out.")
