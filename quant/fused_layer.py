"""A convolution and its clip as one layer: forward, again with another weight, and back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quant import fused_convolution
from quant.fused_convolution import FusedConvolution, can_fuse, read_convolution
from quant.graph import Layer
from quant.portable import Operation, Portable

PACKED_FOR = 8  # images in a batch; a weight packed for one size serves all


@dataclass(frozen=True, eq=False, slots=True)
class FusedLayer:
    """A layer that is one fused convolution; `back` carries gradients where one more can."""

    layer: Layer
    convolution: FusedConvolution
    weight: Tensor
    bias: Tensor | None
    packed: Tensor
    back: FusedConvolution | None
    packed_back: Tensor | None

    def run(self, x: Tensor, packed: Tensor) -> Tensor:
        """Return the layer's output for an input and a prepared weight."""
        return self.convolution(x, packed, self.bias)

    def before_clip(self, gradient: Tensor, y: Tensor) -> Tensor:
        """Return the gradient before the clip from that after it; y is what left the clip."""
        if self.convolution.clip is None:
            return gradient
        low, high = self.convolution.clip
        found: Tensor
        if high is None:
            found = torch.ops.aten.threshold_backward(gradient, y, low)
        else:
            found = torch.ops.aten.hardtanh_backward(gradient, y, low, high)
        return found

    def pull(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient at the input from that before the clip."""
        if self.back is not None and self.packed_back is not None:
            return self.back(gradient, self.packed_back, None)
        given = self.convolution
        found: Tensor = torch.ops.aten.convolution_backward(
            gradient, x, self.weight, None, given.stride, given.padding, given.dilation,
            False, [0, 0], given.groups, [True, False, False],  # noqa: FBT003
        )[0]  # fmt: skip
        return found


def fuse_layer(
    layer: Layer, operations: Sequence[Operation], portable: Portable
) -> FusedLayer | None:
    """Return a layer as one kernel; None where it is none, or this build of torch has none.

    `operations` are its own and the functions that are fused with it.
    """
    if not fused_convolution.available():
        return None
    shapes = {item.name: item.shape for item in portable.operations}
    first, *chain = operations
    convolution = read_convolution(first, portable.constants, shapes)
    if convolution is None or layer.weight is None or len(chain) > 1:
        return None
    if chain and not can_fuse(chain[0].clip):
        return None
    convolution = replace(convolution, clip=chain[0].clip if chain else None)
    constants = portable.constants
    weight = constants[convolution.weight].contiguous(memory_format=torch.channels_last)
    back, turned = _reversed(convolution, weight, layer)
    return FusedLayer(
        layer=layer,
        convolution=convolution,
        weight=weight,
        bias=None if convolution.bias is None else constants[convolution.bias],
        packed=convolution.pack(weight, PACKED_FOR),
        back=back,
        packed_back=None if back is None else back.pack(turned, PACKED_FOR),
    )


def _reversed(
    convolution: FusedConvolution, weight: Tensor, layer: Layer
) -> tuple[FusedConvolution | None, Tensor]:
    """Return the convolution that carries gradients back, and its weight.

    With a stride of one that is a convolution too, its weight turned round, inputs and outputs
    exchanged; it is twice as fast as the kernel made for the purpose. None with another stride.
    """
    padding = [
        step * (size - 1) - zeros
        for step, size, zeros in zip(
            convolution.dilation, weight.shape[2:], convolution.padding, strict=True
        )
    ]
    depthwise = convolution.groups == len(weight) and weight.shape[1] == 1
    simple = convolution.groups == 1 or depthwise
    if convolution.stride != [1, 1] or min(padding) < 0 or not simple:
        return None, weight
    turned = weight.flip(2, 3)
    if not depthwise:
        turned = turned.transpose(0, 1)
    back = replace(convolution, bias=None, clip=None, padding=padding, input_shape=layer.shape)
    return back, turned
