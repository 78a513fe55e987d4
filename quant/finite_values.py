"""Weights and outputs must be finite numbers; an error names the layer."""

import torch
from torch import Tensor, fx

from quant.errors import QuantError
from quant.graph.float_graph import FloatGraph
from quant.graph.operators import SOFTMAXES, is_pass_through, operator_name
from quant.inputs import Inputs, arrange_batch, split_batch, tensors_of_batch


def check_finite_weights(graph: FloatGraph) -> None:
    """Check that the layers' weights hold numbers, and that weights and biases are finite.

    Raises:
        QuantError: a weight is empty, or a weight or bias is NaN or infinite; the message names the
            layer.
    """
    for layer in graph.layers:
        if layer.weight is None:
            continue
        weight = graph.stored_tensor(layer.weight)
        if not weight.numel():
            raise QuantError(
                f"A layer must have weights; {layer.name} has a weight of shape "
                f"{tuple(weight.shape)}, which holds none. Take the layer out of the network."
            )
        bias = None if layer.bias is None else graph.stored_tensor(layer.bias)
        endless = 0 if bias is None else int((~torch.isfinite(bias)).sum())
        if endless and bias is not None:
            raise QuantError(
                f"All biases must be finite numbers; {endless} of {bias.numel()} in {layer.name} "
                "are NaN or infinite. Hide a class with a large negative number such as -1e4 in "
                "place of -infinity, or train the network again."
            )
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


def outputs_as_numbers(outputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], int]:
    """Return outputs of shape (N, ...) with 0 for NaN and infinity, and the number of such samples.

    A quantized network divides by what rounds to 0; 0 is our choice for what has no number.

    >>> outputs_as_numbers((torch.tensor([[1.0, torch.nan], [2.0, 3.0]]),))
    ((tensor([[1., 0.],
            [2., 3.]]),), 1)
    """
    wrong = [~torch.isfinite(output) for output in outputs]
    if not any(bool(one.any()) for one in wrong):
        return outputs, 0
    numbers = tuple(output.masked_fill(one, 0) for output, one in zip(outputs, wrong, strict=True))
    samples = torch.stack([one.reshape(len(one), -1).any(1) for one in wrong]).any(0)
    return numbers, int(samples.sum())


def first_overflowing_layer(graph: FloatGraph, inputs: Inputs) -> str:
    """Return the name of the first layer with a value that is NaN or infinite, for inputs (N, ...).

    An operation outside all layers is "an operation".
    """
    return _find_first_overflow(graph, inputs)[1]


def _find_first_overflow(graph: FloatGraph, inputs: Inputs) -> tuple["_FirstOverflow", str]:
    """Run the graph; return the search, and the name of the first layer without finite values."""
    search = _FirstOverflow(graph.module)
    pieces = (inputs,) if graph.batch is None else split_batch(inputs, graph.batch)
    with torch.inference_mode():
        for piece in pieces:
            if not search.guilty:
                search.run(*tensors_of_batch(arrange_batch(piece, graph.batch)))
    return search, next(
        (one.name for one in graph.layers if search.guilty in (one.node, one.output)),
        "an operation",
    )


def describe_overflow(graph: FloatGraph, inputs: Inputs) -> str:
    """Return a sentence on the first layer without finite values for inputs of shape (N, ...)."""
    search, where = _find_first_overflow(graph, inputs)
    layer = next((one for one in graph.layers if one.name == where), None)
    if search.guilty_operator in SOFTMAXES:
        return (
            f"The float network's outputs must be finite numbers; on these inputs {where} is NaN, "
            "for a mask hides every place of a row. Leave at least one place to each row."
        )
    largest = ""
    if layer is not None and layer.weight is not None:
        largest = (
            f", whose largest weight is {float(graph.stored_tensor(layer.weight).abs().max()):.3g}"
        )
    largest_input = max(float(part.double().abs().max()) for part in tensors_of_batch(inputs))
    return (
        "The float network's outputs must be finite numbers; on these inputs they are NaN or "
        f"infinite, first after {where}{largest}. The largest input is "
        f"{largest_input:.3g}. Check the weights of that layer and the scale of the inputs."
    )


class _FirstOverflow(fx.Interpreter):
    """Runs a graph and notes the first node without finite values; -inf of a mask is meant."""

    guilty = ""
    guilty_operator = ""

    def run_node(self, n: fx.Node) -> object:
        """Run a node."""
        value = super().run_node(n)
        if self.guilty or n.op != "call_function" or not isinstance(value, Tensor):
            return value
        finite = not value.is_floating_point() or bool(torch.isfinite(value).all())
        if not finite and not _hides_places(n, value):
            self.guilty, self.guilty_operator = n.name, operator_name(n)
        return value


def _hides_places(node: fx.Node, value: Tensor) -> bool:
    """Tell whether a value of any shape is -inf where a mask means it."""
    name = operator_name(node)
    meant = name.startswith(("aten.where.", "aten.masked_fill", "aten.full")) or is_pass_through(
        node
    )
    return meant and not bool(torch.isnan(value).any() or (value == torch.inf).any())
