"""The law of 32 bits: the simulation of a network without quantization equals the network."""

import torch
from torch import Tensor, fx

from quant.config import uniform_config
from quant.errors import CaptureError
from quant.graph.float_graph import FloatGraph
from quant.graph.operators import operator_name
from quant.inputs import Inputs, Outputs, draw_batch, tensors_of_batch
from quant.simulation.plan import plan_sites
from quant.simulation.quant_graph import QuantGraph
from quant.spec import FLOAT_BITS

FEWEST = 2
"""Samples in the batch on which the law is checked, where any batch size runs."""


def check_float_law(graph: FloatGraph) -> None:
    """Check that a network and the simulation at 32 bits are equal on one random batch.

    Raises:
        CaptureError: the outputs differ; the sentence names the first different node.
    """
    inputs = draw_batch(graph.inputs, graph.batch or FEWEST)
    simulated = QuantGraph(graph, plan_sites(graph, uniform_config(FLOAT_BITS, FLOAT_BITS)))
    with torch.inference_mode():
        pairs = zip(
            tensors_of_batch(_run_network(graph, inputs)),
            tensors_of_batch(simulated.run(_copies_of_inputs(inputs))),
            strict=True,
        )
        if all(map(_tensors_are_equal, *zip(*pairs, strict=True))):
            return
        where = _first_different_node(graph, simulated, inputs)
    raise CaptureError(
        "A network simulated at 32 bits must equal its own float run; this one does not, first at "
        f"{where}. Write that step so that it changes no value that another step reads, and report "
        "this network."
    )


def _run_network(graph: FloatGraph, inputs: Inputs) -> Outputs:
    """Return the outputs, shape (N, ...), of a network on random inputs.

    Raises:
        CaptureError: an operation refuses the inputs.
    """
    try:
        return graph.run(_copies_of_inputs(inputs))
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        shapes = ", ".join(str(tuple(one.shape)) for one in tensors_of_batch(inputs))
        said = next(iter(str(error).splitlines()), "")[:300]
        raise CaptureError(
            f"A network must run on inputs of its own shapes; on random inputs of shape {shapes} "
            f"this one stopped with: {said} Run the network on such inputs, then export it again."
        ) from None


def _copies_of_inputs(inputs: Inputs) -> Inputs:
    """Return copies: a network may write into inputs."""
    return inputs.clone() if isinstance(inputs, Tensor) else tuple(x.clone() for x in inputs)


def _tensors_are_equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


class _Record(fx.Interpreter):
    """Runs a graph and holds a copy of the tensors computed by nodes."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        """Run a node."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.values[n.name] = result.clone()
        return result


def _first_different_node(graph: FloatGraph, simulated: QuantGraph, inputs: Inputs) -> str:
    ours, theirs = _Record(graph.module), _Record(simulated.module)
    ours.run(*tensors_of_batch(_copies_of_inputs(inputs)))
    theirs.run(*tensors_of_batch(_copies_of_inputs(inputs)))
    for node in graph.module.graph.nodes:
        other = theirs.values.get(node.name)
        if node.name not in ours.values or other is None:
            continue
        if not _tensors_are_equal(ours.values[node.name], other):
            return f"{node.name} ({operator_name(node) or node.op})"
    return "its output"
