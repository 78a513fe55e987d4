"""Sizes of an operation for the cost model: channels, planes, windows, products."""

import math
from collections import Counter

from torch import fx

from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer, shape_of_node
from quant.spec import QuantSpec


def matrix_product_sizes(layer: Layer) -> dict[str, int]:
    """Return the sizes of a product; from the output, as an operand may be a constant."""
    rows, columns = (1, *layer.shape)[-2:]
    depth = layer.macs // math.prod(layer.shape)
    groups = math.prod(layer.shape[:-2])
    return {"batch": rows, "c_in": depth, "c_out": columns, "groups": groups}


def spatial_plane_sizes(before: tuple[int, ...], after: tuple[int, ...]) -> dict[str, int]:
    """Return channels, height and width of input and output; other ranks fill the height.

    Rows that share the batch axis with the images, such as the frames of a film, join the height.
    """
    c_in, in_h, in_w = _channels_height_width(before)
    c_out, out_h, out_w = _channels_height_width(after)
    return {
        "c_in": c_in,
        "in_h": in_h,
        "in_w": in_w,
        "c_out": c_out,
        "out_h": out_h,
        "out_w": out_w,
    }


def _channels_height_width(shape: tuple[int, ...]) -> tuple[int, int, int]:
    sizes, rows = (*shape[1:], 1, 1, 1), (*shape, 1)[0]
    if len(shape) == 3:  # one axis of space: the width
        return sizes[0], rows, sizes[1]
    return sizes[0], rows * sizes[1], math.prod(sizes[2:])


def pooling_window_size(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of input values, by height and width, behind one output value.

    Example:
        >>> pooling_window_size((1, 8, 6, 6), (1, 8, 3, 2))
        (2, 3)
    """
    _, in_h, in_w = _channels_height_width(before)
    _, out_h, out_w = _channels_height_width(after)
    return max(1, in_h // out_h), max(1, in_w // out_w)


def height_width_pair(value: object) -> tuple[int, int]:
    """Return (height, width) of a kernel or stride; a third axis of space joins the width."""
    sizes = [int(v) for v in value if isinstance(v, int)] if isinstance(value, list | tuple) else []
    if not sizes:
        return (value, value) if isinstance(value, int) else (1, 1)
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], math.prod(sizes[1:]))


def columns_by_bits(spec: QuantSpec, columns: int) -> tuple[tuple[int, int], ...]:
    """Return (bits, columns of the product), the narrowest first; empty for a single width."""
    counts, channels = Counter(spec.channel_bits), len(spec.channel_bits)
    return tuple((bits, counts[bits] * columns // channels) for bits in sorted(counts))


def linear_layer_sizes(graph: FloatGraph, layer: Layer) -> dict[str, int]:
    """Return the sizes of a linear layer, or of a transposed convolution as a product."""
    rows = layer.macs // math.prod(layer.weight_shape)
    c_in = layer.weight_shape[layer.channel_axis ^ 1]
    return {
        "batch": rows,
        "c_in": c_in,
        "c_out": math.prod(layer.weight_shape) // c_in,
        "weight_elements": math.prod(layer.weight_shape),
        "bias_elements": _bias_elements(graph, layer),
    }


def computed_weight_sizes(graph: FloatGraph, layer: Layer) -> dict[str, int]:
    """Return the sizes of a convolution or linear layer with a computed weight, as a product."""
    node = graph.node_named(layer.node)
    second, groups = node.args[1], node.args[6] if len(node.args) > 6 else 1
    shape = shape_of_node(second) if isinstance(second, fx.Node) else ()
    groups = groups if isinstance(groups, int) else 1
    depth = math.prod(shape[1:])
    columns = max(1, shape[0] // groups)
    rows = max(1, layer.macs // (depth * columns * groups))
    return {"batch": rows, "c_in": depth, "c_out": columns, "groups": groups}


def convolution_sizes(graph: FloatGraph, layer: Layer) -> dict[str, int]:
    """Return the sizes of a convolution."""
    node = graph.node_named(layer.node)
    kernel, stride, dilation = (
        height_width_pair(layer.weight_shape[2:]),
        height_width_pair(node.args[3] if len(node.args) > 3 else 1),
        height_width_pair(node.args[5] if len(node.args) > 5 else 1),
    )
    groups = node.args[6] if len(node.args) > 6 else 1
    sizes = spatial_plane_sizes(layer.input_shapes[0], layer.shape)
    sizes |= {"kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": stride[0]}
    sizes |= {"stride_w": stride[1], "dilation_h": dilation[0], "dilation_w": dilation[1]}
    sizes |= {"groups": groups if isinstance(groups, int) else 1}
    return sizes | {
        "weight_elements": math.prod(layer.weight_shape),
        "bias_elements": _bias_elements(graph, layer),
    }


def _bias_elements(graph: FloatGraph, layer: Layer) -> int:
    return graph.stored_tensor(layer.bias).numel() if layer.bias else 0
