"""The one graph: capture a network, list its layers, copy it."""

import copy
import inspect
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export

from quant.errors import CaptureError
from quant.graph import operators as ops
from quant.graph.activations import mark_activations
from quant.graph.normalize import spell_embedding, spell_linear, spell_reshape
from quant.graph.operators import Kind, operator
from quant.inputs import KINDS, Input, InputLike, Inputs, Outputs, first_of, parts_of

INPUT_LAYER = "input"
"""The layer that is the network's only real input; of several, each has one of its own."""
INPUT_PREFIX = f"{INPUT_LAYER}:"
# Modules that are one operation: torch's own layers, and nodes of an ONNX file.
_OPERATIONS = ("torch.nn.modules.", "onnx_import.network.Operation")


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation with a choice of bits, and the functions that are fused with it.

    `name` is the path people see, `node` the operation, `output` the node whose value leaves the
    layer, `inputs` the nodes whose values enter it. `channel_axis` is the axis of the weight that
    counts output channels. Shapes hold for one image: the first axis of
    `shape` and `input_shapes`, the batch, is 1. `macs` counts multiply-accumulates for one image.
    """

    name: str
    kind: Kind
    node: str
    output: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    input_shapes: tuple[tuple[int, ...], ...] = ()
    weight: str | None = None
    bias: str | None = None
    weight_shape: tuple[int, ...] = ()
    channel_axis: int = 0
    parameters: int = 0
    macs: int = 0


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
        self.layers = tuple(_find_layers(self))

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
        owner, _, name = target.rpartition(".")
        value: Tensor = getattr(self.module.get_submodule(owner), name)
        return value

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


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the node's shape for one image; the batch counts as 1. Empty if it is no tensor."""
    shape: tuple[int, ...] = node.meta.get("shape", ())
    return shape


def is_activation(node: fx.Node) -> bool:
    """Whether the node's value is a real-valued tensor that depends on the input."""
    return bool(node.meta.get("activation"))


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


def capture(
    model: nn.Module | ExportedProgram,
    inputs: tuple[int, ...] | Sequence[InputLike],
    batch: int | None = None,
) -> FloatGraph:
    """Turn a network in eval mode into a graph.

    `inputs` is the shape of its one input without the batch, or describes each input that it
    takes. `batch` is the only batch size that the network takes, or None to find out. Outputs that
    hold no real numbers are left out.

    Raises:
        CaptureError: torch.export cannot trace the network, or an input has no batch axis. The
            message names the module at fault and what can be done.
    """
    wanted = _described(inputs)
    program = model if isinstance(model, ExportedProgram) else export_program(model, wanted, batch)
    traced = program.module(check_guards=False)
    if not isinstance(traced, fx.GraphModule):
        raise CaptureError("torch.export gave no graph for this network.")
    module, only = _plain(traced, wanted)
    first = next(node for node in module.graph.nodes if node.op == "placeholder")
    return FloatGraph(module, shape_of(first)[1:], only)


def _described(inputs: tuple[int, ...] | Sequence[InputLike]) -> list[Input]:
    sizes = [size for size in inputs if isinstance(size, int)]
    if len(sizes) == len(inputs):  # the shape of the only one
        return [Input(INPUT_LAYER, tuple(sizes))]
    given = [one for one in inputs if not isinstance(one, int)]
    return [Input(one.name, tuple(one.shape), one.kind) for one in given]


def export_program(
    model: nn.Module, takes: tuple[int, ...] | Sequence[InputLike], fixed: int | None = None
) -> ExportedProgram:
    """Export with any batch size; where the network fixes it, with that one or a batch of one.

    `takes` and `fixed` are what `capture` calls `inputs` and `batch`.

    Raises:
        CaptureError: torch.export cannot trace the network.
    """
    inputs = _described(takes)
    if any(module.training for module in model.modules()) and not isinstance(model, fx.GraphModule):
        model = copy.deepcopy(model).eval()
    problem: Exception | None = None
    for batch, free in ((fixed, False),) if fixed else ((2, True), (1, False)):
        example = tuple(torch.zeros(batch, *one.shape, dtype=KINDS[one.kind]) for one in inputs)
        try:
            dims = _free_batch(model, example) if free else None
            with torch.no_grad(), warnings.catch_warnings():
                # an LSTM keeps a list of its weights, which export mends by itself
                warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
                return export(model, example, dynamic_shapes=dims)
        except Exception as error:  # noqa: BLE001  torch.export raises every kind of error
            problem = problem or error
    text = str(problem).strip() or type(problem).__name__
    shapes = ", ".join(f"(batch, {', '.join(map(str, one.shape))})" for one in inputs)
    what = "an input" if len(inputs) == 1 else "inputs"
    raise CaptureError(
        f"The network must be traceable by torch.export with {what} of shape "
        f"{shapes}; it stopped{_guilty_module(text)} with: "
        f"{text.splitlines()[0][:300]} Replace control flow that depends on values, "
        "or check the input shape."
    )


def _free_batch(model: nn.Module, example: tuple[Tensor, ...]) -> dict[str, Any]:
    """Return what torch.export wants to hear of arguments whose first axis may have any size."""
    batch = {0: Dim("batch", min=1, max=65536)}
    bound = inspect.signature(model.forward).bind(*example).arguments
    # arguments of forward(x, *more) come as a tuple
    return {
        name: (batch,) * len(value) if isinstance(value, tuple) else batch
        for name, value in bound.items()
    }


def _guilty_module(text: str) -> str:
    """Return where the user's code stood when tracing stopped, if torch tells."""
    frames = [line.strip() for line in text.splitlines() if line.strip().startswith('File "')]
    own = [frame for frame in frames if "/torch/" not in frame]
    return f" in {own[-1].removeprefix('File ')}" if own else ""


def _plain(traced: fx.GraphModule, inputs: list[Input]) -> tuple[fx.GraphModule, int | None]:
    """Return a graph free of torch.export's extras, shapes as tuples; and the only batch size."""
    graph = fx.Graph()
    mapped: dict[fx.Node, fx.Node] = {}
    root: dict[str, Any] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":  # the guard on input shapes, which we check ourselves
            continue
        if node.op == "output":
            found = tuple(mapped[given] for given in _real_outputs(node))
            graph.output(found[0] if len(found) == 1 else found)
            break
        new = graph.node_copy(node, lambda old: mapped[old])
        new.meta = _plain_meta(node)
        if node.op == "get_attr":
            root[str(node.target)] = _attribute(traced, str(node.target))
        mapped[node] = new
    batch = _name_inputs([(old, new) for old, new in mapped.items() if old.op == "placeholder"],
                         inputs)  # fmt: skip
    spell_linear(graph, root)
    spell_embedding(graph, root)
    spell_reshape(graph)
    mark_activations(graph, root)
    return fx.GraphModule(root, graph), batch


def _name_inputs(found: list[tuple[fx.Node, fx.Node]], inputs: list[Input]) -> int | None:
    """Note the name and the kind of each input; return the only batch size, None for any."""
    sizes: list[int | None] = []
    for place, (old, new) in enumerate(found):
        value = old.meta.get("val")
        if not isinstance(value, Tensor) or value.dim() == 0:
            raise CaptureError(
                "Every input of a network must be a tensor with the batch as its first axis; got "
                f"{str(old.name)!r}, which is none. Make it a constant of the network."
            )
        # export may have frozen what its example showed
        size = value.shape[0]
        sizes.append(size if isinstance(size, int) else None)
        described = len(inputs) == len(found) and (len(found) > 1 or inputs[0].name != INPUT_LAYER)
        new.meta["title"] = inputs[place].name if described else str(old.name)
        new.meta["kind"] = str(value.dtype).removeprefix("torch.")
        if new.meta["kind"] not in KINDS:
            raise CaptureError(
                f"An input must hold one of {', '.join(KINDS)}; got {new.meta['kind']} of "
                f"{new.meta['title']!r}. Export the network with another type."
            )
    if len(set(sizes)) > 1:
        raise CaptureError(
            "All inputs must have the batch as their first axis, of one size; got the sizes "
            f"{', '.join('any' if size is None else str(size) for size in sizes)}. "
            "Export the network so that all inputs are batched."
        )
    return sizes[0]


def _attribute(module: nn.Module, target: str) -> Any:
    owner, _, name = target.rpartition(".")
    value = getattr(module.get_submodule(owner), name)
    if isinstance(value, nn.Parameter):
        # our own copy: the caller's network must not change when ours does
        return nn.Parameter(value.detach().clone(), requires_grad=False)
    return value.detach().clone() if isinstance(value, Tensor) else value


def _real_outputs(node: fx.Node) -> list[fx.Node]:
    """Return the outputs that hold real numbers, each with an axis for the batch at least."""
    found: list[fx.Node] = []
    fx.node.map_arg(node.args[0], found.append)
    real = [
        given for given in found
        if isinstance(value := given.meta.get("val"), Tensor) and value.is_floating_point()
    ]  # fmt: skip
    if not real:
        raise CaptureError(
            f"A network must return real numbers; this one returns {len(found)} values that are "
            "none. Return what comes before them, such as the logits before an argmax."
        )
    return real


def _plain_meta(node: fx.Node) -> dict[str, Any]:
    value = node.meta.get("val")
    path, is_operation = _module_path(node)
    meta: dict[str, Any] = {"path": path, "alone": is_operation}
    if isinstance(value, Tensor):
        meta["shape"] = tuple(_for_one_image(size) for size in value.shape)
        meta["real"] = value.is_floating_point()
    elif isinstance(value, list | tuple):
        meta["real"] = any(isinstance(v, Tensor) and v.is_floating_point() for v in value)
    return meta


def _for_one_image(size: int | torch.SymInt) -> int:
    """Return a size with a batch of one; 4 for tokens merged with the batch into 4 n rows."""
    if isinstance(size, int):
        return size
    return int(size.node.expr.subs(dict.fromkeys(size.node.expr.free_symbols, 1)))


def _module_path(node: fx.Node) -> tuple[str, bool]:
    """Return the path of the innermost module and whether that is one operation."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return "", False
    path, kind = list(stack.values())[-1]
    path = str(path).removeprefix("L['self'].").removeprefix("L__self___")
    return path, any(name in str(kind) for name in _OPERATIONS)


def _find_layers(graph: FloatGraph) -> Iterator[Layer]:
    """List the inputs and every operation whose output gets a grid, in order of execution."""
    taken: set[str] = set()
    fused: set[fx.Node] = set()
    alone = sum(one.real for one in graph.inputs) == 1
    for node in graph.module.graph.nodes:
        if node.op == "placeholder":
            if is_activation(node):  # whole numbers need no grid
                name = INPUT_LAYER if alone else f"{INPUT_PREFIX}{node.meta['title']}"
                yield Layer(name, Kind.INPUT, node.name, node.name, (), shape_of(node))
            continue
        if node.op != "call_function" or not is_activation(node) or node in fused:
            continue
        kind = kind_of(node)
        if kind is None:
            continue
        chain = fused_chain(node)
        fused.update(chain)
        yield _layer(graph, node, kind, chain, taken)


def is_input(layer: str) -> bool:
    """Whether the layer of that name is an input of the network."""
    return layer == INPUT_LAYER or layer.startswith(INPUT_PREFIX)


def kind_of(node: fx.Node) -> Kind | None:
    """Return what the operation computes; None if values only pass through it."""
    name = operator(node)
    if ops.is_pass_through(node) or "shape" not in node.meta:
        return None
    if name in ops.CONVOLUTIONS:
        return Kind.DEPTHWISE if _is_depthwise(node) else Kind.CONV
    table = (
        (ops.LINEARS, Kind.LINEAR),
        (ops.EMBEDDINGS, Kind.EMBEDDING),
        (ops.MATMULS, Kind.MATMUL),
        (ops.ATTENTIONS, Kind.ATTENTION),
        (ops.ADDS, Kind.ADD),
        (ops.MULTIPLIES, Kind.MULTIPLY),
        (ops.CONCATS, Kind.CONCAT),
        (ops.AVERAGE_POOLS, Kind.AVERAGE_POOL),
        (ops.NORMS, Kind.NORM),
        (ops.FUNCTIONS | ops.FUSED_FUNCTIONS, Kind.ACTIVATION),
    )
    for names, kind in table:
        if name in names:
            return kind
    if name in ops.MEANS and _is_spatial_mean(node):
        return Kind.AVERAGE_POOL
    return Kind.OTHER


def _is_depthwise(node: fx.Node) -> bool:
    groups = node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1)
    source = node.args[0]
    if operator(node).startswith("aten.conv_transpose") or not isinstance(source, fx.Node):
        return False
    return isinstance(groups, int) and groups > 1 and groups == shape_of(source)[1]


def _is_spatial_mean(node: fx.Node) -> bool:
    source, axes = node.args[0], node.args[1]
    if not isinstance(source, fx.Node) or not isinstance(axes, list | tuple):
        return False
    rank = len(shape_of(source))
    return rank == 4 and {int(axis) % rank for axis in axes if isinstance(axis, int)} == {2, 3}


def fused_chain(node: fx.Node) -> list[fx.Node]:
    """Return the functions that hardware applies to the operation's result before it is stored.

    A chain of piece-wise linear functions and scalings, each the only user of the one before.
    """
    chain: list[fx.Node] = []
    last = node
    while len(last.users) == 1:
        user = next(iter(last.users))
        if operator(user) not in ops.FUSED_FUNCTIONS and not ops.is_scaling(user):
            break
        if user.all_input_nodes[0] is not last:
            break
        chain.append(user)
        last = user
    return chain


def _layer(
    graph: FloatGraph, node: fx.Node, kind: Kind, chain: list[fx.Node], taken: set[str]
) -> Layer:
    weight, bias = _weights(node, kind)
    owner = weight.rpartition(".")[0] if weight else ""
    name = _unique(owner or _readable(node), taken)
    inputs = tuple(source for source in node.all_input_nodes if is_activation(source))
    weight_shape = tuple(graph.tensor(weight).shape) if weight else ()
    output = chain[-1] if chain else node
    return Layer(
        name=name,
        kind=kind,
        node=node.name,
        output=output.name,
        inputs=tuple(source.name for source in inputs),
        shape=shape_of(output),
        input_shapes=tuple(shape_of(source) for source in inputs),
        weight=weight,
        bias=bias,
        weight_shape=weight_shape,
        channel_axis=1 if operator(node).startswith("aten.conv_transpose") else 0,
        parameters=sum(graph.tensor(t).numel() for t in (weight, bias) if t),
        macs=_macs(node, kind, weight_shape, inputs),
    )


def _weights(node: fx.Node, kind: Kind) -> tuple[str | None, str | None]:
    """Return the attribute paths of weight and bias, where they are plain parameters."""
    if kind not in (Kind.CONV, Kind.DEPTHWISE, Kind.LINEAR, Kind.EMBEDDING):
        return None, None
    if kind is Kind.EMBEDDING:
        table = node.args[0]
        if isinstance(table, fx.Node) and table.op == "get_attr":
            return str(table.target), None
        return None, None
    targets = [
        str(arg.target) if isinstance(arg, fx.Node) and arg.op == "get_attr" else None
        for arg in ([*node.args[1:3], None, None])[:2]
    ]
    return targets[0], targets[1]


def _readable(node: fx.Node) -> str:
    """Return the path of the module that the operation stands in, then what it does there."""
    path = str(node.meta.get("path", ""))
    verb = operator(node).split(".")[1].strip("_")
    # a module that is nothing but this operation needs no verb after its name
    return path if path and node.meta.get("alone") else f"{path}.{verb}" if path else verb


def _unique(name: str, taken: set[str]) -> str:
    name = f"_{name}" if name.startswith(INPUT_PREFIX) else name
    candidate, count = name, 1
    while candidate in taken or candidate == INPUT_LAYER:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _macs(
    node: fx.Node, kind: Kind, weight_shape: tuple[int, ...], inputs: tuple[fx.Node, ...]
) -> int:
    outputs = math.prod(shape_of(node))
    if kind is Kind.ATTENTION:
        # not `inputs`, which names a tensor that plays two parts once
        query, key, value = (shape_of(arg) for arg in node.args[:3] if isinstance(arg, fx.Node))
        scores = math.prod(query[:-1]) * key[-2]
        return scores * (query[-1] + value[-1])
    if kind is Kind.MATMUL:
        first = node.args[0]  # a constant too, which `inputs` leaves out
        return outputs * shape_of(first)[-1] if isinstance(first, fx.Node) else 0
    if not weight_shape or kind is Kind.EMBEDDING:
        return 0
    if operator(node).startswith("aten.conv_transpose"):
        return math.prod(shape_of(inputs[0])) * math.prod(weight_shape[1:])
    return outputs * math.prod(weight_shape[1:])
