"""Normalizations."""

import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value


@register_operator(
    "BatchNormalization", weights=["", "weight", "bias", "running_mean", "running_var"]
)
def apply_batch_norm(call: Call) -> Value:
    """Normalize by the statistics of training."""
    if call.attribute_value("training_mode", 0) or len([o for o in call.step.outputs if o]) > 1:
        raise Refusal("It is in training mode. Export the network in eval mode.")
    x, scale, bias, mean, variance = (call.input_tensor(i) for i in range(5))
    return F.batch_norm(
        x, mean, variance, scale, bias, training=False, eps=call.attribute_value("epsilon", 1e-5)
    )


@register_operator("InstanceNormalization", weights=["", "weight", "bias"])
def apply_instance_norm(call: Call) -> Value:
    """Normalize each channel of each image separately."""
    x, scale, bias = (call.input_tensor(i) for i in range(3))
    return F.instance_norm(x, weight=scale, bias=bias, eps=call.attribute_value("epsilon", 1e-5))


@register_operator("LayerNormalization", weights=["", "weight", "bias"])
def apply_layer_norm(call: Call) -> tuple[Value, ...]:
    """Normalize over the last axes, from `axis` on; return the mean and deviation where asked."""
    x, scale, bias = call.input_tensor(0), call.input_tensor(1), call.optional_tensor(2)
    axis, epsilon = (
        call.attribute_value("axis", -1) % x.dim(),
        call.attribute_value("epsilon", 1e-5),
    )
    shape = list(x.shape[axis:])
    if list(scale.shape) == shape and (bias is None or list(bias.shape) == shape):
        result = F.layer_norm(x, shape, scale, bias, epsilon)
    else:
        result = F.layer_norm(x, shape, eps=epsilon) * scale
        result = result if bias is None else result + bias
    if not any(call.step.outputs[1:]):
        return (result,)
    axes = list(range(axis, x.dim()))
    variance = x.var(axes, unbiased=False, keepdim=True)
    return result, x.mean(axes, keepdim=True), torch.rsqrt(variance + epsilon)


@register_operator("RMSNormalization", weights=["", "weight"])
def apply_rms_norm(call: Call) -> Value:
    """Divide by the root of the mean square over the last axes."""
    x, scale = call.input_tensor(0), call.input_tensor(1)
    shape = list(x.shape[call.attribute_value("axis", -1) % x.dim() :])
    epsilon = call.attribute_value("epsilon", 1e-5)
    if list(scale.shape) == shape:
        return F.rms_norm(x, shape, scale, epsilon)
    return F.rms_norm(x, shape, eps=epsilon) * scale


@register_operator("GroupNormalization", weights=["", "weight", "bias"])
def apply_group_norm(call: Call) -> Value:
    """Normalize groups of channels; before opset 21 scale and bias have one value for a group."""
    x, scale, bias = (call.input_tensor(i) for i in range(3))
    groups = call.attribute_value("num_groups")
    if call.opset < 21:
        scale, bias = (t.repeat_interleave(x.shape[1] // groups) for t in (scale, bias))
    return F.group_norm(x, groups, scale, bias, call.attribute_value("epsilon", 1e-5))


@register_operator("LRN")
def local_response_norm(call: Call) -> Value:
    """Divide by the squares of neighbouring channels."""
    x, size = call.input_tensor(0), call.attribute_value("size")
    alpha, beta = call.attribute_value("alpha", 1e-4), call.attribute_value("beta", 0.75)
    channels = x.square().flatten(2).movedim(1, -1)
    around = F.pad(channels, ((size - 1) // 2, size // 2))
    sums = around.unfold(-1, size, 1).sum(-1).movedim(-1, 1).reshape(x.shape)
    result: Tensor = x / (call.attribute_value("bias", 1.0) + alpha / size * sums) ** beta
    return result


@register_operator("LpNormalization")
def normalize_by_norm(call: Call) -> Value:
    """Divide by the p-norm along an axis; a norm of zero leaves zeros."""
    x = call.input_tensor(0)
    norm = torch.linalg.vector_norm(
        x, call.attribute_value("p", 2), call.attribute_value("axis", -1), keepdim=True
    )
    return x / torch.where(norm == 0, 1.0, norm)


@register_operator("MeanVarianceNormalization")
def mean_variance_normalization(call: Call) -> Value:
    """Subtract the mean and divide by the deviation over axes."""
    x: Tensor = call.input_tensor(0)
    axes = call.attribute_value("axes", [0, 2, 3])
    if 0 in axes:
        raise Refusal(
            "It mixes the images of a batch (axis 0), so a result depends on its neighbours. "
            "Export with axes that leave out the first."
        )
    mean = x.mean(axes, keepdim=True)
    return (x - mean) / ((x - mean).square().mean(axes, keepdim=True).sqrt() + 1e-9)
