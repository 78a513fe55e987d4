"""Float against simulated, layer by layer."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from analysis.evaluation.measures import sqnr_db
from analysis.network import Network, forward
from quant.inputs import Inputs
from quant.simulation.plan import Role
from quant.simulation.quant_graph import QuantGraph


def layer_sqnr(network: Network, quantized: QuantGraph, inputs: Inputs) -> dict[str, float]:
    """Return the SQNR in dB of each layer's output, errors of the layers before it included.

    `inputs` (N, ...) should be few images: all activations of both networks are held at once.
    """
    with quantized.floating():
        reference = layer_outputs(network, quantized, inputs)
    simulated = layer_outputs(network, quantized, inputs)
    return {name: sqnr_db(reference[name], simulated[name]) for name in reference}


def layer_outputs(network: Network, quantized: QuantGraph, inputs: Inputs) -> dict[str, Tensor]:
    """Return what leaves the quantizer of each layer, by layer, in the states they are in."""
    wanted = {
        site.name: quantized.quantizers[site.name]
        for site in quantized.sites
        if site.role is Role.ACTIVATION
    }
    return _outputs(network, quantized, wanted, inputs)


def _outputs(
    network: Network, graph: QuantGraph, modules: Mapping[str, nn.Module], inputs: Inputs
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        with torch.inference_mode():
            forward(graph, network.graph.batch, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found
