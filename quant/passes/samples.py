"""Inputs and outputs of a layer as rows: output positions drawn at random from images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import convolution_groups, output_channel_axis
from quant.graph.layers import Layer, fused_function_chain, shape_of_node
from quant.graph.operators import Kind, operator_name

# Numbers held for one layer; 80 MB in float32.
MOST_NUMBERS = 20_000_000


@dataclass(frozen=True, eq=False, slots=True)
class Samples:
    """Rows of one layer.

    `inputs` (R, groups, K) holds the operands of R output positions in the quantized network,
    `outputs` (R, O) the float network's results there, before the activation function.
    """

    inputs: Tensor
    outputs: Tensor


def collect_samples(
    graph: FloatGraph,
    layer: Layer,
    received: list[Tensor],
    given: list[Tensor],
    rows: int,
    generator: torch.Generator,
) -> Samples:
    """Draw about `rows` output positions of a layer, equally many from each image.

    `received` holds the layer's inputs in the quantized network, shape (N, ...), by batch; `given`
    holds the outputs in the float network.
    """
    images = sum(len(batch) for batch in received)
    depth = layer.weight_shape[1:]
    size = convolution_groups(graph, layer) * max(1, int(torch.tensor(depth).prod()))
    wanted = max(1, min(rows, MOST_NUMBERS // size) // images)
    inputs, outputs = [], []
    for batch, results in zip(received, given, strict=True):
        draw = _draw_tokens if layer.kind is Kind.LINEAR else _draw_patches
        some_inputs, some_outputs = draw(graph, layer, batch, results, wanted, generator)
        inputs.append(some_inputs)
        outputs.append(some_outputs)
    return Samples(torch.cat(inputs), torch.cat(outputs))


def _draw_tokens(
    graph: FloatGraph,
    layer: Layer,
    received: Tensor,
    given: Tensor,
    wanted: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw rows (R, I) and (R, O) of a linear layer, over the axes but the last."""
    del graph, layer
    flat, results = received.reshape(-1, received.shape[-1]), given.reshape(-1, given.shape[-1])
    count = min(len(flat), wanted * len(received))
    chosen = torch.randperm(len(flat), generator=generator)[:count]
    return flat[chosen][:, None, :], results[chosen]


def _draw_patches(
    graph: FloatGraph,
    layer: Layer,
    received: Tensor,
    given: Tensor,
    wanted: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw output positions (R, O) of a convolution and the patches (R, groups, K) below."""
    groups = convolution_groups(graph, layer)
    stride, padding, dilation = _convolution_geometry(graph.node_named(layer.node), layer)
    padded = F.pad(received, padding)
    height, width = given.shape[2:]
    count = min(height * width, wanted)
    places = torch.randperm(height * width, generator=generator)[:count]
    top, left = places // width * stride[0], places % width * stride[1]
    rows = top[:, None, None] + torch.arange(layer.weight_shape[2])[:, None] * dilation[0]
    columns = left[:, None, None] + torch.arange(layer.weight_shape[3]) * dilation[1]
    patches = padded[:, :, rows, columns]  # (N, C, positions, kh, kw)
    inputs = patches.transpose(1, 2).reshape(len(received) * count, groups, -1)
    outputs = given.flatten(2)[:, :, places].transpose(1, 2).reshape(len(received) * count, -1)
    return inputs, outputs


def _convolution_geometry(
    node: fx.Node, layer: Layer
) -> tuple[tuple[int, int], tuple[int, int, int, int], tuple[int, int]]:
    """Return (stride, padding, dilation) of a 2-d convolution, padding in the order of `F.pad`."""

    def pair_at(position: int, default: int) -> tuple[int, int]:
        value = node.args[position] if len(node.args) > position else default
        sizes = value if isinstance(value, list | tuple) else [value]
        numbers = [int(size) for size in sizes if isinstance(size, int)]
        return numbers[0], numbers[-1]

    stride, dilation = pair_at(3, 1), pair_at(5, 1)
    padding = node.args[4] if len(node.args) > 4 else 0
    if padding == "valid":
        return stride, (0, 0, 0, 0), dilation
    if padding == "same":  # an odd one more goes behind
        tall, wide = (
            d * (size - 1) for d, size in zip(dilation, layer.weight_shape[2:], strict=True)
        )
        return stride, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2), dilation
    rows, columns = pair_at(4, 0)
    return stride, (columns, columns, rows, rows), dilation


def fused_activation_of(graph: FloatGraph, layer: Layer) -> Callable[[Tensor], Tensor]:
    """Return the layer's fused functions as a single function of rows (R, O)."""
    chain = fused_function_chain(graph.node_named(layer.node))

    def apply_chain(rows: Tensor) -> Tensor:
        for node in chain:
            rows = _call_on_rows(graph, node, rows)
        return rows

    return apply_chain


def _call_on_rows(graph: FloatGraph, node: fx.Node, rows: Tensor) -> Tensor:
    """Run a fused function on rows (R, O); tensors broadcast over space become a value per row."""
    first = node.all_input_nodes[0]

    def value_for_rows(arg: fx.Node) -> Tensor:
        if arg is first:
            return rows
        held = graph.stored_tensor(str(arg.target))
        # caps (C, 1, 1) stand beside (N, C, H, W), so beside rows they are (C,)
        return held.flatten() if held.numel() > 1 else held.reshape(())

    arguments = fx.node.map_arg(node.args, value_for_rows)
    keywords = fx.node.map_arg(node.kwargs, value_for_rows)
    result: Tensor = node.target(*arguments, **keywords)  # type: ignore[operator]
    return result


def reason_against_rows(graph: FloatGraph, layer: Layer) -> str:
    """Return why rows cannot stand for the layer; empty if rows can."""
    plain = layer.kind is Kind.LINEAR or len(layer.weight_shape) == 4
    if not plain or layer.channel_axis != 0:
        return "it is neither a linear layer nor a plain 2-d convolution"
    node = graph.node_named(layer.node)
    by_channel = output_channel_axis(layer, len(shape_of_node(node)))
    for function in fused_function_chain(node):
        for arg in function.all_input_nodes[1:]:
            if arg.op != "get_attr":
                return "a function of two activations is fused with it"
            held = graph.stored_tensor(str(arg.target))
            # PReLU counts its slopes along axis 1 whatever the shape
            axis = (
                1
                if "prelu" in operator_name(function)
                else _varying_axis(held, len(shape_of_node(node)))
            )
            if held.numel() > 1 and axis != by_channel:
                return "its activation function differs between positions"
    return ""


def _varying_axis(held: Tensor, rank: int) -> int | None:
    """Return the only axis along which a tensor of shape (..., C, ...) varies in rank `rank`.

    None if zero axes or several axes vary.
    """
    spread = (1,) * (rank - held.dim()) + tuple(held.shape)
    varying = [axis for axis, size in enumerate(spread) if size != 1]
    return varying[0] if len(varying) == 1 else None
