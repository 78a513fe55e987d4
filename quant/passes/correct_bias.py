"""Bias correction: give back the mean that quantization moved (white paper, section 3.3)."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.connections import WEIGHTED, groups_of
from quant.graph import FloatGraph, Layer
from quant.moments import propagate
from quant.passes.absorb_bias import carried_mean
from quant.passes.methods import Method
from quant.prefix import output_of
from quant.progress import Progress, Steps
from quant.simulation import QuantGraph


@dataclass(frozen=True, eq=False, slots=True)
class BiasShift:
    """How far quantization moved the mean of a layer's output channels (C,), and what remains.

    `after` is None where only the analytic method was used, which does not look at data.
    """

    layer: str
    before: Tensor
    after: Tensor | None


@dataclass(frozen=True, eq=False, slots=True)
class Corrected:
    """The shifts that were corrected, and the layers that could not be, with the reason."""

    shifts: tuple[BiasShift, ...]
    skipped: dict[str, str]


@dataclass(frozen=True, slots=True)
class CorrectBias:
    """Subtract the mean error of each layer's output from its bias; costs nothing at inference.

    Empirical: E[y] over images, float minus quantized, layer by layer, each fed by layers that
    are already corrected. Analytic: (W^ - W) E[x], with E[x] from batch norms through clipped
    normals; layers whose input no batch norm determines are skipped.
    """

    method: Method = Method.EMPIRICAL

    def __call__(
        self, graph: FloatGraph, quantized: QuantGraph, batches: Iterable[Tensor] = ()
    ) -> Steps[Corrected]:
        """Correct the biases of `quantized` in place; `graph` is what it was made from.

        A cancelled pass leaves the layers done so far corrected and the graph usable.
        """
        layers = [layer for layer in graph.layers if layer.kind in WEIGHTED and layer.weight]
        if self.method is Method.ANALYTIC:
            return (yield from _analytic(graph, quantized, layers))
        return (yield from _empirical(graph, quantized, layers, list(batches)))


def _analytic(graph: FloatGraph, quantized: QuantGraph, layers: list[Layer]) -> Steps[Corrected]:
    moments = propagate(graph)
    shifts: list[BiasShift] = []
    skipped: dict[str, str] = {}
    for number, layer in enumerate(layers):
        yield Progress(number / len(layers), f"Correcting the bias of {layer.name}")
        found = moments.get(layer.inputs[0])
        encoding = quantized.quantizers[f"{layer.name} weight"].encoding
        weight = graph.tensor(str(layer.weight))
        if encoding is None:
            continue
        groups = groups_of(graph, layer)
        if found is None or len(found.mean) != weight.shape[1] * groups:
            skipped[layer.name] = "no batch norm determines the mean of its input"
            continue
        if layer.channel_axis != 0:
            skipped[layer.name] = "it is a transposed convolution"
            continue
        error = carried_mean(encoding.fake_quantize(weight) - weight, found.mean, groups)
        quantized.graph.set_bias(layer, quantized.graph.bias_of(layer) - error)
        shifts.append(BiasShift(layer.name, error, None))
    quantized.module.recompile()
    return Corrected(tuple(shifts), skipped)


@torch.inference_mode()
def _channel_mean(value: Tensor) -> Tensor:
    """Return the sum over all but the channels, and weigh nothing: (C,) float64."""
    axes = [0, 2, 3] if value.dim() == 4 else list(range(value.dim() - 1))
    return value.double().mean(axes)


def _mean_output(graph: FloatGraph, layer: Layer, batches: list[Tensor]) -> Tensor:
    total = sum(len(batch) for batch in batches)
    means = (
        _channel_mean(output_of(graph.module, layer.node, batch)) * (len(batch) / total)
        for batch in batches
    )
    result: Tensor = torch.stack(list(means)).sum(0)
    return result


def _empirical(
    graph: FloatGraph, quantized: QuantGraph, layers: list[Layer], batches: list[Tensor]
) -> Steps[Corrected]:
    shifts = []
    for number, layer in enumerate(layers):
        yield Progress(number / len(layers), f"Correcting the bias of {layer.name}")
        wanted = _mean_output(graph, layer, batches)
        before = _mean_output(quantized.graph, layer, batches) - wanted
        corrected = quantized.graph.bias_of(layer).double() - before
        quantized.graph.set_bias(layer, corrected.float())
        quantized.module.recompile()
        after = _mean_output(quantized.graph, layer, batches) - wanted
        shifts.append(BiasShift(layer.name, before.float(), after.float()))
    return Corrected(tuple(shifts), {})
