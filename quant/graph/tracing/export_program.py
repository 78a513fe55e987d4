"""Trace a network with torch.export, or open a program that torch.export has written."""

import copy
import warnings
from collections.abc import Sequence

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram, export

from quant.errors import CaptureError
from quant.graph.layers import INPUT_LAYER
from quant.graph.node_facts import NodeFacts, write_node_facts
from quant.graph.spelling.regions import inline_graph_regions
from quant.graph.spelling.writes import writes_into_others
from quant.graph.tracing.arguments import arrange_arguments
from quant.graph.tracing.traced_graph import TracedGraph
from quant.inputs import KINDS, Input, InputLike
from quant.torch_state import exclusive_torch

_DETACHING = (torch.ops.aten.detach.default, torch.ops.aten.detach_.default)
"""Operators that cut gradients off, which a quantized network has none of."""


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
    inputs = describe_inputs(takes)
    if any(module.training for module in model.modules()) and not isinstance(model, fx.GraphModule):
        model = copy.deepcopy(model).eval()
    given = arrange_arguments(model, inputs)
    problem: Exception | None = None
    for batch, free in ((fixed, False),) if fixed else ((2, True), (1, False)):
        example = tuple(torch.zeros(batch, *one.shape, dtype=KINDS[one.kind]) for one in inputs)
        try:
            args, kwargs = given.fill(example)
            dims = given.shapes({0: Dim("batch", min=1, max=65536)}) if free else None
            with exclusive_torch(), torch.no_grad(), warnings.catch_warnings():
                # torch.export repairs the list of weights of an LSTM and warns
                warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
                return export(model, args, kwargs, dynamic_shapes=dims)
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


def trace_program(program: ExportedProgram) -> TracedGraph:
    """Return the graph of a program, with `NodeFacts` of the modules around the nodes."""
    traced = _module_of_program(program)
    if writes_into_others(traced):
        with exclusive_torch(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch copies its own outdated types
            traced = _module_of_program(program.run_decompositions({}))
    narrowed = inline_graph_regions(traced)
    for node in traced.graph.nodes:
        path, is_operation = _innermost_module_path(node)
        write_node_facts(node, NodeFacts(path, is_operation))
    return TracedGraph(traced.graph, lambda target: _attribute_of_module(traced, target), narrowed)


def _module_of_program(program: ExportedProgram) -> fx.GraphModule:
    """Return the graph of a program with the stored tensors in place, without detached copies."""
    with exclusive_torch():
        traced = program.module(check_guards=False)
    if not isinstance(traced, fx.GraphModule):
        raise CaptureError(
            "torch.export must return a graph; got none. Check the network's forward function."
        )
    for node in list(traced.graph.nodes):
        if node.op == "call_function" and node.target in _DETACHING:
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)
    return traced


def describe_inputs(inputs: tuple[int, ...] | Sequence[InputLike]) -> list[Input]:
    """Return the inputs with names, shapes and element types."""
    sizes = [size for size in inputs if isinstance(size, int)]
    if len(sizes) == len(inputs):  # a shape of one input
        return [Input(INPUT_LAYER, tuple(sizes))]
    specs = [spec for spec in inputs if not isinstance(spec, int)]
    return [Input(spec.name, tuple(spec.shape), spec.kind) for spec in specs]


# Modules that are one operation: layers of torch.nn and nodes of an ONNX file.
_OPERATIONS = ("torch.nn.modules.", "onnx_import.program.network.Operation")


def _failing_source_line(text: str) -> str:
    """Return the source line outside torch where tracing stopped; empty if unknown."""
    frames = [line.strip() for line in text.splitlines() if line.strip().startswith('File "')]
    own = [frame for frame in frames if "/torch/" not in frame]
    return f" in {own[-1].removeprefix('File ')}" if own else ""


def _attribute_of_module(module: nn.Module, target: str) -> object:
    """Return what lies at a dotted path."""
    owner, _, name = target.rpartition(".")
    return getattr(module.get_submodule(owner), name)


def _innermost_module_path(node: fx.Node) -> tuple[str, bool]:
    """Return (path of the innermost module, whether the module is a single operation)."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return "", False
    path, kind = list(stack.values())[-1]
    path = str(path).removeprefix("L['self'].").removeprefix("L__self___")
    return path, any(name in str(kind) for name in _OPERATIONS)
