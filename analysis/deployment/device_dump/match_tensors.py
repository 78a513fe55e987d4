"""The layer of a recorded tensor, and the meaning of the recorded numbers."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_io.dump_files import DumpedTensor
from quant.encoding import Encoding
from quant.errors import QuantError
from quant.graph.layers import Layer

ENDINGS = (
    "output_0",
    "output",
    "out",
    "0",
    "quantizelinear",
    "dequantizelinear",
    "quantized",
    "q",
    "relu",
    "relu6",
    "clip",
    "activation",
    "default",
    "conv",
    "gemm",
    "matmul",
    "add",
    "post",
)
"""Words at the end of a name that runtimes add: ONNX Runtime, QNN, TFLite, ExecuTorch."""
FUNCTIONS = ("relu", "clip", "quantize", "act")
_NO_WORD = re.compile(r"[^a-z0-9]+")
_RAW_TYPES: dict[int, tuple[type[np.generic], ...]] = {
    4: (np.float32,),
    1: (np.uint8, np.int8),
    2: (np.uint16, np.int16),
}


class ChannelAxis(Enum):
    """The place of a tensor's channels: after the images, at the end, or either."""

    FIRST = "first"
    LAST = "last"
    EITHER = "either"


@dataclass(frozen=True, eq=False, slots=True)
class MatchedTensor:
    """A recorded tensor of a layer.

    `readings` are the ways to read the file as numbers (N, ...) in the shape of the layer, the
    likeliest first; whole numbers stand for codes.
    """

    layer: str
    name: str
    readings: tuple[NDArray[Any], ...]


@dataclass(frozen=True, eq=False, slots=True)
class DumpMatch:
    """The recorded tensors by layer, and the names without a layer."""

    tensors: dict[str, MatchedTensor]
    unmatched: tuple[str, ...]


def match_tensors(
    dump: Sequence[DumpedTensor],
    layers: Sequence[Layer],
    names: Mapping[str, str],
    images: int | None,
) -> DumpMatch:
    """Give each layer the recorded tensor of the layer's output.

    `names` maps names of the dump to layers and comes first; other names are compared without marks
    and without the endings that runtimes add. `images` is the number of images; None reads the
    number from the tensors. Of several tensors of a layer, the tensor after the activation function
    counts.

    Raises:
        QuantError: `names` has an unknown layer, or no tensor belongs to a layer.
    """
    by_name = {layer.name: layer for layer in layers}
    if wrong := [name for name in names.values() if name not in by_name]:
        raise QuantError(
            f"The names must map to layers; {wrong[0]!r} is none. The layers are: "
            f"{', '.join(list(by_name)[:12])}."
        )
    known = {_reduced(key): layer.name for layer in layers for key in (layer.node, layer.output)}
    known |= {_reduced(layer.name): layer.name for layer in layers}
    chosen: dict[str, MatchedTensor] = {}
    unmatched = []
    owners = [names.get(tensor.name) or _find_layer(tensor.name, known) for tensor in dump]
    layout = _common_layout(
        [(one, by_name[name]) for one, name in zip(dump, owners, strict=True) if name is not None]
    )
    for tensor, layer in zip(dump, owners, strict=True):
        readings = () if layer is None else _read_as(tensor, by_name[layer], images, layout)
        if layer is None or not readings:
            unmatched.append(tensor.name)
        elif layer not in chosen or _is_later(tensor.name, chosen[layer].name):
            if layer in chosen:
                unmatched.append(chosen[layer].name)
            chosen[layer] = MatchedTensor(layer, tensor.name, readings)
        else:
            unmatched.append(tensor.name)
    if not chosen:
        raise QuantError(
            f"A tensor of the dump must belong to a layer; of {len(dump)} none does, such as "
            f"{dump[0].name[:80]!r}. Map names to layers with --names, such as "
            f'{{"{dump[0].name[:40]}": "{layers[0].name}"}}.'
        )
    return DumpMatch(chosen, tuple(unmatched))


def _reduced(name: str) -> str:
    return _NO_WORD.sub("_", name.lower()).strip("_")


def _find_layer(name: str, known: Mapping[str, str]) -> str | None:
    """Return the layer of a name: equal, or equal without endings and without words before."""
    words = _reduced(name).split("_")
    while words:
        for start in range(min(3, len(words))):
            found = known.get("_".join(words[start:]))
            if found is not None:
                return found
        if words[-1] not in ENDINGS:
            return None
        words = words[:-1]
    return None


def _is_later(name: str, other: str) -> bool:
    """Whether a tensor's name names an activation function and the other name does not."""
    return _tells_function(name) and not _tells_function(other)


def _tells_function(name: str) -> bool:
    return any(word in name.lower() for word in FUNCTIONS)


def _read_as(
    tensor: DumpedTensor, layer: Layer, images: int | None, layout: ChannelAxis
) -> tuple[NDArray[Any], ...]:
    """Return the tensor in the shape (N, ...) of a layer, in each fitting layout."""
    shape = tuple(layer.shape[1:])
    found = []
    for values in _typed(tensor, math.prod(shape), images):
        count = values.size // max(1, math.prod(shape))
        if count == 0 or count * math.prod(shape) != values.size:
            continue
        if images is not None and count != images:
            continue
        own = _layout(values.shape, shape) or layout
        if own is not ChannelAxis.LAST:
            found.append(values.reshape(count, *shape))
        if own is not ChannelAxis.FIRST and len(shape) > 1:
            last_axis = values.reshape(count, *shape[1:], shape[0])
            found.append(np.moveaxis(last_axis, -1, 1))
    return tuple(found)


def _layout(found: tuple[int, ...], shape: tuple[int, ...]) -> ChannelAxis | None:
    """Return the place of a tensor's channels; None for an undecided shape."""
    last = (*shape[1:], *shape[:1])
    if len(shape) < 2:
        return ChannelAxis.FIRST
    if shape == last or found[-len(shape) :] not in {shape, last}:
        return None
    return ChannelAxis.FIRST if found[-len(shape) :] == shape else ChannelAxis.LAST


def _common_layout(dump: Sequence[tuple[DumpedTensor, Layer]]) -> ChannelAxis:
    """Return the layout of the tensors with a decided shape; either without such a tensor."""
    told = [
        _layout(tensor.values.shape, tuple(layer.shape[1:]))
        for tensor, layer in dump
        if not tensor.raw and len(layer.shape) > 2
    ]
    first, last = told.count(ChannelAxis.FIRST), told.count(ChannelAxis.LAST)
    if first == last:
        return ChannelAxis.EITHER
    return ChannelAxis.FIRST if first > last else ChannelAxis.LAST


def _typed(tensor: DumpedTensor, size: int, images: int | None) -> list[NDArray[Any]]:
    """Return the values, or the bytes of a raw file in the types of matching length."""
    if not tensor.raw:
        return [tensor.values]
    content = np.ascontiguousarray(tensor.values)
    if images is not None:
        wide = len(content) / (size * images) if size else 0
        return [content.view(kind) for kind in _RAW_TYPES.get(round(wide), ()) if wide == int(wide)]
    return [content.view(np.float32)] if size and len(content) % (4 * size) == 0 else []


def real_readings(tensor: MatchedTensor, encoding: Encoding | None) -> list[Tensor]:
    """Return the readings as real numbers of shape (N, ...), float32; `encoding` decodes codes.

    Codes of a signed type stand for codes of an unsigned encoding minus half of the levels, and the
    other way round.
    """
    found = []
    for values in tensor.readings:
        if values.dtype.kind == "f":
            found.append(torch.from_numpy(np.array(values, np.float32)))
        elif encoding is not None:
            codes = torch.from_numpy(np.array(values, np.float32))
            half = 2.0 ** (encoding.bits - 1)
            signed = values.dtype.kind == "i" and values.dtype.itemsize < 4
            if signed and encoding.qmin == 0:
                codes += half
            elif values.dtype.kind == "u" and encoding.qmin < 0:
                codes -= half
            found.append(encoding.dequantize(codes))
    return found
