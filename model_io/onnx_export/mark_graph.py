"""The network as float ONNX with a mark, a custom node, at every named or quantized value."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import torch
from onnx import ModelProto
from torch import Tensor, fx
from torch.export import Dim

from model_io.errors import ModelError
from model_io.onnx_export.exporter_words import spell_for_exporter
from quant.graph.float_graph import copy_graph_module
from quant.inputs import KINDS
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph
from quant.simulation.quantizer import Quantizer
from quant.torch_state import exclusive_torch

OPSET = 21
MOST_BATCH = 65536
DOMAIN, MARK = "quantscope", "Mark"
ONLY_PROTOBUF = 2**31
"""Protobuf, and so one ONNX file, holds less than this many bytes."""


class Marked(StrEnum):
    """The kinds of marked values; the values of the attribute `what`."""

    WEIGHT = "weight"
    BIAS = "bias"
    ACTIVATION = "activation"
    OPERATION = "operation"


def export_with_marks(quantized: QuantGraph) -> ModelProto:
    """Return the float network as ONNX (opset 21); marks replace quantizers.

    A mark has attributes `what` (`Marked`) and `layer`. The batch is dynamic unless the network
    fixes the batch. Weights are the weights of the quantized graph before rounding.

    Raises:
        ModelError: ONNX has no operator for an operation, or the model exceeds the size of a file.
    """
    graph = quantized.graph
    held = 4 * sum(p.numel() for p in quantized.module.parameters())
    if held >= ONLY_PROTOBUF:
        raise ModelError(
            f"An ONNX file holds less than 2 GiB, got {held / 2**30:.1f} GiB of weights. Export "
            "the encodings or a .pt2 file instead."
        )
    module = _insert_marks(quantized)
    example = tuple(
        torch.zeros(graph.batch or 2, *one.shape, dtype=KINDS[one.kind]) for one in graph.inputs
    )
    # export freezes every axis without a dynamic shape
    axis = {0: Dim("batch", min=1, max=MOST_BATCH)}
    dims = None if graph.batch else (axis,) * len(example)
    try:
        with exclusive_torch(), _quiet_exporter(), torch.no_grad():
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                dynamic_shapes=dims,
                opset_version=OPSET,
                optimize=True,
                verbose=False,
            )
    except Exception as error:
        raise ModelError(
            f"Every operation must have words in ONNX, got {_culprit_operation(error)}. Replace "
            "it in the "
            "network, or export a .pt2 file."
        ) from error
    if program is None:
        raise ModelError("torch.onnx.export gave no model. Export a .pt2 file instead.")
    return program.model_proto


def _insert_marks(quantized: QuantGraph) -> fx.GraphModule:
    """Return a copy of the graph with a mark for each quantizer, bias and fused operation."""
    module = copy_graph_module(quantized.module)
    spell_for_exporter(module)
    nodes = {node.name: node for node in module.graph.nodes}
    for layer in quantized.graph.layers:
        node = nodes.get(layer.node)
        if node is None:  # a clip that its quantizer has taken in
            continue
        if layer.output != layer.node and node.op == "call_function":
            _insert_mark_after(module, node, Marked.OPERATION, layer.name)
        bias = node.args[2] if layer.weight and len(node.args) > 2 else None
        if isinstance(bias, fx.Node) and bias.op == "get_attr":
            with module.graph.inserting_before(node):
                mark = module.graph.call_function(
                    _mark_operator, (bias, Marked.BIAS.value, layer.name)
                )
            node.args = (*node.args[:2], mark, *node.args[3:])
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            quantizer = module.get_submodule(str(node.target))
            if isinstance(quantizer, Quantizer):
                _mark_quantizer(module, node, quantizer)
    module.recompile()
    return module.eval()


def _insert_mark_after(module: fx.GraphModule, node: fx.Node, what: Marked, layer: str) -> None:
    with module.graph.inserting_after(node):
        mark = module.graph.call_function(_mark_operator, (node, what.value, layer))
    node.replace_all_uses_with(mark, delete_user_cb=lambda user: user is not mark)


def _mark_quantizer(module: fx.GraphModule, node: fx.Node, quantizer: Quantizer) -> None:
    """Replace a quantizer by a mark, after the clip that the quantizer absorbed."""
    source = node.args[0]
    what = Marked.WEIGHT if quantizer.site.side is Side.WEIGHTS else Marked.ACTIVATION
    with module.graph.inserting_before(node):
        if quantizer.clip == (0.0, None):
            source = module.graph.call_function(torch.ops.aten.relu.default, (source,))
        elif quantizer.clip is not None:
            clip = torch.ops.aten.clamp.default
            source = module.graph.call_function(clip, (source, *quantizer.clip))
        mark = module.graph.call_function(
            _mark_operator, (source, what.value, quantizer.site.layer)
        )
    node.replace_all_uses_with(mark)
    module.graph.erase_node(node)


def _mark_operator(x: Tensor, what: str, layer: str) -> Tensor:
    """Return a copy of `x`, of equal shape; in the export, a node of a custom domain."""
    marked: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::{MARK}",
        (x,),
        {"what": what, "layer": layer},
        dtype=x.dtype,
        shape=x.shape,
        version=1,
    )
    return marked


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Suppress the exporter's messages about internal matters."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _culprit_operation(error: BaseException) -> str:
    """Return the operation at which the exporter stopped, or the last line of the error."""
    while error.__cause__ is not None:
        error = error.__cause__
    named = re.search(r"OpOverload\(op='([^']+)'", str(error))
    if named:
        return named[1]
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
