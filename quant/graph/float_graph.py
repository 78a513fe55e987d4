"""The float network as one graph: run it, read and set its tensors, copy it."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from quant.graph.layers import (
    Layer,
    find_layers,
    shape_of,
    stored_tensor,
)
from quant.graph.operators import Kind
from quant.inputs import Input, Inputs, Outputs, first_of, parts_of


@dataclass(frozen=True, eq=False, slots=True)
class ChannelNormal:
    """What a batch norm says of a layer's output before its activation function.

    `mean` (beta) and `std` (|gamma|) have one value a channel.
    """

    mean: Tensor
    std: Tensor


@dataclass(eq=False)
class FloatGraph:
    """A network as a graph of ATen operators with plain shapes on its nodes.

    `input_shape` is the shape of one image without the batch, that of the first input where there
    are several (`inputs` has all). `batch` is None where any batch size runs, else the only one
    that does. `normals` maps a layer's node to its batch norm's statistics once batch norms are
    folded.
    """

    module: fx.GraphModule
    input_shape: tuple[int, ...]
    batch: int | None = None
    normals: dict[str, ChannelNormal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layers = tuple(find_layers(self.module))

    def __call__(self, inputs: Inputs) -> Tensor:
        """Run the network on inputs (N, *input_shape); return its output, of several the first."""
        return first_of(self.run(inputs))

    def run(self, inputs: Inputs) -> Outputs:
        """Run the network and return all its outputs."""
        result: Outputs = self.module(*parts_of(inputs))
        return result

    def __getitem__(self, name: str) -> Layer:
        """Return the layer of that name; a KeyError names those that exist."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"No layer {name!r}; there are {[layer.name for layer in self.layers]}.")

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What the network takes, in the order of its arguments."""
        found = (node for node in self.module.graph.nodes if node.op == "placeholder")
        return tuple(
            Input(node.meta["title"], shape_of(node)[1:], node.meta["kind"], node.meta.get("below"))
            for node in found
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the (first) output for one image, without the batch."""
        return shape_of(self.output_node)[1:]

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of all outputs for one image, without the batch."""
        return tuple(shape_of(node)[1:] for node in self.output_nodes)

    @property
    def output_node(self) -> fx.Node:
        """The node whose value is the network's (first) output."""
        return self.output_nodes[0]

    @property
    def output_nodes(self) -> tuple[fx.Node, ...]:
        """The nodes whose values are the network's outputs, in order."""
        nodes: list[fx.Node] = list(self.module.graph.nodes)
        given = next(node for node in nodes if node.op == "output").args[0]
        found = given if isinstance(given, tuple) else (given,)
        return tuple(node for node in found if isinstance(node, fx.Node))

    def node(self, name: str) -> fx.Node:
        """Return the node of that name."""
        nodes: list[fx.Node] = list(self.module.graph.nodes)
        return next(node for node in nodes if node.name == name)

    def tensor(self, target: str) -> Tensor:
        """Return the parameter or buffer that a get_attr node or a layer names."""
        return stored_tensor(self.module, target)

    def set_tensor(self, target: str, value: Tensor) -> None:
        """Put `value` where `target` points, as a parameter; make it if there is none."""
        owner, _, name = target.rpartition(".")
        module = self.module.get_submodule(owner)
        if name in module._buffers:  # noqa: SLF001  no public way to ask
            module.register_buffer(name, value.detach())
        else:
            module.register_parameter(name, nn.Parameter(value.detach(), requires_grad=False))

    def set_bias(self, layer: Layer, bias: Tensor) -> None:
        """Store a layer's bias; give the operation one if it had none (recompile afterwards)."""
        operation = self.node(layer.node)
        held = operation.args[2] if len(operation.args) > 2 else None
        if isinstance(held, fx.Node):
            self.set_tensor(str(held.target), bias)
            return
        owner = str(layer.weight).rpartition(".")[0]
        target = f"{owner}.bias" if owner else "bias"
        if hasattr(self.module.get_submodule(owner), "bias"):  # of another operation
            target = f"{layer.weight}_bias"
        self.set_tensor(target, bias)
        with self.module.graph.inserting_before(operation):
            node = self.module.graph.get_attr(target)
        node.meta = {"path": owner, "shape": tuple(bias.shape), "real": True, "activation": False}
        operation.args = (*operation.args[:2], node, *operation.args[3:])

    def bias_of(self, layer: Layer) -> Tensor:
        """Return a layer's bias; zeros where it has none."""
        operation = self.node(layer.node)
        held = operation.args[2] if len(operation.args) > 2 else None
        if isinstance(held, fx.Node):
            return self.tensor(str(held.target))
        shape = shape_of(operation)
        return torch.zeros(shape[-1] if layer.kind is Kind.LINEAR else shape[1])

    def copy(self) -> "FloatGraph":
        """Return a graph with weights of its own."""
        return FloatGraph(
            copy_module(self.module), self.input_shape, self.batch, dict(self.normals)
        )

    def parameters(self) -> int:
        """Return the number of weights and biases, batch norms' included."""
        return sum(p.numel() for p in self.module.parameters())


def copy_module(module: fx.GraphModule) -> fx.GraphModule:
    """Return a copy with a graph and tensors of its own; tensors used twice stay one."""
    memo: dict[int, Tensor] = {}
    root: dict[str, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            value = getattr(module.get_submodule(owner), name)
            root[str(node.target)] = memo.setdefault(id(value), copy.deepcopy(value))
        elif node.op == "call_module":
            root[str(node.target)] = copy.deepcopy(module.get_submodule(str(node.target)))
    graph = fx.Graph()
    mapped: dict[fx.Node, fx.Node] = {}
    for node in module.graph.nodes:
        mapped[node] = graph.node_copy(node, lambda old: mapped[old])
        mapped[node].meta = dict(node.meta)
    return fx.GraphModule(root, graph)
