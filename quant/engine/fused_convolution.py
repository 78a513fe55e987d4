"""Convolution and clip in a single pass over memory, if the build of torch has the kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quant.engine.portable import Constant, PortableOperation, Value, function_of_target

_CONVOLUTIONS = ("aten.conv2d.default", "aten.conv2d.padding")
Clip = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class FusedConvolution:
    """A convolution over (N, C, H, W) with a stored weight, and an optional clip.

    Twice as fast as convolution and clip in sequence in channels-last memory; `pack_weight` brings
    the weight into the kernel's order once.
    """

    source: str
    weight: str
    bias: str | None
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int
    input_shape: tuple[int, ...]
    clip: Clip | None = None

    def pack_weight(self, weight: Tensor, batch: int) -> Tensor:
        """Return a weight (O, I, H, W) in the kernel's order, best for batches of size `batch`."""
        ready = weight.detach().contiguous(memory_format=torch.channels_last)
        shape = [batch, *self.input_shape[1:]]
        packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(  # noqa: SLF001
            ready, self.padding, self.stride, self.dilation, self.groups, shape
        )
        return packed

    def __call__(self, x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
        """Return the clipped convolution of x (N, C, H, W) with a packed weight."""
        name, limits = _post_operation(self.clip)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001
            x, packed, bias, self.padding, self.stride, self.dilation, self.groups, name, limits, ""
        )
        return result


def are_kernels_available() -> bool:
    """Tell whether the build of torch has the kernels."""
    return bool(torch.backends.mkldnn.is_available()) and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )


def read_fused_convolution(
    operation: PortableOperation, constants: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]
) -> FusedConvolution | None:
    """Return an operation as a fused convolution; None for other operations.

    `constants` holds stored tensors of any shape, `shapes` the shapes of values, by name.
    """
    if operation.target not in _CONVOLUTIONS:
        return None
    given = _arguments_by_name(operation)
    source, weight, bias = given["input"], given["weight"], given["bias"]
    if not isinstance(source, Value) or not isinstance(weight, Constant):
        return None
    if not (bias is None or isinstance(bias, Constant)) or len(shapes[source.name]) != 4:
        return None
    stored = [constants[item.name] for item in (weight, bias) if item is not None]
    if any(tensor.dtype is not torch.float32 for tensor in stored):
        return None
    dilation = _pair_of_sizes(given["dilation"])
    padding = _equal_padding(given["padding"], stored[0].shape[2:], dilation)
    if padding is None:
        return None
    return FusedConvolution(
        source=source.name,
        weight=weight.name,
        bias=None if bias is None else bias.name,
        stride=_pair_of_sizes(given["stride"]),
        padding=padding,
        dilation=dilation,
        groups=given["groups"],
        input_shape=shapes[source.name],
    )


def can_fuse_clip(clip: Clip | None) -> bool:
    """Tell whether the kernel applies a clip with the limits."""
    return clip is not None and (clip == (0.0, None) or None not in clip)


def _post_operation(clip: Clip | None) -> tuple[str, list[float]]:
    if clip is None:
        return "none", []
    if clip == (0.0, None):
        return "relu", []
    return "hardtanh", [limit for limit in clip if limit is not None]


def _arguments_by_name(operation: PortableOperation) -> dict[str, Any]:
    """Return the arguments by the names in the operator's schema."""
    schema: Any = function_of_target(operation.target)
    keywords = dict(operation.kwargs)
    return {
        argument.name: operation.args[place]
        if place < len(operation.args)
        else keywords.get(argument.name, argument.default_value)
        for place, argument in enumerate(schema._schema.arguments)  # noqa: SLF001  nothing public
    }


def _pair_of_sizes(value: int | Sequence[int]) -> list[int]:
    sizes = [value] if isinstance(value, int) else [int(size) for size in value]
    return sizes * 2 if len(sizes) == 1 else sizes


def _equal_padding(
    value: str | int | Sequence[int], kernel: torch.Size, dilation: list[int]
) -> list[int] | None:
    """Return the zeros at the ends of an axis; None if the two ends differ."""
    if value == "valid":
        return [0, 0]
    if not isinstance(value, str):
        return _pair_of_sizes(value)
    total = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    return None if any(count % 2 for count in total) else [count // 2 for count in total]
