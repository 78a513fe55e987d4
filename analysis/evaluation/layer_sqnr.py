"""SQNR of each layer's output: float against simulated network."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from analysis.evaluation.measures import sqnr_db
from analysis.network import Network, forward_first_output
from quant.inputs import Inputs
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph

LAYER_IMAGES = 8
"""Images that layers are compared on: the activations of both networks are held at once."""


def measure_layer_sqnr(network: Network, quantized: QuantGraph, inputs: Inputs) -> dict[str, float]:
    """Return the SQNR in dB of each layer's output, including errors of the layers before.

    Pass few images (N, ...), because memory holds the activations of both networks at once.
    """
    with quantized.as_float_network():
        reference = record_layer_outputs(network, quantized, inputs)
    simulated = record_layer_outputs(network, quantized, inputs)
    return {name: sqnr_db(reference[name], simulated[name]) for name in reference}


def record_layer_outputs(
    network: Network, quantized: QuantGraph, inputs: Inputs
) -> dict[str, Tensor]:
    """Return the output of each layer's quantizer, of shape (N, ...), in the present state."""
    quantizers = {
        site.name: quantized.quantizers[site.name]
        for site in quantized.sites
        if site.side is Side.ACTIVATIONS
    }
    return _record_outputs(network, quantized, quantizers, inputs)


def _record_outputs(
    network: Network, graph: QuantGraph, modules: Mapping[str, nn.Module], inputs: Inputs
) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        with torch.inference_mode():
            forward_first_output(graph, network.graph.batch, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return outputs
