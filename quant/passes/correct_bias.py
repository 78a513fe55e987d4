"""Bias correction: undo the shift of means by quantization (white paper, section 3.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.errors import CalibrationError
from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import (
    WEIGHTED,
    channels_last,
    convolution_groups,
    has_computed_bias,
    is_shared_argument,
)
from quant.graph.layers import Layer
from quant.graph.walk import Walk
from quant.inputs import Inputs
from quant.passes.absorb_bias import mean_after_layer
from quant.passes.mean_behind import has_learned_rounding, shift_behind_activation
from quant.passes.methods import Method
from quant.passes.samples import reason_against_rows
from quant.progress import Progress, Steps
from quant.ranges.batch_norm_moments import propagate_moments
from quant.simulation.plan import weight_site_name
from quant.simulation.quant_graph import QuantGraph


@dataclass(frozen=True, eq=False, slots=True)
class BiasShift:
    """Shift of the mean of a layer's output channels (C,) by quantization, before and after.

    `after` is None for the analytic method alone, which does not look at data.
    """

    layer: str
    before: Tensor
    after: Tensor | None


@dataclass(frozen=True, eq=False, slots=True)
class Corrected:
    """The corrected shifts, and the layers without correction, with the reason."""

    shifts: tuple[BiasShift, ...]
    skipped: dict[str, str]


@dataclass(frozen=True, slots=True)
class CorrectBias:
    """Subtract the mean error of a layer's output from the bias; costs nothing at inference.

    Empirical: E[y] over images, float minus quantized, layer by layer, with inputs from corrected
    layers. A layer with learned rounding gets the right mean behind the activation function
    instead: AdaRound learned for the mean behind, and the mean before may differ. Analytic: (W^ -
    W) E[x], with E[x] from batch norms through clipped normals; layers with an input not determined
    by batch norms are skipped.
    """

    method: Method = Method.EMPIRICAL

    def __call__(
        self, graph: FloatGraph, quantized: QuantGraph, batches: Iterable[Inputs] = ()
    ) -> Steps[Corrected]:
        """Correct the biases of `quantized` in place; `graph` is the float original.

        A cancelled pass leaves the layers done so far corrected and the graph usable.

        Raises:
            CalibrationError: the empirical method was given no image.
        """
        layers = [layer for layer in graph.layers if layer.kind in WEIGHTED and layer.weight]
        if self.method is Method.ANALYTIC:
            return (yield from _correct_analytically(graph, quantized, layers))
        return (yield from _correct_empirically(graph, quantized, layers, list(batches)))


def _correct_analytically(
    graph: FloatGraph, quantized: QuantGraph, layers: list[Layer]
) -> Steps[Corrected]:
    moments = propagate_moments(graph)
    shifts: list[BiasShift] = []
    skipped: dict[str, str] = {}
    for number, layer in enumerate(layers):
        yield Progress(number / len(layers), f"Correcting the bias of {layer.name}")
        found = moments.get(layer.inputs[0])
        encoding = quantized.quantizers[weight_site_name(layer.name)].encoding
        weight = graph.stored_tensor(str(layer.weight))
        groups = convolution_groups(graph, layer)
        problem = "its weight is float" if encoding is None else _fixed_bias_reason(graph, layer)
        if not problem and layer.channel_axis != 0:
            problem = "it is a transposed convolution"
        if found is None or len(found.mean) != weight.shape[1] * groups:
            problem = problem or "no batch norm determines the mean of its input"
        if encoding is None or found is None or problem:
            skipped[layer.name] = problem
            continue
        error = mean_after_layer(encoding.fake_quantize(weight) - weight, found.mean, groups)
        quantized.graph.store_bias(layer, quantized.graph.bias_of_layer(layer) - error)
        quantized.module.recompile()  # now: whoever cancels must find it done
        shifts.append(BiasShift(layer.name, error, None))
    return Corrected(tuple(shifts), skipped)


def _mean_of_channels(layer: Layer, values: list[Tensor]) -> Tensor:
    """Return the means (C,) of channels over images and positions, in float64."""
    total = sum(len(value) for value in values)
    means = [
        channels_last(value, layer).flatten(0, -2).double().mean(0) * (len(value) / total)
        for value in values
    ]
    return torch.stack(means).sum(0)


def _correct_empirically(
    graph: FloatGraph, quantized: QuantGraph, layers: list[Layer], batches: Sequence[Inputs]
) -> Steps[Corrected]:
    if not batches:
        raise CalibrationError(
            "Empirical bias correction needs at least one image; got none. Bring some, or choose "
            "the analytic method."
        )
    shifts: list[BiasShift] = []
    skipped: dict[str, str] = {}
    original, simulated = Walk(graph.module, batches), Walk(quantized.module, batches)
    for number, layer in enumerate(layers):
        yield Progress(number / len(layers), f"Correcting the bias of {layer.name}")
        problem = _fixed_bias_reason(graph, layer)
        if problem:
            skipped[layer.name] = problem
            continue
        given, received = original.output_of_node(layer.node), simulated.peek_at_node(layer.node)
        wanted = _mean_of_channels(layer, given)
        before = _mean_of_channels(layer, received) - wanted
        shift = before
        if not reason_against_rows(graph, layer) and has_learned_rounding(graph, quantized, layer):
            shift = -shift_behind_activation(graph, layer, given, received).double()
        corrected = quantized.graph.bias_of_layer(layer).double() - shift
        quantized.graph.store_bias(layer, corrected.float())
        after = _mean_of_channels(layer, simulated.output_of_node(layer.node)) - wanted
        quantized.module.recompile()  # now: whoever cancels must find it done
        shifts.append(BiasShift(layer.name, before.float(), after.float()))
    return Corrected(tuple(shifts), skipped)


def _fixed_bias_reason(graph: FloatGraph, layer: Layer) -> str:
    """Return why the operation's bias cannot be changed; empty if the bias can."""
    if is_shared_argument(graph.node_named(layer.node), 2):
        return "another operation shares its bias"
    return "its bias is computed" if has_computed_bias(graph, layer) else ""
