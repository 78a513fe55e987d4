"""Quantized files: remove QuantizeLinear and DequantizeLinear and keep the encodings.

The scales and zero points become a starting configuration; the network becomes float. Weights
stored as integers become the real numbers behind the integers. Quantizing tools leave out a ReLU
before an encoding that starts at zero, and a ReLU6 if the encoding also ends at six: the float
network gets the ReLU or ReLU6 back.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from model_io.errors import ModelError
from model_io.onnx_import.reading.integer_clips import (
    NO_CLIP,
    stored_tensors,
    take_out_integer_clips,
)
from model_io.onnx_import.reading.open_file import STANDARD
from model_io.onnx_import.reading.tensors import array_of_tensor
from plain_files.read_json import parse_json

Array = NDArray[np.generic]
_TYPES = {
    "int8": (8, True),
    "uint8": (8, False),
    "int16": (16, True),
    "uint16": (16, False),
    "int4": (4, True),
    "uint4": (4, False),
    "int32": (32, True),
    "int2": (2, True),
    "uint2": (2, False),
}
NARROW_KEY = "quantscope.grids"
"""Metadata of our own files: as JSON, [qmin, qmax] of each tensor whose type has more numbers."""
_LEAST_BITS, _MOST_BITS = 2, 32
_PAIR = ("QuantizeLinear", "DequantizeLinear")
_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "BatchNormalization")
"""What a tool fuses a ReLU with; behind other operators a grid from zero tells of their range."""
_SIX = 6.0
_DOMAINS = (*STANDARD, "com.microsoft")
"""ONNX Runtime's tool writes 4 and 16 bits in its own domain where the standard is too old."""


@dataclass(frozen=True)
class TensorEncoding:
    """The encoding of one tensor in a file: real = scale * (q - zero_point).

    Attributes:
        tensor: name of the tensor in the file before quantization.
        value: name of the tensor in the network without quantizers.
        node: the file's node that makes the tensor, or for a constant the node that reads the
            tensor; "input" for the network's input.
        constant: whether the tensor is a weight or a bias.
        bits: width of the stored integers, or the narrower width that a QuantScope file declares.
        signed: whether the integers can be negative.
        scale: one number, or in order one for each index of `axis` (and each block).
        zero_point: one integer for each scale.
        axis: axis of the tensor, or None for one scale.
        block_size: number of elements along `axis` that share a scale; None means one.
        narrow: whether the smallest integer is unused, so that zero lies in the middle.
    """

    tensor: str
    value: str
    node: str
    constant: bool
    bits: int
    signed: bool
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None
    block_size: int | None = None
    narrow: bool = False


def take_out_quantizers(model: ModelProto, shown: str) -> tuple[TensorEncoding, ...]:
    """Replace quantizers by copies, in place; return the encodings of the quantizers.

    Raises:
        ModelError: a computed encoding, or an unsupported kind.
    """
    graph = model.graph
    if not any(node.op_type in _PAIR for node in graph.node):
        return ()
    clipped = take_out_integer_clips(graph)
    constants, narrow = _constant_arrays(graph), _narrow_widths(model)
    makers = {name: node.op_type for node in graph.node for name in node.output}
    found: dict[str, TensorEncoding] = {}
    origin: dict[str, str] = {}
    for node in graph.node:
        if node.output[0] in clipped and node.op_type == "Identity":
            origin[node.output[0]] = origin.get(node.input[0], node.input[0])
        if node.op_type not in _PAIR or node.domain not in _DOMAINS:
            continue
        source = node.input[0]
        origin[node.output[0]] = origin.get(source, source)
        encoding = _encoding_of_quantizer(node, constants, origin.get(source, source), shown)
        low, high = clipped.get(source, clipped.get(node.output[0], NO_CLIP))
        least, most = _type_limits(encoding)
        low, high = max(low, least), min(high, most)
        width = min(_bits_in_use(node, narrow), max(_LEAST_BITS, (high - low).bit_length()))
        encoding = replace(encoding, bits=min(encoding.bits, width), narrow=low == -high)
        if encoding.tensor not in found:
            found[encoding.tensor] = encoding
        if node.op_type == "DequantizeLinear" and source in constants:
            _store_real_constant(node, constants, encoding)
        elif makers.get(source) in _LINEAR and _starts_at_zero(encoding):
            _turn_into_relu(node, encoding, graph)
        else:
            _turn_into_copy(node)
    _free_network_input(graph, narrow)
    del graph.value_info[:]  # types of what is no integer any more
    return tuple(found.values())


def encodings_with_nodes(
    encodings: tuple[TensorEncoding, ...], model: ModelProto, source: str
) -> tuple[TensorEncoding, ...]:
    """Return the encodings with the producing node of a tensor, for constants the reading node.

    `model` has no quantizers; `source` is the name of the network's input.
    """
    makers, readers, origin = {source: "input"}, dict[str, str](), dict[str, str]()
    for node in model.graph.node:
        name = node.name or next(filter(None, node.output), "")
        makers.update(dict.fromkeys(node.output, name))
        if node.op_type == "Identity":  # a quantizer that was taken out, or a copy
            origin[node.output[0]] = origin.get(node.input[0], node.input[0])
            continue
        for value in node.input:
            readers.setdefault(origin.get(value, value), name)
    return tuple(
        replace(e, node=readers.get(origin.get(e.value, e.value), ""))
        if e.constant
        else replace(e, node=makers.get(e.tensor, ""))
        for e in encodings
    )


def _narrow_widths(model: ModelProto) -> dict[str, int]:
    """Return the width of the used codes, by name, if smaller than the width of the type.

    Metadata in another form than QuantScope's are ignored.
    """
    texts = [entry.value for entry in model.metadata_props if entry.key == NARROW_KEY]
    try:
        limits = {
            str(name): (int(low), int(high))
            for text in texts[:1]
            for name, (low, high) in parse_json(text).items()
        }
    except (ValueError, TypeError, AttributeError, OverflowError):
        return {}
    widths = {name: (high - low).bit_length() for name, (low, high) in limits.items() if high > low}
    return {name: bits for name, bits in widths.items() if bits >= _LEAST_BITS}


def _bits_in_use(node: NodeProto, narrow: dict[str, int]) -> int:
    """Return the width of a quantizer's codes, by the name of quantizer or shared scale."""
    own = node.name.removesuffix(f"_{node.op_type}").removesuffix("_wide")
    shared = node.input[1].removesuffix("_scale")
    return narrow.get(own, narrow.get(shared, _MOST_BITS))


def _free_network_input(graph: GraphProto, narrow: dict[str, int]) -> None:
    """Remove the clip that holds the network's input to a narrow encoding; the clip is no layer."""
    names = {f"{value.name}_Clip" for value in graph.input if value.name in narrow}
    for node in graph.node:
        if node.name in names and node.op_type == "Clip":
            _turn_into_copy(node)


def _constant_arrays(graph: GraphProto) -> dict[str, Array]:
    """Return initializers and Constant nodes by name, without text constants."""
    held = stored_tensors(graph)
    used = {
        name for node in graph.node if node.op_type in _PAIR for name in node.input if name in held
    }
    return {
        name: array_of_tensor(held[name])
        for name in used
        if held[name].data_type != TensorProto.STRING
    }


def _encoding_of_quantizer(
    node: NodeProto, constants: dict[str, Array], tensor: str, shown: str
) -> TensorEncoding:
    """Return the encoding of one quantizer."""
    names = [*node.input, ""]
    scale, zero = constants.get(names[1]), constants.get(names[2])
    if scale is None or (names[2] and zero is None):
        raise ModelError(
            f"The node {node.name or node.output[0]!r} ({node.op_type}) of {shown} must have a "
            "constant scale and zero point, got computed ones. Quantize statically."
        )
    if zero is not None:
        kind = zero.dtype.name
    elif node.op_type == "DequantizeLinear" and node.input[0] in constants:
        kind = constants[node.input[0]].dtype.name
    else:
        kind = _kind_without_zero_point(node)
    if kind not in _TYPES:
        raise ModelError(
            f"The node {node.name or node.output[0]!r} ({node.op_type}) of {shown} must quantize "
            f"to integers, got {kind}. Export the float network instead."
        )
    bits, signed = _TYPES[kind]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    zeros = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    block = int(attributes.get("block_size", 0))
    return TensorEncoding(
        tensor,
        node.output[0],
        "",
        node.input[0] in constants,
        bits,
        signed,
        tuple(scale.astype(np.float64).ravel().tolist()),
        tuple(zeros.ravel().tolist()),
        int(attributes.get("axis", 1)) if scale.size > 1 else None,
        block or None,
    )


def _kind_without_zero_point(node: NodeProto) -> str:
    """Return the integer type in the node, else the standard's default."""
    for attribute in node.attribute:
        if attribute.name == "output_dtype" and attribute.i and node.op_type == "QuantizeLinear":
            return helper.tensor_dtype_to_np_dtype(attribute.i).name
    return "uint8"


def _store_real_constant(
    node: NodeProto, constants: dict[str, Array], encoding: TensorEncoding
) -> None:
    """Let a quantizer of constants become a constant of the real numbers."""
    whole = constants[node.input[0]]
    scale = _spread_along_axis(
        np.array(encoding.scale, np.float32), whole, constants[node.input[1]], encoding
    )
    zero: Array = _spread_along_axis(
        np.array(encoding.zero_point), whole, constants[node.input[1]], encoding
    )
    shifted = whole.astype(np.int64) - zero.astype(np.int64)
    reals = (shifted * scale.astype(np.float32)).astype(np.float32)
    name = node.output[0]
    node.Clear()
    node.op_type, node.name = "Constant", f"{name}_reals"
    node.output.append(name)
    node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(reals)))


def _spread_along_axis(values: Array, whole: Array, like: Array, encoding: TensorEncoding) -> Array:
    """Return one value for each element, by channel or block along the axis."""
    if encoding.axis is None:
        return values.reshape(())
    axis = encoding.axis % max(whole.ndim, 1)
    if encoding.block_size is not None:
        spread = np.repeat(values.reshape(like.shape), encoding.block_size, axis)
        return spread.take(range(whole.shape[axis]), axis)
    if math.prod(values.shape) != whole.shape[axis]:
        raise ModelError(
            f"The constant {encoding.tensor!r} must have a scale for each of {whole.shape[axis]} "
            f"channels, got {values.size}. Export it again."
        )
    return values.reshape([-1 if a == axis else 1 for a in range(whole.ndim)])


def _starts_at_zero(encoding: TensorEncoding) -> bool:
    """Whether an activation's encoding has no negative value."""
    return not encoding.constant and set(encoding.zero_point) == {_type_limits(encoding)[0]}


def _type_limits(encoding: TensorEncoding) -> tuple[int, int]:
    """Return the smallest and the largest code of the bits."""
    least = -(1 << (encoding.bits - 1)) if encoding.signed else 0
    return least, least + (1 << encoding.bits) - 1


def _turn_into_relu(node: NodeProto, encoding: TensorEncoding, graph: GraphProto) -> None:
    """Turn a quantizer into the ReLU or ReLU6 that the encoding replaces."""
    high = ((1 << encoding.bits) - 1) * encoding.scale[0]
    name = node.name or f"{node.output[0]}_relu"
    _turn_into_copy(node)
    node.op_type, node.name = "Relu", name
    if math.isclose(high, _SIX, rel_tol=1e-4):
        node.op_type = "Clip"
        for limit in (0.0, _SIX):
            graph.initializer.append(
                numpy_helper.from_array(np.array(limit, np.float32), f"{name} limit {limit:g}")
            )
            node.input.append(graph.initializer[-1].name)


def _turn_into_copy(node: NodeProto) -> None:
    """Turn a quantizer into a copy of the first input."""
    del node.input[1:]
    del node.attribute[:]
    node.op_type, node.domain = "Identity", ""
