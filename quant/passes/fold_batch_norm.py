"""Fold batch norms into the layers before (white paper, section 2.3.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from quant.errors import QuantError
from quant.graph import operators as ops
from quant.graph.float_graph import ChannelNormal, FloatGraph, copy_graph_module
from quant.graph.layers import Layer, shape_of_node
from quant.graph.operators import Kind, operator_name


@dataclass(frozen=True, slots=True)
class FoldBatchNorm:
    """Return a graph without the batch norms behind convolutions and linear layers.

    W~_k = gamma_k W_k / sqrt(var_k + eps) and b~_k = beta_k + (b_k - mean_k) gamma_k / sqrt(var_k +
    eps). The float function stays; `normals` keeps the batch norm's statistics of channels. A batch
    norm after other operations, or after a layer with a shared weight or output, stays.
    """

    def __call__(self, graph: FloatGraph) -> FloatGraph:
        """Return the folded copy of `graph`.

        Raises:
            QuantError: a batch norm has negative variances.
        """
        result = graph.copy_graph()
        if not any(operator_name(node) in ops.BATCH_NORMS for node in result.module.graph.nodes):
            return result
        layers = {layer.node: layer for layer in result.layers}
        for node in list(result.module.graph.nodes):
            if operator_name(node) not in ops.BATCH_NORMS:
                continue
            _check_variances(result, node)
            source = node.args[0]
            layer = layers.get(source.name)
            if layer is not None and _can_fold_norm(source, layer):
                _fold_norm(result, node, source, layer)
        result.module.graph.eliminate_dead_code()
        # a copy holds only what its graph uses: no tensors of batch norms that are gone
        module = copy_graph_module(result.module)
        return FloatGraph(module, result.input_shape, result.batch, result.normals, result.notes)


def _check_variances(graph: FloatGraph, node: fx.Node) -> None:
    """Raise QuantError where a batch norm would take the root of a negative number."""
    variance = _tensor_of_argument(graph, node.args[4])
    wrong = 0 if variance is None else int((variance < 0).sum())
    if wrong and variance is not None:
        name = next((one.name for one in graph.layers if one.node == node.name), node.name)
        raise QuantError(
            f"The variances of a batch norm must be 0 or more; {wrong} of {variance.numel()} in "
            f"{name} are below 0. Train the network again, or bring its file anew."
        )


def _can_fold_norm(source: fx.Node, layer: Layer) -> bool:
    if layer.weight is None or len(source.users) != 1:
        return False
    weight, bias = source.args[1], source.args[2] if len(source.args) > 2 else None
    shared = any(isinstance(arg, fx.Node) and len(arg.users) > 1 for arg in (weight, bias))
    # a linear layer over tokens has its features last, a batch norm's channels are axis 1
    misaligned = layer.kind is Kind.LINEAR and len(shape_of_node(source)) != 2
    grouped_transpose = layer.channel_axis == 1 and _group_count(source) != 1
    return not (shared or misaligned or grouped_transpose)


def _group_count(node: fx.Node) -> int:
    groups = node.args[6] if len(node.args) > 6 else 1
    return groups if isinstance(groups, int) else 1


def _fold_norm(graph: FloatGraph, node: fx.Node, source: fx.Node, layer: Layer) -> None:
    gamma, beta, mean, variance = (_tensor_of_argument(graph, arg) for arg in node.args[1:5])
    epsilon = node.args[7]
    if layer.weight is None or mean is None or variance is None or not isinstance(epsilon, float):
        return
    gamma = torch.ones_like(mean) if gamma is None else gamma
    beta = torch.zeros_like(mean) if beta is None else beta
    factor = gamma.double() / torch.sqrt(variance.double() + epsilon)
    weight = graph.stored_tensor(layer.weight)
    shape = [-1 if axis == layer.channel_axis else 1 for axis in range(weight.dim())]
    folded = (weight.double() * factor.reshape(shape)).to(weight.dtype)
    old_bias = graph.stored_tensor(layer.bias).double() if layer.bias else torch.zeros_like(factor)
    bias = beta.double() + (old_bias - mean.double()) * factor
    graph.store_tensor(layer.weight, folded.contiguous(memory_format=_memory_format_of(folded)))
    graph.store_bias(layer, bias.to(weight.dtype))
    graph.normals[source.name] = ChannelNormal(beta.float(), gamma.float().abs())
    node.replace_all_uses_with(source)
    graph.module.graph.erase_node(node)


def _memory_format_of(weight: Tensor) -> torch.memory_format:
    return torch.channels_last if weight.dim() == 4 else torch.contiguous_format


def _tensor_of_argument(graph: FloatGraph, arg: object) -> Tensor | None:
    if isinstance(arg, fx.Node) and arg.op == "get_attr":
        return graph.stored_tensor(str(arg.target))
    return None
