"""Activation functions with parameters, and those that this package recognises in loose nodes."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import operator
from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import Value


@operator("LeakyRelu")
def leaky_relu(call: Call) -> Value:
    """Scale what is below zero."""
    return F.leaky_relu(call.tensor(0), call.attribute("alpha", 0.01))


@operator("PRelu", weights=["", "weight"])
def prelu(call: Call) -> Value:
    """Scale what is below zero, by channel where the slope (C, 1, ..., 1) says so."""
    x, slope = call.tensor(0), call.tensor(1)
    full = (1,) * (x.dim() - slope.dim()) + tuple(slope.shape)
    by_channel = full == (1, x.shape[1], *(1,) * (x.dim() - 2))
    if slope.numel() == 1 or by_channel:
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x >= 0, x, x * slope)


@operator("Elu")
def elu(call: Call) -> Value:
    """Exponential below zero."""
    return F.elu(call.tensor(0), call.attribute("alpha", 1.0))


@operator("Selu")
def selu(call: Call) -> Any:
    """Scaled ELU."""
    alpha = call.attribute("alpha", 1.67326319217681884765625)
    gamma = call.attribute("gamma", 1.05070102214813232421875)
    return F.elu(call.tensor(0), alpha) * gamma


@operator("Celu")
def celu(call: Call) -> Value:
    """ELU with a continuous slope."""
    return F.celu(call.tensor(0), call.attribute("alpha", 1.0))


@operator("ThresholdedRelu")
def thresholded_relu(call: Call) -> Value:
    """Keep what is over a threshold."""
    x = call.tensor(0)
    return torch.where(x > call.attribute("alpha", 1.0), x, 0.0)


@operator("Shrink")
def shrink(call: Call) -> Value:
    """Pull values towards zero, those within the threshold to zero."""
    x, bias, limit = call.tensor(0), call.attribute("bias", 0.0), call.attribute("lambd", 0.5)
    outside = torch.where(x > limit, x - bias, 0.0)
    return torch.where(x < -limit, x + bias, outside)


@operator("HardSigmoid")
def hard_sigmoid(call: Call) -> Value:
    """Bound a line to [0, 1]."""
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-4) and beta == 0.5:
        return F.hardsigmoid(call.tensor(0))
    return torch.clamp(call.tensor(0) * alpha + beta, 0.0, 1.0)


@operator("HardSwish")
def hard_swish(call: Call) -> Value:
    """Return x times its hard sigmoid."""
    return F.hardswish(call.tensor(0))


@operator("Swish")
def swish(call: Call) -> Value:
    """Return x times the sigmoid of alpha x."""
    x, alpha = call.tensor(0), call.attribute("alpha", 1.0)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


@operator("Mish")
def mish(call: Call) -> Value:
    """Return x times the tanh of its softplus."""
    return F.mish(call.tensor(0))


@operator("Gelu")
def gelu(call: Call) -> Value:
    """Return x times the normal distribution function, or the approximation by tanh."""
    return F.gelu(call.tensor(0), approximate=call.attribute("approximate", "none"))


@operator("Softplus")
def softplus(call: Call) -> Value:
    """Return log(1 + exp(x))."""
    return F.softplus(call.tensor(0))


def _along_axis(call: Call) -> tuple[Tensor, int, torch.Size]:
    """Return (values, axis, shape to give back); before opset 13 all axes from one on are one."""
    x = call.tensor(0)
    if call.opset >= 13:
        return x, call.attribute("axis", -1), x.shape
    axis = call.attribute("axis", 1) % max(x.dim(), 1)
    if axis == x.dim() - 1:
        return x, axis, x.shape
    return x.flatten(axis), axis, x.shape


@operator("Softmax")
def softmax(call: Call) -> Value:
    """Return exponentials that sum to one."""
    x, axis, shape = _along_axis(call)
    result = torch.softmax(x, axis)
    return result if result.shape == shape else result.reshape(shape)


@operator("LogSoftmax")
def log_softmax(call: Call) -> Value:
    """Return the logarithm of softmax."""
    x, axis, shape = _along_axis(call)
    result = torch.log_softmax(x, axis)
    return result if result.shape == shape else result.reshape(shape)


@operator("Hardmax")
def hardmax(call: Call) -> Value:
    """Return one at the first greatest value and zero elsewhere."""
    x, axis, shape = _along_axis(call)
    best = F.one_hot(x.argmax(axis), x.shape[axis]).to(x.dtype)
    return best.movedim(-1, axis).reshape(shape)
