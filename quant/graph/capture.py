"""Capture a network with torch.export: a graph of ATen operators with a free batch size."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from quant.errors import CaptureError
from quant.graph.activations import mark_activations
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import INPUT_LAYER, shape_of_node
from quant.graph.node_facts import NodeFacts, facts_of_node, write_node_facts
from quant.graph.spelling.edits import Draft
from quant.graph.spelling.precision import OTHER_REALS
from quant.graph.spelling.spell import spell_graph
from quant.graph.tracing.arguments import arrange_arguments
from quant.graph.tracing.export_program import (
    describe_inputs,
    export_torch_program,
    trace_program,
)
from quant.graph.tracing.merge_recordings import record_traced_graph
from quant.graph.tracing.static_network import StaticNetwork
from quant.graph.tracing.traced_graph import TracedGraph, TracedValue, traced_value_of
from quant.inputs import KINDS, Input, InputLike
from quant.interruption import check_interruption


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
    specs = describe_inputs(inputs)
    if not isinstance(model, ExportedProgram | StaticNetwork):
        specs = [specs[place] for place in arrange_arguments(model, specs).order]
    module, only, notes = _plain_graph(_trace_network(model, specs, batch), specs)
    first = next(node for node in module.graph.nodes if node.op == "placeholder")
    return FloatGraph(module, shape_of_node(first)[1:], only, notes=notes)


def _trace_network(
    model: nn.Module | ExportedProgram, specs: list[Input], batch: int | None
) -> TracedGraph:
    """Return the trace of a network: a record of a static one, else the graph of torch.export."""
    if isinstance(model, StaticNetwork):
        with suppress(Exception):  # the export says what is wrong, or how to trace it
            return record_traced_graph(model, specs, batch)
    if not isinstance(model, ExportedProgram):
        model = export_torch_program(model, specs, batch)
    return trace_program(model)


def _plain_graph(
    traced: TracedGraph, inputs: list[Input]
) -> tuple[fx.GraphModule, int | None, tuple[str, ...]]:
    """Return (graph in the product's spelling, fixed batch size or None, notes).

    Nodes of the graph have `NodeFacts`.
    """
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
            draft.root[str(node.target)] = _stored_copy(traced, str(node.target))
        mapped[node] = new
    placeholders = [(old, new) for old, new in mapped.items() if old.op == "placeholder"]
    batch = _name_graph_inputs(placeholders, inputs)
    real = _real_output_nodes(outputs, batch)
    result = next(node for node in draft.graph.nodes if node.op == "output")
    kept = tuple(mapped[output] for output in real)
    result.args = (kept[0] if len(kept) == 1 else kept,)
    notes = spell_graph(draft, narrowed=traced.narrowed)
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
    return node.op == "placeholder" and traced_value_of(node) is None and not node.users


def _stored_copy(traced: TracedGraph, target: str) -> object:
    """Return a copy of the tensor at a path, so that the caller's network stays as it is."""
    value = traced.stored(target)
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.detach().clone(), requires_grad=False)
    return value.detach().clone() if isinstance(value, Tensor) else value


def _name_graph_inputs(
    placeholders: list[tuple[fx.Node, fx.Node]], inputs: list[Input]
) -> int | None:
    """Write name and element type of each input; return the batch size, None if free."""
    sizes: list[int | None] = []
    named = len(inputs) == len(placeholders)
    described = named and (len(inputs) > 1 or inputs[0].name != INPUT_LAYER)
    for place, (old, new) in enumerate(placeholders):
        value = traced_value_of(old)
        if value is None or not value.shape:
            raise CaptureError(
                "Every input of a network must be a tensor with the batch as its first axis; got "
                f"{str(old.name)!r}, which has no axes. Make {str(old.name)!r} a constant "
                "of the network."
            )
        # torch.export may have frozen the batch size of the example
        sizes.append(value.first)
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
    described = [(output, traced_value_of(output)) for output in outputs]
    numbers = [(output, value) for output, value in described if value and value.is_real]
    if not numbers:
        raise CaptureError(
            f"A network must return real numbers; got {len(outputs)} outputs without real "
            "numbers. Return the values before, such as the logits before an argmax."
        )
    real = [output for output, value in numbers if _is_batched_output(value, batch)]
    if not real:
        shapes = ", ".join(str(value.shape) for _, value in numbers)
        raise CaptureError(
            "An output must have the batch as its first axis, so that each image has a result of "
            f"its own; got outputs of shape {shapes} for one image. Return what comes before the "
            "mean or sum over the batch, such as the logits before a loss."
        )
    return real


def _is_batched_output(value: TracedValue, batch: int | None) -> bool:
    """Tell whether the first axis of an output of shape (B, ...) counts images."""
    return value.batched if batch is None else bool(value.shape) and value.first == batch


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


def _facts_from_trace(node: fx.Node) -> NodeFacts:
    """Return path, shape and type of a traced node as facts."""
    facts, value = facts_of_node(node), traced_value_of(node)
    if value is None:
        several = node.meta.get("val")
        if isinstance(several, list | tuple):
            return replace(facts, real=any(isinstance(v, Tensor) and v.is_floating_point()
                                           for v in several))  # fmt: skip
        return facts
    return replace(
        facts,
        shape=value.shape,
        real=value.is_real,
        complex=value.dtype.is_complex,
        free=value.free,
    )
