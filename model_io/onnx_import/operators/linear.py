"""Products of matrices."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.arithmetic import highest_input_rank
from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value


@register_operator("Linear", weights=["", "weight", "bias"])
def apply_linear_layer(call: Call) -> Value:
    """Multiply by a weight (outputs, inputs) and add a bias; made of MatMul and Gemm."""
    return F.linear(call.input_tensor(0), call.input_tensor(1), call.optional_tensor(2))


@register_operator("MatMul")
def multiply_matrices(call: Call) -> Value:
    """Multiply matrices; axes before the last two broadcast."""
    return torch.matmul(call.input_tensor(0), call.input_tensor(1))


@register_operator("Gemm", weights=["", "weight", "bias"])
def general_matrix_product(call: Call) -> Value:
    """Multiply two matrices, each transposed on request, and add a third."""
    left, right = call.input_tensor(0), call.input_tensor(1)
    left = left.T if call.attribute_value("transA", 0) else left
    right = right.T if call.attribute_value("transB", 0) else right
    alpha, beta = call.attribute_value("alpha", 1.0), call.attribute_value("beta", 1.0)
    product = torch.matmul(left, right)
    product = product if alpha == 1 else product * alpha
    if not call.has_input(2):
        return product
    added: Any = call.plain_operand(2, highest_input_rank(call))
    result: Tensor = product + (added if beta == 1 else added * beta)
    return result


@register_operator("Einsum")
def sum_named_products(call: Call) -> Value:
    """Sum products over named axes."""
    tensors = [call.input_tensor(i) for i in range(len(call.values))]
    return torch.einsum(call.attribute_value("equation"), *tensors)


@register_operator("Attention")
def apply_attention(call: Call) -> Value:
    """Attend: softmax of scaled products of queries and keys, applied to values (opset 23)."""
    query, key, value = (call.input_tensor(i) for i in range(3))
    extras = ("softcap", "qk_matmul_output_mode")
    if any(call.has_input(i) for i in range(4, 7)) or any(
        call.attribute_value(e, 0) for e in extras
    ):
        raise Refusal("It keeps past keys or caps its scores. Export with opset 20 instead.")
    if any(call.step.outputs[1:]):
        raise Refusal("Its keys or scores are asked for. Export with opset 20 instead.")
    if flat := query.dim() == 3:
        query = _split_attention_heads(query, call.attribute_value("q_num_heads"))
        key, value = (
            _split_attention_heads(t, call.attribute_value("kv_num_heads")) for t in (key, value)
        )
    result = F.scaled_dot_product_attention(
        query,
        key,
        value,
        call.optional_tensor(3),
        is_causal=bool(call.attribute_value("is_causal", 0)),
        scale=call.attribute_value("scale"),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return result.transpose(1, 2).flatten(2) if flat else result


def _split_attention_heads(x: Tensor, count: int) -> Tensor:
    """Return (N, heads, tokens, features) of (N, tokens, heads * features)."""
    heads: Tensor = x.unflatten(2, (count, -1)).transpose(1, 2)
    return heads
