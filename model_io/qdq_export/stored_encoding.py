"""The encoding of one tensor in the types of ONNX opset 21."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

from model_io.onnx_export.float_onnx import FileTensor
from quant.encoding import Encoding
from quant.graph.layers import Layer
from quant.spec import Granularity, QuantSpec

Array = NDArray[np.generic]
# Integer types of QuantizeLinear-21 by width and sign; a type of 2 bits does not exist.
_TYPES = {
    (4, True): TensorProto.INT4,
    (4, False): TensorProto.UINT4,
    (8, True): TensorProto.INT8,
    (8, False): TensorProto.UINT8,
    (16, True): TensorProto.INT16,
    (16, False): TensorProto.UINT16,
}


@dataclass(frozen=True, eq=False, slots=True)
class StoredEncoding:
    """An encoding in the form of the file.

    Attributes:
        kind: the type of the stored integers, a `TensorProto.DataType`.
        scale: float32; () for one scale, (C,) by channel, the tensor's rank for blocks.
        zero_point: integers of the shape of `scale`.
        qmin: the smallest code in use.
        qmax: the largest code in use.
        attributes: `axis` and `block_size` of QuantizeLinear and DequantizeLinear, if needed.
    """

    kind: int
    scale: NDArray[np.float32]
    zero_point: Array
    qmin: int
    qmax: int
    attributes: dict[str, int]

    @property
    def type_limits(self) -> tuple[int, int]:
        """The smallest and the largest integer of the type."""
        return integer_type_limits(self.kind)

    @property
    def is_narrower_than_type(self) -> bool:
        """Whether the type has more codes than the encoding."""
        return self.type_limits != (self.qmin, self.qmax)

    @property
    def is_four_bits(self) -> bool:
        """Whether the type has four bits."""
        return self.kind in (TensorProto.INT4, TensorProto.UINT4)

    @property
    def encoding_bits(self) -> int:
        """Width of the encoding, in bits."""
        return (self.qmax - self.qmin).bit_length()


def integer_type_limits(kind: int) -> tuple[int, int]:
    """Return the least and the greatest number of an integer type."""
    bits, signed = next(key for key, value in _TYPES.items() if value == kind)
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def store_activation(encoding: Encoding, least: int = 4) -> StoredEncoding:
    """Return the encoding of an activation, one scale, in a type of at least `least` bits."""
    scale, zero = (_numpy_array(held).reshape(()) for held in (encoding.scale, encoding.zero_point))
    return _stored_encoding(encoding, scale, zero, {}, least)


def store_weight(
    encoding: Encoding, spec: QuantSpec, layer: Layer, tensor: FileTensor
) -> StoredEncoding:
    """Return the encoding of a layer's weight, with the axes of the file."""
    scale = _numpy_array(encoding.scale)
    if scale.ndim == 0 or scale.size == 1:
        return _stored_encoding(
            encoding, scale.reshape(()), _numpy_array(encoding.zero_point).reshape(()), {}
        )
    zero = np.broadcast_to(_numpy_array(encoding.zero_point), scale.shape)
    inputs = 1 - layer.channel_axis
    if spec.granularity is not Granularity.PER_GROUP or scale.shape[inputs] == 1:
        axis = {"axis": tensor.file_axis(layer.channel_axis)}
        return _stored_encoding(encoding, scale.reshape(-1), zero.reshape(-1), axis)
    size = min(spec.group_size, scale.shape[inputs])
    # a block has one scale along the block axis, and a scale at every place of other axes
    whole = [n if axis < 2 else layer.weight_shape[axis] for axis, n in enumerate(scale.shape)]
    scale, zero = (
        np.broadcast_to(held, whole)
        .take(range(0, whole[inputs], size), inputs)
        .transpose(tensor.axes)
        for held in (scale, zero)
    )
    block = {"axis": tensor.file_axis(inputs), "block_size": size}
    return _stored_encoding(encoding, scale, zero, block)


def _stored_encoding(
    encoding: Encoding,
    scale: NDArray[np.generic],
    zero: NDArray[np.generic],
    attributes: dict[str, int],
    least: int = 4,
) -> StoredEncoding:
    bits = (encoding.qmax - encoding.qmin).bit_length()  # of the type: of one bit, codes -1 and 1
    wide = next(width for width in (4, 8, 16) if width >= max(bits, least))
    kind = _TYPES[wide, encoding.qmin < 0]
    return StoredEncoding(
        kind,
        scale.astype(np.float32),
        zero.astype(helper.tensor_dtype_to_np_dtype(kind)),
        encoding.qmin,
        encoding.qmax,
        attributes,
    )


def _numpy_array(values: Tensor) -> NDArray[np.generic]:
    found: NDArray[np.generic] = values.detach().numpy()
    return found
