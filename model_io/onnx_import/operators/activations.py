"""Activation functions with parameters, and functions that the import recognises in small nodes."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import Value


@register_operator("LeakyRelu")
def apply_leaky_relu(call: Call) -> Value:
    """Scale negative values."""
    return F.leaky_relu(call.input_tensor(0), call.attribute_value("alpha", 0.01))


@register_operator("PRelu", weights=["", "weight"])
def apply_prelu(call: Call) -> Value:
    """Scale negative values, by channel for a slope of shape (C, 1, ..., 1)."""
    x, slope = call.input_tensor(0), call.input_tensor(1)
    full = (1,) * (x.dim() - slope.dim()) + tuple(slope.shape)
    by_channel = full == (1, x.shape[1], *(1,) * (x.dim() - 2))
    if slope.numel() == 1 or by_channel:
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x >= 0, x, x * slope)


@register_operator("Elu")
def apply_elu(call: Call) -> Value:
    """Exponential below zero."""
    return F.elu(call.input_tensor(0), call.attribute_value("alpha", 1.0))


@register_operator("Selu")
def apply_selu(call: Call) -> Value:
    """Scaled ELU."""
    alpha = call.attribute_value("alpha", 1.67326319217681884765625)
    gamma = call.attribute_value("gamma", 1.05070102214813232421875)
    scaled: Tensor = F.elu(call.input_tensor(0), alpha) * gamma
    return scaled


@register_operator("Celu")
def apply_celu(call: Call) -> Value:
    """ELU with a continuous slope."""
    return F.celu(call.input_tensor(0), call.attribute_value("alpha", 1.0))


@register_operator("ThresholdedRelu")
def apply_thresholded_relu(call: Call) -> Value:
    """Keep values above a threshold."""
    x = call.input_tensor(0)
    return torch.where(x > call.attribute_value("alpha", 1.0), x, 0.0)


@register_operator("Shrink")
def shrink_to_zero(call: Call) -> Value:
    """Move values towards zero; values within the threshold become zero."""
    x, bias, limit = (
        call.input_tensor(0),
        call.attribute_value("bias", 0.0),
        call.attribute_value("lambd", 0.5),
    )
    outside = torch.where(x > limit, x - bias, 0.0)
    return torch.where(x < -limit, x + bias, outside)


@register_operator("HardSigmoid")
def apply_hard_sigmoid(call: Call) -> Value:
    """Bound a line to [0, 1]."""
    alpha, beta = call.attribute_value("alpha", 0.2), call.attribute_value("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-4) and beta == 0.5:
        return F.hardsigmoid(call.input_tensor(0))
    return torch.clamp(call.input_tensor(0) * alpha + beta, 0.0, 1.0)


@register_operator("HardSwish")
def apply_hard_swish(call: Call) -> Value:
    """Return x times the hard sigmoid of x."""
    return F.hardswish(call.input_tensor(0))


@register_operator("Swish")
def apply_swish(call: Call) -> Value:
    """Return x times the sigmoid of alpha x."""
    x, alpha = call.input_tensor(0), call.attribute_value("alpha", 1.0)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


@register_operator("Mish")
def apply_mish(call: Call) -> Value:
    """Return x times the tanh of the softplus of x."""
    return F.mish(call.input_tensor(0))


@register_operator("Gelu")
def apply_gelu(call: Call) -> Value:
    """Return x times the normal distribution function, or the approximation by tanh."""
    return F.gelu(call.input_tensor(0), approximate=call.attribute_value("approximate", "none"))


@register_operator("Softplus")
def apply_softplus(call: Call) -> Value:
    """Return log(1 + exp(x))."""
    return F.softplus(call.input_tensor(0))


def _values_and_axis(call: Call) -> tuple[Tensor, int, torch.Size]:
    """Return (values, axis, shape to restore); before opset 13 later axes are joined."""
    x = call.input_tensor(0)
    if call.opset >= 13:
        return x, call.attribute_value("axis", -1), x.shape
    axis = call.attribute_value("axis", 1) % max(x.dim(), 1)
    if axis == x.dim() - 1:
        return x, axis, x.shape
    return x.flatten(axis), axis, x.shape


@register_operator("Softmax")
def apply_softmax(call: Call) -> Value:
    """Return exponentials with the sum one."""
    x, axis, shape = _values_and_axis(call)
    result = torch.softmax(x, axis)
    return result if result.shape == shape else result.reshape(shape)


@register_operator("LogSoftmax")
def apply_log_softmax(call: Call) -> Value:
    """Return the logarithm of softmax."""
    x, axis, shape = _values_and_axis(call)
    result = torch.log_softmax(x, axis)
    return result if result.shape == shape else result.reshape(shape)


@register_operator("Hardmax")
def apply_hardmax(call: Call) -> Value:
    """Return one at the first maximum and zero elsewhere."""
    x, axis, shape = _values_and_axis(call)
    best = F.one_hot(x.argmax(axis), x.shape[axis]).to(x.dtype)
    return best.movedim(-1, axis).reshape(shape)
