"""The mean behind an activation function: the change of the bias that restores the float mean."""

import torch
from torch import Tensor

from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import channels_last
from quant.graph.layers import Layer
from quant.passes.samples import fused_activation_of
from quant.simulation.plan import weight_site_name
from quant.simulation.quant_graph import QuantGraph

MOST_ROWS = 16_384
HALVINGS = 24
"""Of the interval that holds the shift: to 6e-8 of its length."""


def has_learned_rounding(graph: FloatGraph, quantized: QuantGraph, layer: Layer) -> bool:
    """Tell whether a weight of the layer is not rounded to nearest, as after AdaRound."""
    encoding = quantized.quantizers[weight_site_name(layer.name)].encoding
    if encoding is None or layer.weight is None:
        return False
    nearest = encoding.fake_quantize(graph.stored_tensor(layer.weight))
    present = encoding.fake_quantize(quantized.graph.stored_tensor(layer.weight))
    return bool(((present - nearest).abs() > encoding.scale / 2).any())


def shift_behind_activation(
    graph: FloatGraph, layer: Layer, given: list[Tensor], received: list[Tensor]
) -> Tensor:
    """Return the shift d (C,) with mean f(y^ + d) = mean f(y), f the layer's fused functions.

    `given` holds y, the float outputs before f, shape (N, C, ...), by batch; `received` holds y^ of
    the quantized network. Up to 16 384 positions stand for the rest. A channel that does not react
    to shifts, such as a dead channel, keeps 0. f must not fall; halving finds d.
    """
    rows, others = _rows(layer, given), _rows(layer, received)
    activation = fused_activation_of(graph, layer)
    wanted = activation(rows).double().mean(0)
    low = rows.amin(0) - others.amax(0)
    high = rows.amax(0) - others.amin(0)

    def mean_at(shift: Tensor) -> Tensor:
        return activation(others + shift).double().mean(0)

    still = (mean_at(high) - mean_at(low)).abs() <= 1e-12
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = mean_at(middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    present = mean_at(torch.zeros_like(low))
    close = (present - wanted).abs() <= 1e-9 * (wanted.abs() + 1e-9)
    return torch.where(still | close, torch.zeros_like(low), (low + high) / 2)


def _rows(layer: Layer, values: list[Tensor]) -> Tensor:
    """Return evenly spaced positions of the batches as rows (R, C)."""
    rows = torch.cat([channels_last(value, layer).flatten(0, -2) for value in values])
    return rows[:: -(-len(rows) // MOST_ROWS)]
