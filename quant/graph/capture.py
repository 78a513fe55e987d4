"""Capture a network with torch.export: a graph of ATen operators with a free batch size."""

import copy
import inspect
import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export

from quant.errors import CaptureError
from quant.graph.activations import mark_activations
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import INPUT_LAYER, shape_of_node
from quant.graph.node_facts import NodeFacts, facts_of_node, write_node_facts
from quant.graph.spelling.edits import Draft
from quant.graph.spelling.precision import OTHER_REALS
from quant.graph.spelling.regions import inline_graph_regions
from quant.graph.spelling.spell import spell_graph
from quant.graph.spelling.writes import writes_into_others
from quant.inputs import KINDS, Input, InputLike
from quant.interruption import check_interruption
from quant.torch_state import exclusive_torch


def capture_graph(
    model: nn.Module | ExportedProgram,
    inputs: tuple[int, ...] | Sequence[InputLike],
    batch: int | None = None,
) -> FloatGraph:
    """Turn a network in eval mode into a graph of ATen operators.

    Outputs without real numbers are left out.

    Args:
        model: the network, or a program that torch.export has written.
        inputs: shape (C, H, W) of the only input without the batch, or a description of each input.
        batch: the only batch size that the network accepts; None tries any size first.

    Raises:
        CaptureError: torch.export cannot trace the network, or an input has no batch axis. The
            sentence names the module where tracing stopped and the change to make.

    Example:
        >>> graph = capture_graph(nn.Sequential(nn.Linear(4, 2)), (4,))
        >>> [layer.name for layer in graph.layers]
        ['input', '0']
    """
    specs = _describe_inputs(inputs)
    program = (
        model if isinstance(model, ExportedProgram) else export_torch_program(model, specs, batch)
    )
    traced = _trace_program(program)
    if writes_into_others(traced):
        with exclusive_torch(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch copies its own outdated types
            traced = _trace_program(program.run_decompositions({}))
    module, only, notes = _plain_graph(traced, specs)
    first = next(node for node in module.graph.nodes if node.op == "placeholder")
    return FloatGraph(module, shape_of_node(first)[1:], only, notes=notes)


def _trace_program(program: ExportedProgram) -> fx.GraphModule:
    """Return the graph of a program with the stored tensors in place."""
    with exclusive_torch():
        traced = program.module(check_guards=False)
    if not isinstance(traced, fx.GraphModule):
        raise CaptureError(
            "torch.export must return a graph; got none. Check the network's forward function."
        )
    return traced


def export_torch_program(
    model: nn.Module, takes: tuple[int, ...] | Sequence[InputLike], fixed: int | None = None
) -> ExportedProgram:
    """Export a network with a free batch size, else with `fixed`, else with batch 1.

    Args:
        model: the network; a copy of the network is set to eval mode if needed.
        takes: the argument `inputs` of `capture_graph`.
        fixed: the argument `batch` of `capture_graph`.

    Raises:
        CaptureError: torch.export cannot trace the network.
    """
    inputs = _describe_inputs(takes)
    if any(module.training for module in model.modules()) and not isinstance(model, fx.GraphModule):
        model = copy.deepcopy(model).eval()
    problem: Exception | None = None
    for batch, free in ((fixed, False),) if fixed else ((2, True), (1, False)):
        example = tuple(torch.zeros(batch, *one.shape, dtype=KINDS[one.kind]) for one in inputs)
        try:
            dims = _free_batch_shapes(model, example) if free else None
            with exclusive_torch(), torch.no_grad(), warnings.catch_warnings():
                # torch.export repairs the list of weights of an LSTM and warns
                warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
                return export(model, example, dynamic_shapes=dims)
        except Exception as error:  # noqa: BLE001  torch.export raises every kind of error
            problem = problem or error
    text = str(problem).strip() or type(problem).__name__
    shapes = ", ".join(f"(batch, {', '.join(map(str, one.shape))})" for one in inputs)
    what = "an input" if len(inputs) == 1 else "inputs"
    raise CaptureError(
        f"The network must be traceable by torch.export with {what} of shape "
        f"{shapes}; it stopped{_failing_source_line(text)} with: "
        f"{text.splitlines()[0][:300]} Replace control flow that depends on values, "
        "or check the input shape."
    )


# Modules that are one operation: layers of torch.nn and nodes of an ONNX file.
_OPERATIONS = ("torch.nn.modules.", "onnx_import.program.network.Operation")


def _describe_inputs(inputs: tuple[int, ...] | Sequence[InputLike]) -> list[Input]:
    """Return the inputs with names, shapes and element types."""
    sizes = [size for size in inputs if isinstance(size, int)]
    if len(sizes) == len(inputs):  # a shape of one input
        return [Input(INPUT_LAYER, tuple(sizes))]
    specs = [spec for spec in inputs if not isinstance(spec, int)]
    return [Input(spec.name, tuple(spec.shape), spec.kind) for spec in specs]


def _free_batch_shapes(model: nn.Module, example: tuple[Tensor, ...]) -> dict[str, object]:
    """Return the dynamic shapes for torch.export: axis 0 of an argument is free, 1 to 65536."""
    batch = {0: Dim("batch", min=1, max=65536)}
    bound = inspect.signature(model.forward).bind(*example).arguments
    # torch binds the arguments of forward(x, *more) as one tuple
    return {
        name: (batch,) * len(value) if isinstance(value, tuple) else batch
        for name, value in bound.items()
    }


def _failing_source_line(text: str) -> str:
    """Return the source line outside torch where tracing stopped; empty if unknown."""
    frames = [line.strip() for line in text.splitlines() if line.strip().startswith('File "')]
    own = [frame for frame in frames if "/torch/" not in frame]
    return f" in {own[-1].removeprefix('File ')}" if own else ""


def _plain_graph(
    traced: fx.GraphModule, inputs: list[Input]
) -> tuple[fx.GraphModule, int | None, tuple[str, ...]]:
    """Return (graph in the product's spelling, fixed batch size or None, notes).

    Nodes of the graph have `NodeFacts`.
    """
    narrowed = inline_graph_regions(traced)
    draft = Draft(fx.Graph(), {})
    mapped: dict[fx.Node, fx.Node] = {}
    outputs: tuple[fx.Node, ...] = ()
    for node in traced.graph.nodes:
        check_interruption()
        if node.op == "call_module":  # the guard on input shapes; capture checks shapes itself
            continue
        if _is_traced_constant(node):
            continue
        if node.op == "output":
            outputs = tuple(_result_nodes(node))
            draft.graph.output(tuple(mapped[output] for output in outputs))
            break
        new = draft.graph.node_copy(node, lambda old: mapped[old])
        new.meta = {}
        write_node_facts(new, _facts_from_trace(node))
        if node.op == "get_attr":
            draft.root[str(node.target)] = _detached_attribute(traced, str(node.target))
        mapped[node] = new
    placeholders = [(old, new) for old, new in mapped.items() if old.op == "placeholder"]
    batch = _name_graph_inputs(placeholders, inputs)
    real = _real_output_nodes(outputs, batch)
    result = next(node for node in draft.graph.nodes if node.op == "output")
    kept = tuple(mapped[output] for output in real)
    result.args = (kept[0] if len(kept) == 1 else kept,)
    notes = spell_graph(draft, narrowed=narrowed)
    if batch is not None:
        _divide_graph_shapes(draft.graph, batch)
    mark_activations(draft.graph, draft.root)
    if len(real) < len(outputs):
        left = (
            f"{len(outputs) - len(real)} of {len(outputs)} outputs hold no real numbers with an "
            "axis for the batch, and are left out."
        )
        notes = (*notes, left)
    return fx.GraphModule(draft.root, draft.graph), batch, notes


def _is_traced_constant(node: fx.Node) -> bool:
    """Tell whether an argument is None, or a number held in the trace."""
    tensor = isinstance(node.meta.get("val"), Tensor)
    return node.op == "placeholder" and not tensor and not node.users


def _name_graph_inputs(
    placeholders: list[tuple[fx.Node, fx.Node]], inputs: list[Input]
) -> int | None:
    """Write name and element type of each input; return the batch size, None if free."""
    sizes: list[int | None] = []
    named = len(inputs) == len(placeholders)
    described = named and (len(inputs) > 1 or inputs[0].name != INPUT_LAYER)
    for place, (old, new) in enumerate(placeholders):
        value = old.meta.get("val")
        if not isinstance(value, Tensor) or value.dim() == 0:
            raise CaptureError(
                "Every input of a network must be a tensor with the batch as its first axis; got "
                f"{str(old.name)!r}, which has no axes. Make {str(old.name)!r} a constant "
                "of the network."
            )
        # torch.export may have frozen the batch size of the example
        size = value.shape[0]
        sizes.append(size if isinstance(size, int) else None)
        title = inputs[place].name if described else str(old.name)
        kind = str(value.dtype).removeprefix("torch.")
        kind = "float32" if value.dtype in OTHER_REALS else kind
        write_node_facts(new, replace(facts_of_node(new), title=title, kind=kind))
        if kind not in KINDS:
            raise CaptureError(
                f"An input must hold one of {', '.join(KINDS)}; got {kind} of {title!r}. "
                "Export the network with another type."
            )
    if len(set(sizes)) > 1:
        raise CaptureError(
            "All inputs must have the batch as first axis, of one size; got the sizes "
            f"{', '.join('any' if size is None else str(size) for size in sizes)}. "
            "Export the network so that all inputs are batched."
        )
    return sizes[0]


def _detached_attribute(module: nn.Module, target: str) -> object:
    """Return a detached copy of the tensor at a path; the caller's network stays as before."""
    owner, _, name = target.rpartition(".")
    value = getattr(module.get_submodule(owner), name)
    if isinstance(value, nn.Parameter):
        # a copy: the caller's network must not change with the graph
        return nn.Parameter(value.detach().clone(), requires_grad=False)
    return value.detach().clone() if isinstance(value, Tensor) else value


def _result_nodes(node: fx.Node) -> list[fx.Node]:
    """Return the nodes of the results."""
    outputs: list[fx.Node] = []
    fx.node.map_arg(node.args[0], outputs.append)
    return outputs


def _real_output_nodes(outputs: tuple[fx.Node, ...], batch: int | None) -> list[fx.Node]:
    """Return the outputs with real numbers and with the batch as the first axis.

    Raises:
        CaptureError: the network has only other outputs.
    """
    numbers = [output for output in outputs if _is_real_tensor(output.meta.get("val"))]
    if not numbers:
        raise CaptureError(
            f"A network must return real numbers; got {len(outputs)} outputs without real "
            "numbers. Return the values before, such as the logits before an argmax."
        )
    real = [output for output in numbers if _is_batched_output(output.meta["val"], batch)]
    if not real:
        shapes = ", ".join(str(tuple(output.meta["val"].shape)) for output in numbers)
        raise CaptureError(
            "An output must have the batch as its first axis, so that each image has a result of "
            f"its own; got outputs of shape {shapes}. Return what comes before the mean or sum "
            "over the batch, such as the logits before a loss."
        )
    return real


def _is_batched_output(value: Tensor, batch: int | None) -> bool:
    """Tell whether the first axis of an output of shape (B, ...) counts images."""
    if not value.dim():
        return False
    size = value.shape[0]
    if batch is not None:
        return bool(size == batch)
    symbol = getattr(getattr(size, "node", None), "expr", None)  # a symbol alone: no 4 * batch
    return bool(getattr(symbol, "is_Symbol", False))


def _divide_graph_shapes(graph: fx.Graph, batch: int) -> None:
    """Write shapes for one image into a network with a fixed batch, as other networks have.

    Where the batch is merged with another axis, the first axis divisible by the batch counts.
    """
    computed: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(source in computed for source in node.all_input_nodes):
            computed.add(node)
            facts = facts_of_node(node)
            if facts.shape:
                write_node_facts(node, replace(facts, shape=_shape_of_image(facts.shape, batch)))


def _shape_of_image(shape: tuple[int, ...], batch: int) -> tuple[int, ...]:
    """Return a shape (B, ...) as that of one image (1, ...)."""
    places = [axis for axis, size in enumerate(shape) if size == batch]
    places = places if shape[0] % batch or not shape[0] else [0]
    if not places:
        return shape
    axis = places[0]
    return (*shape[:axis], shape[axis] // batch, *shape[axis + 1 :])


def _is_real_tensor(value: object) -> bool:
    """Tell whether a traced value is a tensor of real numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


def _facts_from_trace(node: fx.Node) -> NodeFacts:
    """Return path, shape and type of a traced node as facts."""
    value = node.meta.get("val")
    path, is_operation = _innermost_module_path(node)
    facts = NodeFacts(path, is_operation)
    if isinstance(value, Tensor):
        shape = tuple(_size_for_image(size) for size in value.shape)
        open_axes = [axis for axis, size in enumerate(value.shape) if not isinstance(size, int)]
        return replace(
            facts,
            shape=shape,
            real=_is_real_tensor(value),
            complex=value.is_complex(),
            free=open_axes[0] if open_axes else None,
        )
    if isinstance(value, list | tuple):
        return replace(facts, real=any(map(_is_real_tensor, value)))
    return facts


def _size_for_image(size: int | torch.SymInt) -> int:
    """Return a size for batch 1: 4 for tokens merged with the batch into 4 n rows."""
    if isinstance(size, int):
        return size
    return int(size.node.expr.subs(dict.fromkeys(size.node.expr.free_symbols, 1)))


def _innermost_module_path(node: fx.Node) -> tuple[str, bool]:
    """Return (path of the innermost module, whether the module is a single operation)."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return "", False
    path, kind = list(stack.values())[-1]
    path = str(path).removeprefix("L['self'].").removeprefix("L__self___")
    return path, any(name in str(kind) for name in _OPERATIONS)
