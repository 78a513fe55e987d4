"""A convolution with a clip as a layer: forward, forward with another weight, and backward."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from quant.engine import fused_convolution
from quant.engine.fused_convolution import FusedConvolution, can_fuse_clip, read_fused_convolution
from quant.engine.loops import depthwise_gradient, gradient_between_limits
from quant.engine.portable import Constant, Portable, PortableOperation
from quant.graph.layers import Layer

PACKED_FOR = 8  # images in a batch; a weight packed for one size serves all
# Positions of the output below which the layer runs again faster than a gradient is written for
# each image.
FEWEST_POSITIONS = 16
PIECE = 2**20  # values of images that lie in the cache at once


@dataclass(frozen=True, eq=False, slots=True)
class FusedLayer:
    """A layer with a single fused convolution; `back` carries gradients if a convolution can.

    `limits`, two tensors (C, 1, 1), belong to a clip with separate limits for channels, which the
    kernel lacks. Gradients before the clip are of type `kind`.
    """

    layer: Layer
    convolution: FusedConvolution
    weight: Tensor
    bias: Tensor | None
    packed: Tensor
    back: FusedConvolution | None
    packed_back: Tensor | None
    kind: torch.dtype
    limits: tuple[Tensor, Tensor] | None = None

    def run_layer(self, x: Tensor, packed: Tensor) -> Tensor:
        """Return the layer's output (N, O, H, W) for an input (N, I, H, W) and a packed weight."""
        found = self.convolution(x, packed, self.bias)
        return found if self.limits is None else found.clamp_(*self.limits)

    def gradient_before_clip(self, gradient: Tensor, y: Tensor) -> Tensor:
        """Return the gradient (N, O, H, W) before the clip from `gradient` and `y` behind."""
        found = gradient
        if self.limits is not None:
            found = gradient_between_limits(gradient, y, *self.limits)
        elif self.convolution.clip is not None:
            low, high = self.convolution.clip
            if high is None:
                found = torch.ops.aten.threshold_backward(gradient, y, low)
            else:
                found = torch.ops.aten.hardtanh_backward(gradient, y, low, high)
        return found.to(self.kind)

    @property
    def shares_weight_widely(self) -> bool:
        """Tell whether a weight meets enough positions to make a weight gradient worthwhile."""
        if self._is_depthwise_layer:
            return True
        return self.convolution.groups == 1 and math.prod(self.layer.shape[2:]) >= FEWEST_POSITIONS

    @property
    def _is_depthwise_layer(self) -> bool:
        return is_plain_depthwise(self.convolution, self.weight)

    def products_with_shifts(self, gradient: Tensor, x: Tensor, shifts: Tensor) -> Tensor:
        """Return (S, N): the first-order effect of S weight shifts on an image's probed sum.

        Shifts (S, O, I, kh, kw) are multiplied with the gradient at the weight, computed once from
        `gradient` (N, O, H, W) before the clip. For layers that share weights.
        """
        if self._is_depthwise_layer:
            rows = shifts.permute(0, 3, 4, 1, 2).flatten(1)
            kernel = (self.weight.shape[2], self.weight.shape[3])
            found = depthwise_gradient(self.convolution, gradient, x, kernel)
            return functional.linear(rows, found)
        rows = shifts.permute(0, 1, 3, 4, 2).flatten(1).to(self.kind)
        size = max(rows.shape[1], math.prod(x.shape[1:]) * math.prod(self.weight.shape[2:]))
        some = max(1, PIECE // size)
        parts = [
            functional.linear(rows, self._gradient_at_weight(pulls, images.to(self.kind)))
            for pulls, images in zip(gradient.split(some), x.split(some), strict=True)
        ]
        return torch.cat(parts, 1).float()

    def _gradient_at_weight(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradients at the weight by image, shape (N, O * kh * kw * I).

        Channels come last.
        """
        pulls = gradient.permute(0, 2, 3, 1).flatten(1, 2)
        return (pulls.transpose(1, 2) @ self._input_patches(x, gradient.shape[2:])).flatten(1)

    def _input_patches(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the inputs of each output position, shape (N, positions, kh * kw * I)."""
        given = self.convolution
        high, wide = given.padding
        padded = functional.pad(x, (wide, wide, high, high)) if high or wide else x
        padded = padded.contiguous(memory_format=torch.channels_last)
        image, channel, row, column = padded.stride()
        steps = [given.stride[0] * row, given.stride[1] * column]
        taps = [given.dilation[0] * row, given.dilation[1] * column]
        sizes = [len(x), *shape, *self.weight.shape[2:], x.shape[1]]
        found = padded.as_strided(sizes, [image, *steps, *taps, channel])
        return found.reshape(len(x), math.prod(shape), -1)

    def gradient_at_input(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient at the input, shape (N, I, H, W), from `gradient` before the clip."""
        if self.back is not None and self.packed_back is not None:
            return self.back(gradient, self.packed_back, None)
        given = self.convolution
        layout = (given.stride, given.padding, given.dilation)
        rest = (False, [0, 0], given.groups, [True, False, False])
        found: Tensor = torch.ops.aten.convolution_backward(
            gradient.float(), x, self.weight, None, *layout, *rest
        )[0]
        return found


def fuse_layer_kernel(
    layer: Layer, operations: Sequence[PortableOperation], portable: Portable
) -> FusedLayer | None:
    """Return a layer as one kernel; None for other layers, or a build of torch without kernels.

    `operations` are the layer's operation and the fused functions.
    """
    if not fused_convolution.are_kernels_available():
        return None
    shapes = {item.name: item.shape for item in portable.operations}
    first, *chain = operations
    convolution = read_fused_convolution(first, portable.constants, shapes)
    if convolution is None or layer.weight is None or len(chain) > 1:
        return None
    constants, clip, limits = portable.constants, None, None
    if chain and can_fuse_clip(chain[0].clip):
        clip = chain[0].clip
    elif chain:
        limits = _clip_limits_of(chain[0], constants)
        if limits is None:
            return None
    convolution = replace(convolution, clip=clip)
    weight = constants[convolution.weight].contiguous(memory_format=torch.channels_last)
    back, turned = _reversed_convolution(convolution, weight, layer)
    # a depthwise convolution waits for memory, and gains nothing by fewer bits
    kind = gradient_type() if convolution.groups == 1 else torch.float32
    return FusedLayer(
        layer=layer,
        convolution=convolution,
        weight=weight,
        bias=None if convolution.bias is None else constants[convolution.bias],
        packed=convolution.pack_weight(weight, PACKED_FOR),
        back=back,
        packed_back=None if back is None else back.pack_weight(turned.to(kind), PACKED_FOR),
        kind=kind,
        limits=limits,
    )


def _clip_limits_of(
    operation: PortableOperation, constants: dict[str, Tensor]
) -> tuple[Tensor, Tensor] | None:
    """Return the limits (C, 1, 1) of a clip between stored tensors; None for other operations."""
    limits = [constants[item.name] for item in operation.args[1:] if isinstance(item, Constant)]
    if operation.target != "aten.clamp.Tensor" or operation.kwargs or len(limits) != 2:
        return None
    low, high = limits
    return low, high


@cache
def gradient_type() -> torch.dtype:
    """Return the type for multiplying gradients: bfloat16 if the processor is fast at bfloat16.

    The short type takes half of the time or less. Errors of about 0.2 % in a number are
    independent, and far below the chance in the choice of probes.
    """
    known = torch.cpu.get_capabilities()
    short = any(known.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if short else torch.float32


def is_plain_depthwise(convolution: FusedConvolution, weight: Tensor) -> bool:
    """Tell whether a channel has exactly one separate filter (1, kh, kw)."""
    return convolution.groups == len(weight) and weight.shape[1] == 1


def _reversed_convolution(
    convolution: FusedConvolution, weight: Tensor, layer: Layer
) -> tuple[FusedConvolution | None, Tensor]:
    """Return (convolution for the way back, weight (I, O, kh, kw)).

    With a stride of one the way back is a convolution with the weight turned round and with inputs
    and outputs exchanged, twice as fast as the special kernel. None with another stride.
    """
    padding = [
        step * (size - 1) - zeros
        for step, size, zeros in zip(
            convolution.dilation, weight.shape[2:], convolution.padding, strict=True
        )
    ]
    depthwise = is_plain_depthwise(convolution, weight)
    simple = convolution.groups == 1 or depthwise
    if convolution.stride != [1, 1] or min(padding) < 0 or not simple:
        return None, weight
    turned = weight.flip(2, 3)
    if not depthwise:
        turned = turned.transpose(0, 1)
    back = replace(convolution, bias=None, clip=None, padding=padding, input_shape=layer.shape)
    return back, turned
