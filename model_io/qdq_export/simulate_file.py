"""The simulation of a Q/DQ file; only the biases differ from the simulation before export."""

import copy

import torch

from model_io.qdq_export.export_qdq import QdqOnnx
from quant.graph.layer_pairs import is_shared_argument
from quant.simulation.plan import weight_site_name
from quant.simulation.quant_graph import QuantGraph


def simulate_written_file(quantized: QuantGraph, made: QdqOnnx) -> QuantGraph:
    """Return a copy with the file's integer biases and the raised scales.

    Integer kernels add a bias in steps of scale_x * scale_w; the simulation before export keeps the
    bias float. A bias shared by two operations stays float.
    """
    found = copy.deepcopy(quantized)
    for name, bias in made.biases.items():
        layer = found.graph[name]
        if not is_shared_argument(found.graph.node_named(layer.node), 2):
            found.graph.store_bias(layer, torch.from_numpy(bias))
    for name, encoding in made.raised.items():
        found.quantizers[weight_site_name(name)].set_encoding(encoding)
    found.module.recompile()
    return found
