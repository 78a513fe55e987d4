"""Weights and outputs must be finite numbers; an error names the layer."""

import torch
from torch import Tensor, fx

from quant.errors import QuantError
from quant.graph.float_graph import FloatGraph
from quant.inputs import Inputs, tensors_of_batch


def check_finite_weights(graph: FloatGraph) -> None:
    """Check that the layers' weights are finite.

    Raises:
        QuantError: a weight is NaN or infinite; the message names the layer.
    """
    for layer in graph.layers:
        if layer.weight is None:
            continue
        weight = graph.stored_tensor(layer.weight)
        wrong = int((~torch.isfinite(weight)).sum())
        if wrong:
            raise QuantError(
                f"All weights must be finite numbers; {wrong} of {weight.numel()} in {layer.name} "
                "are NaN or infinite. Train or export the network again."
            )


def check_finite_outputs(graph: FloatGraph, inputs: Inputs, outputs: tuple[Tensor, ...]) -> None:
    """Check that the float network's outputs, shape (N, ...), on given inputs are finite.

    Raises:
        QuantError: an output is NaN or infinite; the message names the first layer with such a
            value, and the layer's largest weight.
    """
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        raise QuantError(describe_overflow(graph, inputs))


def describe_overflow(graph: FloatGraph, inputs: Inputs) -> str:
    """Return a sentence on the first layer without finite values for inputs of shape (N, ...)."""
    search = _FirstOverflow(graph.module)
    with torch.inference_mode():
        search.run(*tensors_of_batch(inputs))
    layer = next((one for one in graph.layers if search.guilty in (one.node, one.output)), None)
    where = "an operation" if layer is None else layer.name
    largest = ""
    if layer is not None and layer.weight is not None:
        largest = (
            f", whose largest weight is {float(graph.stored_tensor(layer.weight).abs().max()):.3g}"
        )
    return (
        "The float network's outputs must be finite numbers; on these inputs they are NaN or "
        f"infinite, first after {where}{largest}. The largest input is "
        f"{max(float(part.abs().max()) for part in tensors_of_batch(inputs)):.3g}. Check the "
        "weights of that layer and the scale of the inputs."
    )


class _FirstOverflow(fx.Interpreter):
    """Runs a graph and notes the first node without finite values."""

    guilty = ""

    def run_node(self, n: fx.Node) -> object:
        """Run a node."""
        value = super().run_node(n)
        if not self.guilty and n.op == "call_function" and isinstance(value, Tensor):
            real = value.is_floating_point()
            if real and not bool(torch.isfinite(value).all()):
                self.guilty = n.name
        return value
