"""Capture a network with torch.export: one graph of ATen operators, batch size free."""

import copy
import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export

from quant.errors import CaptureError
from quant.graph.activations import mark_activations
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import (
    INPUT_LAYER,
    shape_of,
)
from quant.graph.normalize import spell_embedding, spell_linear, spell_reshape
from quant.inputs import KINDS, Input, InputLike


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


# Modules that are one operation: torch's own layers, and nodes of an ONNX file.
_OPERATIONS = ("torch.nn.modules.", "onnx_import.program.network.Operation")


def _described(inputs: tuple[int, ...] | Sequence[InputLike]) -> list[Input]:
    sizes = [size for size in inputs if isinstance(size, int)]
    if len(sizes) == len(inputs):  # the shape of the only one
        return [Input(INPUT_LAYER, tuple(sizes))]
    given = [one for one in inputs if not isinstance(one, int)]
    return [Input(one.name, tuple(one.shape), one.kind) for one in given]


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
