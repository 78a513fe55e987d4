"""The float network as a graph: run the graph, read and set tensors, copy the graph."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from quant.graph.layers import Layer, find_layers, shape_of_node, stored_tensor
from quant.graph.node_facts import NodeFacts, facts_of_node, write_node_facts
from quant.graph.operators import Kind
from quant.inputs import Input, Inputs, Outputs, first_output_of, tensors_of_batch
from quant.torch_state import wait_while_tracing


@dataclass(frozen=True, eq=False, slots=True)
class ChannelNormal:
    """Mean and standard deviation before the activation function, from a batch norm.

    `mean` (beta) and `std` (|gamma|) have shape (C,).
    """

    mean: Tensor
    std: Tensor


@dataclass(eq=False)
class FloatGraph:
    """A network as a graph of ATen operators, with `NodeFacts` on each node.

    Attributes:
        module: the executable graph.
        input_shape: shape (C, H, W) of one image; the first input's shape if `inputs` has several.
        batch: the only batch size that runs; None if any batch size runs.
        normals: batch norm statistics by node name, once batch norms are folded.
        notes: what the capture changed, a sentence each.
        layers: the layers in order of execution.
    """

    module: fx.GraphModule
    input_shape: tuple[int, ...]
    batch: int | None = None
    normals: dict[str, ChannelNormal] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    _nodes: dict[str, fx.Node] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.layers = tuple(find_layers(self.module))

    def __getstate__(self) -> dict[str, object]:
        """Return what a copy takes over: a copy has nodes of its own."""
        return {**self.__dict__, "_nodes": {}}

    def __call__(self, inputs: Inputs) -> Tensor:
        """Run the network on inputs (N, *input_shape); return the first output (N, ...)."""
        return first_output_of(self.run(inputs))

    @wait_while_tracing
    def run(self, inputs: Inputs) -> Outputs:
        """Run the network on inputs of shape (N, *input_shape); return outputs (N, ...)."""
        result: Outputs = self.module(*tensors_of_batch(inputs))
        return result

    def __getitem__(self, name: str) -> Layer:
        """Return the layer with a name.

        Raises:
            KeyError: no layer has the name; the sentence lists the names.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"No layer {name!r}; there are {[layer.name for layer in self.layers]}.")

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs of the network, in the order of the arguments."""
        nodes = [node for node in self.module.graph.nodes if node.op == "placeholder"]
        return tuple(
            Input(facts.title, shape_of_node(node)[1:], facts.kind, facts.below)
            for node, facts in zip(nodes, map(facts_of_node, nodes), strict=True)
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the first output for one image, without the batch."""
        return shape_of_node(self.first_output_node)[1:]

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs for one image, without the batch."""
        return tuple(shape_of_node(node)[1:] for node in self.output_nodes)

    @property
    def first_output_node(self) -> fx.Node:
        """The node of the first output."""
        return self.output_nodes[0]

    @property
    def output_nodes(self) -> tuple[fx.Node, ...]:
        """The nodes of the outputs, in order."""
        nodes: list[fx.Node] = list(self.module.graph.nodes)
        value = next(node for node in nodes if node.op == "output").args[0]
        values = value if isinstance(value, tuple) else (value,)
        return tuple(node for node in values if isinstance(node, fx.Node))

    def node_named(self, name: str) -> fx.Node:
        """Return the node with a name.

        Raises:
            KeyError: no node of the graph has the name.
        """
        node = self._nodes.get(name)
        if node is None or not self._still_has(node, name):
            self._nodes = {node.name: node for node in self.module.graph.nodes}
        return self._nodes[name]

    def _still_has(self, node: fx.Node, name: str) -> bool:
        """Return whether no pass has renamed, erased or replaced a node since it was found."""
        return node.name == name and node.graph is self.module.graph and not node._erased  # noqa: SLF001

    def stored_tensor(self, target: str) -> Tensor:
        """Return the parameter or buffer at a target in the stored shape, as (O, I, kh, kw)."""
        return stored_tensor(self.module, target)

    def store_tensor(self, target: str, value: Tensor) -> None:
        """Store `value`, of any shape, at `target`; a missing target becomes a parameter."""
        owner, _, name = target.rpartition(".")
        module = self.module.get_submodule(owner)
        if name in module._buffers:  # noqa: SLF001  no public way to ask
            module.register_buffer(name, value.detach())
        else:
            module.register_parameter(name, nn.Parameter(value.detach(), requires_grad=False))

    def store_bias(self, layer: Layer, bias: Tensor) -> None:
        """Store a layer's bias (O,).

        An operation without bias gets a bias; recompile the module afterwards.
        """
        operation = self.node_named(layer.node)
        stored = operation.args[2] if len(operation.args) > 2 else None
        if isinstance(stored, fx.Node):
            self.store_tensor(str(stored.target), bias)
            return
        owner = str(layer.weight).rpartition(".")[0]
        target = f"{owner}.bias" if owner else "bias"
        if hasattr(self.module.get_submodule(owner), "bias"):  # another operation's bias
            target = f"{layer.weight}_bias"
        self.store_tensor(target, bias)
        with self.module.graph.inserting_before(operation):
            node = self.module.graph.get_attr(target)
        write_node_facts(node, NodeFacts(path=owner, shape=tuple(bias.shape), real=True))
        operation.args = (*operation.args[:2], node, *operation.args[3:])

    def bias_of_layer(self, layer: Layer) -> Tensor:
        """Return a layer's bias (O,); zeros if the layer has no bias."""
        operation = self.node_named(layer.node)
        stored = operation.args[2] if len(operation.args) > 2 else None
        if isinstance(stored, fx.Node):
            return self.stored_tensor(str(stored.target))
        shape = shape_of_node(operation)
        return torch.zeros(shape[-1] if layer.kind is Kind.LINEAR else shape[1])

    def copy_graph(self) -> "FloatGraph":
        """Return a graph with copied weights."""
        return FloatGraph(
            copy_graph_module(self.module),
            self.input_shape,
            self.batch,
            dict(self.normals),
            self.notes,
        )

    def parameter_count(self) -> int:
        """Return the number of weights and biases, batch norms included."""
        return sum(p.numel() for p in self.module.parameters())


def copy_graph_module(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of graph and tensors; a tensor with two uses stays a single tensor."""
    copies: dict[int, Tensor] = {}
    root: dict[str, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            value = getattr(module.get_submodule(owner), name)
            root[str(node.target)] = copies.setdefault(id(value), copy.deepcopy(value))
        elif node.op == "call_module":
            root[str(node.target)] = copy.deepcopy(module.get_submodule(str(node.target)))
    graph = fx.Graph()
    mapped: dict[fx.Node, fx.Node] = {}
    for node in module.graph.nodes:
        mapped[node] = graph.node_copy(node, lambda old: mapped[old])
        mapped[node].meta = dict(node.meta)
    return fx.GraphModule(root, graph)
