"""Depthwise convolutions with zeros around, clip and encoding in a single pass over memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.engine.fused_convolution import Clip, FusedConvolution, read_fused_convolution
from quant.engine.portable import Portable, PortableOperation, Value
from quant.torch_state import wait_while_tracing

FEWEST_VALUES = 4096  # below, the call of a compiled loop costs more than torch's passes
NO_LIMIT = float("inf")
_PADS = ("aten.pad.default", "aten.constant_pad_nd.default")
Padding = tuple[int, int, int, int]
"""Zeros left, right, above and below."""


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution:
    """A convolution over (N, C, H, W) with one filter for each channel, and an optional clip.

    The zeros may differ at the ends of an axis, and an encoding of the result costs no further
    pass. Sums differ from torch's in the last bits.
    """

    source: str
    weight: str
    bias: str | None
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: Padding
    clip: Clip | None = None

    def pack_weight(self, weight: Tensor, batch: int) -> Tensor:  # noqa: ARG002  as FusedConvolution
        """Return a weight (C, 1, kh, kw) in the kernel's order (kh, kw, C)."""
        return weight.detach()[:, 0].permute(1, 2, 0).contiguous()

    @wait_while_tracing
    def __call__(
        self, x: Tensor, packed: Tensor, bias: Tensor | None, encoding: Encoding | None = None
    ) -> Tensor:
        """Return the clipped convolution of x (N, C, H, W), on an encoding that `is_plain`."""
        from quant.engine.vector_code import convolve_depthwise  # noqa: PLC0415  Numba is heavy

        x = x.contiguous(memory_format=torch.channels_last)
        found = torch.empty(self._output_shape(x, packed), memory_format=torch.channels_last)
        start = x.new_zeros(x.shape[1]) if bias is None else bias.detach().contiguous()
        low, high = self.clip or (None, None)
        codes = (0.0, 0.0, 0.0) if encoding is None else _scale_and_limits(encoding)
        numbers = (
            -NO_LIMIT if low is None else low,
            NO_LIMIT if high is None else high,
            *codes,
        )
        images, channels, height, width = x.shape
        sizes = (images, height, width, channels, *found.shape[2:], *packed.shape[:2])
        convolve_depthwise(
            found.data_ptr(),
            x.data_ptr(),
            packed.data_ptr(),
            start.data_ptr(),
            tuple(int(size) for size in sizes),
            (*self.stride, *self.dilation, self.padding[2], self.padding[0]),
            *(np.float32(number) for number in numbers),
        )
        return found

    def _output_shape(self, x: Tensor, packed: Tensor) -> tuple[int, int, int, int]:
        left, right, above, below = self.padding
        zeros = (above + below, left + right)
        rows, columns = (
            (size + added - step * (taps - 1) - 1) // stride + 1
            for size, added, step, taps, stride in zip(
                x.shape[2:], zeros, self.dilation, packed.shape[:2], self.stride, strict=True
            )
        )
        return len(x), x.shape[1], rows, columns


Convolution = FusedConvolution | DepthwiseConvolution


def read_convolutions(
    portable: Portable, users: Mapping[str, Sequence[PortableOperation]]
) -> tuple[dict[str, Convolution], set[str]]:
    """Return the convolutions with kernels by name, and the names of pads that became part of one.

    `users` holds the operations that read a value, by the value's name.
    """
    shapes = {item.name: item.shape for item in portable.operations}
    pads = {item.name: item for item in portable.operations if zeros_of_pad(item) is not None}
    found: dict[str, Convolution] = {}
    absorbed: set[str] = set()
    for operation in portable.operations:
        fused = read_fused_convolution(operation, portable.constants, shapes)
        if fused is None:
            continue
        own = _as_depthwise(fused, portable.constants[fused.weight]) or fused
        pad = pads.get(fused.source)
        if pad is not None and len(users[pad.name]) == 1 and pad.name not in portable.output_names:
            wider = _with_zeros(own, pad, shapes)
            absorbed |= {pad.name} if wider is not None else set()
            own = wider or own
        found[operation.name] = own
    return found, absorbed


def _as_depthwise(found: FusedConvolution, weight: Tensor) -> DepthwiseConvolution | None:
    """Return a convolution as a depthwise convolution; None if channels share a filter.

    `weight` is the stored weight (O, I, kh, kw).
    """
    channels = found.input_shape[1]
    if not (found.groups == channels == len(weight) and weight.shape[1] == 1 and channels > 1):
        return None
    above, left = found.padding
    return DepthwiseConvolution(
        source=found.source,
        weight=found.weight,
        bias=found.bias,
        stride=(found.stride[0], found.stride[1]),
        dilation=(found.dilation[0], found.dilation[1]),
        padding=(left, left, above, above),
        clip=found.clip,
    )


def _with_zeros(
    convolution: Convolution, pad: PortableOperation, shapes: Mapping[str, tuple[int, ...]]
) -> Convolution | None:
    """Return a convolution with the zeros of the pad before it; None if the kernel cannot."""
    zeros, source = zeros_of_pad(pad), pad.source_names[0]
    if zeros is None:
        return None
    if isinstance(convolution, DepthwiseConvolution):
        left, right, above, below = (
            own + more for own, more in zip(convolution.padding, zeros, strict=True)
        )
        return replace(convolution, source=source, padding=(left, right, above, below))
    left, right, above, below = zeros
    if (left, above) != (right, below):
        return None
    high, wide = convolution.padding
    padding = [high + above, wide + left]
    return replace(convolution, source=source, padding=padding, input_shape=shapes[source])


def zeros_of_pad(operation: PortableOperation) -> Padding | None:
    """Return the zeros that an operation puts around (N, C, H, W); None for other operations."""
    if operation.target not in _PADS or operation.site is not None or operation.kwargs:
        return None
    source, counts, *rest = operation.args
    if not isinstance(source, Value) or not isinstance(counts, list | tuple):
        return None
    plain = rest in ([], ["constant"], ["constant", None], ["constant", 0], [0])
    whole = [count for count in counts if isinstance(count, int) and count >= 0]
    if not plain or len(whole) != 4 or len(counts) != 4 or len(operation.shape) != 4:
        return None
    return whole[0], whole[1], whole[2], whole[3]


def is_plain(encoding: Encoding) -> bool:
    """Tell whether an encoding has one scale and one width, as those of activations mostly."""
    return encoding.scale.dim() == 0 and encoding.channel_bits is None


@wait_while_tracing
def encode_values(encoding: Encoding, x: Tensor, *, in_place: bool = False) -> Tensor:
    """Return `encoding.fake_quantize(x)`, of x's shape and with its bits, in one pass.

    `in_place` allows the result to take the memory of x.
    """
    flat = _flat_view(x)
    if flat is None or x.numel() < FEWEST_VALUES or not is_plain(encoding):
        return encoding.fake_quantize(x)
    from quant.engine import vector_code  # noqa: PLC0415  Numba is heavy

    scale, low, high = (np.float32(number) for number in _scale_and_limits(encoding))
    if in_place:
        vector_code.round_trip_in_place(flat.numpy(), scale, low, high)
        return x
    found = torch.empty_like(x)
    target = _flat_view(found)
    if target is None:
        return encoding.fake_quantize(x)
    vector_code.round_trip(flat.numpy(), scale, low, high, target.numpy())
    return found


def _flat_view(x: Tensor) -> Tensor | None:
    """Return the values in memory order, shape (n,); None if scattered or not float32."""
    if x.dtype is not torch.float32 or x.requires_grad:
        return None
    if x.is_contiguous():
        return x.view(-1)
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).view(-1)
    return None


def _scale_and_limits(encoding: Encoding) -> tuple[float, float, float]:
    """Return the scale, and the limits of the codes with the zero point moved to 0."""
    zero_point = int(encoding.zero_point)
    limits = encoding.qmin - zero_point, encoding.qmax - zero_point
    return float(encoding.scale), float(limits[0]), float(limits[1])
