"""Products of matrices."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.arithmetic import ranks
from model_io.onnx_import.operators.table import operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value


@operator("Linear", weights=["", "weight", "bias"])
def linear(call: Call) -> Value:
    """Multiply by a weight (outputs, inputs) and add a bias; made of MatMul and Gemm."""
    return F.linear(call.tensor(0), call.tensor(1), call.maybe(2))


@operator("MatMul")
def matmul(call: Call) -> Value:
    """Multiply matrices; axes before the last two broadcast."""
    return torch.matmul(call.tensor(0), call.tensor(1))


@operator("Gemm", weights=["", "weight", "bias"])
def gemm(call: Call) -> Any:
    """Multiply two matrices, either transposed, and add a third."""
    left, right = call.tensor(0), call.tensor(1)
    left = left.T if call.attribute("transA", 0) else left
    right = right.T if call.attribute("transB", 0) else right
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    product = torch.matmul(left, right)
    product = product if alpha == 1 else product * alpha
    if not call.has(2):
        return product
    added: Any = call.operand(2, ranks(call))
    return product + (added if beta == 1 else added * beta)


@operator("Einsum")
def einsum(call: Call) -> Value:
    """Sum products over named axes."""
    tensors = [call.tensor(i) for i in range(len(call.values))]
    return torch.einsum(call.attribute("equation"), *tensors)


@operator("Attention")
def attention(call: Call) -> Value:
    """Attend: softmax of scaled products of queries and keys, applied to values (opset 23)."""
    query, key, value = (call.tensor(i) for i in range(3))
    extras = ("softcap", "qk_matmul_output_mode")
    if any(call.has(i) for i in range(4, 7)) or any(call.attribute(e, 0) for e in extras):
        raise Refusal("It keeps past keys or caps its scores. Export with opset 20 instead.")
    if any(call.step.outputs[1:]):
        raise Refusal("Its keys or scores are asked for. Export with opset 20 instead.")
    if flat := query.dim() == 3:
        query = _heads(query, call.attribute("q_num_heads"))
        key, value = (_heads(t, call.attribute("kv_num_heads")) for t in (key, value))
    result = F.scaled_dot_product_attention(
        query,
        key,
        value,
        call.maybe(3),
        is_causal=bool(call.attribute("is_causal", 0)),
        scale=call.attribute("scale"),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return result.transpose(1, 2).flatten(2) if flat else result


def _heads(x: Tensor, count: int) -> Any:
    """Return (N, heads, tokens, features) of (N, tokens, heads * features)."""
    return x.unflatten(2, (count, -1)).transpose(1, 2)
