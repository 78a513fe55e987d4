"""A network spoilt on purpose: the function of fashion-mobilenet with unequal channels.

Made by running cross-layer equalization (Nagel et al. 2019, section 4.1) backwards. Between an
expansion and the depthwise layer behind, a channel is multiplied by a factor s, drawn log-uniformly
from 2^-4 to 2^4 with a fixed seed, and divided by s again in the depthwise layer: s stands in the
first layer's batch norm, 1/s in the second layer's weights, and the ReLU6 between cuts at 6 s
instead of 6. The float outputs stay equal to rounding, because min(max(s x, 0), 6 s) = s min(max(x,
0), 6) for s > 0. Weights of the two layers then differ by factors of up to 256 in size, as found in
trained MobileNets, and a single scale a tensor no longer serves every channel.
"""

import torch
from torch import Tensor, nn

from sample_models.mobilenet import FashionMobileNet, InvertedResidual

SEED = 0
OCTAVES = 4.0
"""Factors lie between 2 to the power of minus this and of plus this."""


class ClippedReLU(nn.Module):
    """ReLU with a separate cut for every channel: `min(max(x, 0), cap)`.

    Exported by torch.export as one `aten.clamp.Tensor(x, floor, cap)`.

    Args:
        cap: the cut of each channel, above 0; shape (C,).
    """

    floor: Tensor
    cap: Tensor

    def __init__(self, cap: Tensor) -> None:
        super().__init__()
        self.register_buffer("floor", torch.zeros(len(cap), 1, 1))
        self.register_buffer("cap", cap.detach().clone().reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to a tensor of equal shape."""
        return torch.clamp(x, self.floor, self.cap)


def unbalance_channels(model: FashionMobileNet, seed: int = SEED) -> FashionMobileNet:
    """Rescale the channels of `model` in place, as the module's text says; return `model`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in model.blocks:
            if not isinstance(block, InvertedResidual):
                raise TypeError(f"Blocks must be InvertedResidual, got {type(block).__name__}.")
            if isinstance(block.expand, nn.Sequential):  # the first block has no expansion
                _rescale_channels(block.expand, block.depthwise, generator)
    return model


def _rescale_channels(
    first: nn.Sequential, depthwise: nn.Module, generator: torch.Generator
) -> None:
    """Multiply the channels of `first` (conv, batch norm, ReLU6) by s, divide in the second."""
    norm = first[1]
    if not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"The second module must be a BatchNorm2d, got {type(norm).__name__}.")
    draw = torch.rand(norm.num_features, generator=generator)
    factors = torch.exp2((2 * draw - 1) * OCTAVES)
    norm.weight.mul_(factors)
    norm.bias.mul_(factors)
    first[2] = ClippedReLU(6 * factors)
    depthwise.get_parameter("0.weight").div_(factors.reshape(-1, 1, 1, 1))
