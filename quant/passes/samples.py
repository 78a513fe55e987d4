"""What a layer sees, as rows: output positions drawn at random from images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from quant.connections import groups_of
from quant.graph import FloatGraph, Layer, fused_chain
from quant.operators import Kind
from quant.prefix import input_of, output_of
from quant.simulation import QuantGraph

# Numbers held for one layer; 80 MB in float32.
MOST_NUMBERS = 20_000_000


@dataclass(frozen=True, eq=False, slots=True)
class Samples:
    """Rows of one layer.

    `inputs` (R, groups, K) holds what each of R output positions is computed from in the quantized
    network, `outputs` (R, O) what the float network gives there before its activation function.
    """

    inputs: Tensor
    outputs: Tensor


def collect(
    graph: FloatGraph,
    quantized: QuantGraph,
    layer: Layer,
    batches: list[Tensor],
    rows: int,
    generator: torch.Generator,
) -> Samples:
    """Draw about `rows` output positions of a layer, equally many from each image."""
    images = sum(len(batch) for batch in batches)
    depth = layer.weight_shape[1:]
    size = groups_of(graph, layer) * max(1, int(torch.tensor(depth).prod()))
    wanted = max(1, min(rows, MOST_NUMBERS // size) // images)
    inputs, outputs = [], []
    for batch in batches:
        received = input_of(quantized.module, layer.node, batch)
        given = output_of(graph.module, layer.node, batch)
        draw = _draw_patches if received.dim() == 4 else _draw_tokens
        some_inputs, some_outputs = draw(graph, layer, received, given, wanted, generator)
        inputs.append(some_inputs)
        outputs.append(some_outputs)
    # out of inference mode, so that gradients may flow past them
    return Samples(torch.cat(inputs).clone(), torch.cat(outputs).clone())


def _draw_tokens(
    graph: FloatGraph,
    layer: Layer,
    received: Tensor,
    given: Tensor,
    wanted: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw rows of a linear layer, over all axes but the last."""
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
    """Draw output positions of a convolution and the patches under them."""
    groups = groups_of(graph, layer)
    stride, padding, dilation = _geometry(graph.node(layer.node), layer)
    padded = F.pad(received, (padding[1], padding[1], padding[0], padding[0]))
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


def _geometry(
    node: fx.Node, layer: Layer
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return (stride, padding, dilation) of a 2-d convolution."""

    def pair(position: int, default: int) -> tuple[int, int]:
        value = node.args[position] if len(node.args) > position else default
        if value == "same":
            return layer.weight_shape[2] // 2, layer.weight_shape[3] // 2
        if value == "valid":
            return 0, 0
        sizes = value if isinstance(value, list | tuple) else [value]
        numbers = [int(size) for size in sizes if isinstance(size, int)]
        return numbers[0], numbers[-1]

    return pair(3, 1), pair(4, 0), pair(5, 1)


def activation_of(graph: FloatGraph, layer: Layer) -> Callable[[Tensor], Tensor]:
    """Return the layer's fused functions as one function of rows (R, O)."""
    chain = fused_chain(graph.node(layer.node))

    def apply(rows: Tensor) -> Tensor:
        for node in chain:
            rows = _call(graph, node, rows)
        return rows

    return apply


def _call(graph: FloatGraph, node: fx.Node, rows: Tensor) -> Tensor:
    """Run one fused function on rows; tensors that broadcast over space become one value a row."""
    first = node.all_input_nodes[0]

    def value(arg: fx.Node) -> Tensor:
        if arg is first:
            return rows
        held = graph.tensor(str(arg.target))
        # caps (C, 1, 1) stand beside (N, C, H, W), so beside rows they are (C,)
        return held.flatten() if held.dim() >= 3 else held

    arguments = fx.node.map_arg(node.args, value)
    keywords = fx.node.map_arg(node.kwargs, value)
    result: Tensor = node.target(*arguments, **keywords)  # type: ignore[operator]
    return result


def has_rows(layer: Layer) -> bool:
    """Whether rows can be drawn from the layer: a linear layer or a 2-d convolution."""
    return layer.kind is Kind.LINEAR or len(layer.weight_shape) == 4
