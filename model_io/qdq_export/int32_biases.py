"""Biases as int32 with the scale of a layer's products, scale_x * scale_w, for integer kernels."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_io.qdq_export.stored_encoding import StoredEncoding
from quant.encoding import Encoding

LARGEST = 2**30
"""A bias has at most so many steps: half of int32, so that products fit beside it."""
_MOST = 2**31 - 2**8
"""int32 itself, less what float32 rounds: a scale raised for `LARGEST` always fits."""
_BYTE = 8


def raise_weight_scales(encoding: Encoding, bias: Tensor, x: StoredEncoding) -> Encoding:
    """Return a weight's encoding with larger scales where int32 cannot hold the bias.

    An overflow needs weights 2**23 times smaller than the bias of the channel, as in dead
    channels; the loss from the coarser encoding is as small. Encodings wider than 8 bits stay: no
    integer kernel adds the bias (see `bias_scale`).

    Args:
        encoding: the encoding of the weight; one scale, or one scale by channel.
        bias: shape (O,).
        x: the encoding of the layer's input.
    """
    if max(x.encoding_bits, (encoding.qmax - encoding.qmin).bit_length()) > _BYTE:
        return encoding
    least = bias.abs().double() / (float(x.scale) * LARGEST)
    scale = encoding.scale
    # channels of a transposed convolution repeat for each group
    least = least.reshape(-1, scale.numel()).amax(0) if scale.dim() else least.max()
    raised = torch.maximum(scale.double(), least.reshape(scale.shape)).float()
    return encoding if torch.equal(raised, scale) else replace(encoding, scale=raised)


def bias_scale(bias: NDArray[np.float32], product: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale of a bias: the product scale, times a power of two where int32 needs one.

    Shapes: () or (O,).
    """
    repeated = np.tile(product, len(bias) // len(product)) if product.ndim else product
    over = np.abs(bias.astype(np.float64)) / repeated / _MOST
    powers = np.ceil(np.log2(np.maximum(over, 1.0)))
    powers = powers if repeated.ndim else powers.max()
    found: NDArray[np.float32] = (repeated * np.exp2(powers)).astype(np.float32)
    return found
