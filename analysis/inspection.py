"""The facts about a network before the first measurement."""

from collections import Counter
from dataclasses import dataclass

from analysis.network import Network
from quant.graph.float_weights import FloatWeight
from quant.graph.layers import is_input_name
from quant.graph.operators import Kind, operator_name
from quant.inputs import Input


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer: kind, shape of the output for one sample, weight, multiply-accumulates."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """The facts about a network.

    Attributes:
        name: name of the network.
        inputs: the inputs, in order.
        output_shapes: the shape of every output for one sample.
        batch: the only batch size, or None for a free batch.
        operators: (operator, number of nodes), the most frequent first.
        layers: the layers with an encoding, without inputs.
        encoded_weights: count of numbers with an encoding as weights of layers.
        float_weights: stored tensors that enter products without an encoding.
        parameters: count of weights, biases and norms of the file, before folding.
        macs: multiply-accumulates of one sample.
        float_layers: layers with a float operation between two encodings.
        notes: changes and omissions while reading the file.
        limits: questions that QuantScope cannot answer for the network, with reasons.
    """

    name: str
    inputs: tuple[Input, ...]
    output_shapes: tuple[tuple[int, ...], ...]
    batch: int | None
    operators: tuple[tuple[str, int], ...]
    layers: tuple[LayerFacts, ...]
    encoded_weights: int
    float_weights: tuple[FloatWeight, ...]
    parameters: int
    macs: int
    float_layers: tuple[str, ...]
    notes: tuple[str, ...]
    limits: tuple[str, ...]

    def report_sentences(self) -> tuple[str, ...]:
        """Return the report as sentences, the most important first."""
        weighted = sum(bool(layer.weight_shape) for layer in self.layers)
        inputs = "; ".join(f"{one.name} {_shape_text(one.shape)} {one.kind}" for one in self.inputs)
        outputs = "; ".join(map(_shape_text, self.output_shapes))
        frequent = ", ".join(f"{count} {name}" for name, count in self.operators[:12])
        size = "any batch size" if self.batch is None else f"batches of {self.batch} alone"
        size_of_all = (
            f"{len(self.layers)} layers, {weighted} of them with weights; {self.macs} "
            "multiply-accumulates for one sample."
        )
        encoded = (
            f"{self.encoded_weights} of {self.parameters} parameters are weights with an encoding; "
            "the others are biases, norms and what is listed below."
        )
        return (
            f"{self.name} takes {inputs}, {size}, and returns {outputs}.",
            size_of_all,
            encoded,
            f"Operators: {frequent}.",
            *self._float_sentences(),
            *self.notes,
            *self.limits,
        )

    def _float_sentences(self) -> tuple[str, ...]:
        if not self.float_layers:
            return ()
        named = ", ".join(self.float_layers[:5])
        more = f" and {len(self.float_layers) - 5} more" if len(self.float_layers) > 5 else ""
        return (f"These operations compute in float between two encodings: {named}{more}.",)


def inspect_network(network: Network) -> Inspection:
    """Return the facts about a network, without data.

    Example:
        >>> from torch import nn
        >>> from analysis.network import prepare_network
        >>> model = nn.Sequential(nn.Linear(4, 2))
        >>> found = inspect_network(prepare_network("one", model, (4,), "digest"))
        >>> (found.macs, found.encoded_weights, found.parameters)
        (8, 8, 10)
    """
    graph = network.graph
    layers = [layer for layer in graph.layers if not is_input_name(layer.name)]
    calls = (operator_name(node) for node in graph.module.graph.nodes)
    names = Counter(name.removeprefix("aten.") for name in calls if name.startswith("aten."))
    weights = {layer.weight for layer in layers if layer.weight}
    return Inspection(
        name=network.name,
        inputs=graph.inputs,
        output_shapes=graph.output_shapes,
        batch=graph.batch,
        operators=tuple(names.most_common()),
        layers=tuple(
            LayerFacts(
                layer.name,
                layer.kind.value,
                layer.shape[1:],
                layer.weight_shape,
                layer.parameters,
                layer.macs,
            )
            for layer in layers
        ),
        encoded_weights=sum(graph.stored_tensor(weight).numel() for weight in weights),
        float_weights=network.float_weights,
        parameters=network.parameters,
        macs=network.mac_count,
        float_layers=tuple(layer.name for layer in layers if layer.kind in (Kind.NORM, Kind.OTHER)),
        notes=network.notes,
        limits=tuple(_network_limits(network)),
    )


def _network_limits(network: Network) -> list[str]:
    """Return the refused questions, with reasons."""
    graph, found = network.graph, []
    if not network.is_classifier:
        found.append(
            "Top-1 accuracy is not measured: the first output is no row of classes. SQNR, cosine "
            "and a metric of your own take its place."
        )
    if not any(layer.weight for layer in graph.layers):
        found.append("Weight bits change nothing: no layer has a weight.")
    if graph.batch not in (None, 1):
        found.append(
            f"The last batch of a data set is filled up to {graph.batch} samples: the file fixes "
            "the batch size. Export it with a free one to save that time."
        )
    if not any(layer.macs for layer in graph.layers):
        found.append("The cost of products is 0: nothing multiplies matrices.")
    return found


def _shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"
