"""Reasons inside an operation: the weights, the bias and the accumulator of a device."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, fx

from analysis.deployment.device_dump.layer_case import LayerCase
from analysis.deployment.device_dump.prediction import ReasonPrediction
from quant.encoding import Encoding
from quant.ranges.estimators import encode_weight
from quant.simulation.plan import weight_site_name
from quant.spec import Estimator, Granularity, QuantSpec

ACCUMULATORS = (16, 20, 24)
"""Bits of an accumulator that saturates; one of 32 does not in practice."""
BIAS_BITS = (8, 16)


def try_operations(case: LayerCase) -> Iterator[ReasonPrediction]:
    """Yield what other weights, another bias or a narrow accumulator would give."""
    if case.layer.weight is None or case.operation not in case.run.segment(case.layer.name):
        return
    yield from _weights(case)
    step = case.accumulator_step()
    if step is not None:
        yield from _biases(case, step)
        yield from _accumulators(case, step)
    elif case.layer.bias is not None:
        yield _with_bias(case, "bias", "left out", torch.zeros_like)


def _again(case: LayerCase, compute: Callable[..., Tensor]) -> Tensor:
    return case.quantized(case.run.run_again(case.layer.name, {case.operation: compute}))


def _operator_of(case: LayerCase) -> Callable[..., Tensor]:
    return cast(Callable[..., Tensor], case.operation.target)


def _weights(case: LayerCase) -> Iterator[ReasonPrediction]:
    """Yield other encodings of the weight."""
    site = case.run.quantized.quantizers[weight_site_name(case.layer.name)].site
    stored = case.run.quantized.graph.stored_tensor(str(case.layer.weight)).detach()
    place = case.operation.args.index(
        next(node for node in case.operation.all_input_nodes if _is_weight(case, node))
    )

    def with_weight(weight: Tensor) -> Tensor:
        operator = _operator_of(case)

        def compute(*args: Any, **kwargs: object) -> Tensor:
            return operator(*args[:place], weight, *args[place + 1 :], **kwargs)

        return _again(case, compute)

    spec = site.spec
    if spec.is_float:
        return
    for detail, other in _other_specs(spec):
        encoding: Encoding = encode_weight(stored, other, case.layer.channel_axis)
        name = "per-tensor weights" if other.granularity is not spec.granularity else "weights"
        yield ReasonPrediction(name, detail, with_weight(encoding.fake_quantize(stored)))
    yield ReasonPrediction("weights", "not quantized", with_weight(stored))


def _is_weight(case: LayerCase, node: fx.Node) -> bool:
    module = node.op == "call_module" and case.run.quantized.module.get_submodule(str(node.target))
    return module is case.run.quantized.quantizers[weight_site_name(case.layer.name)]


def _other_specs(spec: QuantSpec) -> Iterator[tuple[str, QuantSpec]]:
    plain = replace(spec, estimator=Estimator.MIN_MAX)
    if spec.granularity is not Granularity.PER_TENSOR:
        whole = replace(spec, granularity=Granularity.PER_TENSOR, channel_bits=())
        largest = replace(whole, estimator=Estimator.MIN_MAX)
        yield "one scale for all channels, of the largest weight", largest
        if spec.symmetric and not spec.narrow:
            narrow = "one scale for all channels, of the largest weight, without the least code"
            yield narrow, replace(largest, narrow=True)
        yield "one scale for all channels", whole
    else:
        each = replace(spec, granularity=Granularity.PER_CHANNEL)
        yield "a scale for each channel", each
    if spec.estimator is not Estimator.MIN_MAX:
        yield "the range of the largest weight", plain


def _with_bias(
    case: LayerCase, reason: str, detail: str, change: Callable[[Tensor], Tensor]
) -> ReasonPrediction:
    operator = _operator_of(case)

    def compute(*args: Any, **kwargs: object) -> Tensor:
        return operator(*args[:2], change(args[2]), *args[3:], **kwargs)

    return ReasonPrediction(reason, detail, _again(case, compute))


def _biases(case: LayerCase, step: Tensor) -> Iterator[ReasonPrediction]:
    """Yield the bias in whole accumulator steps, in few bits, and none; shapes follow the site."""
    if case.layer.bias is None or len(case.operation.args) < 3 or case.operation.args[2] is None:
        return
    yield _with_bias(
        case,
        "int32 bias",
        "rounded to whole steps of the accumulator",
        lambda bias: (bias / step).round() * step,
    )
    yield _with_bias(case, "bias", "left out", torch.zeros_like)
    for bits in BIAS_BITS:
        most = 2.0 ** (bits - 1) - 1

        def few(bias: Tensor, most: float = most) -> Tensor:
            scale = (bias.abs().max() / most).clamp(min=1e-30)
            return (bias / scale).round() * scale

        yield _with_bias(case, "bias", f"in {bits} bits of its own range", few)


def _accumulators(case: LayerCase, step: Tensor) -> Iterator[ReasonPrediction]:
    """Yield an accumulator of few bits with saturation at the end, with the bias or before.

    Values have the shape (N, ...).
    """
    operator = _operator_of(case)
    channels = step.reshape(-1, *(1,) * (case.raw.dim() - 2)) if case.raw.dim() > 2 else step
    for bits in ACCUMULATORS:
        most = 2.0 ** (bits - 1)
        for with_bias in (True, False):

            def compute(
                *args: Any, most: float = most, with_bias: bool = with_bias, **kwargs: object
            ) -> Tensor:
                bias: Tensor | None = args[2] if len(args) > 2 else None
                kept = bias if with_bias else None
                total: Tensor = operator(*args[:2], kept, *args[3:], **kwargs)
                total = (total / channels).clamp(-most, most - 1) * channels
                if bias is None or with_bias:
                    return total
                return total + bias.reshape(-1, *(1,) * (total.dim() - 2))

            detail = f"{bits} bits, {'with' if with_bias else 'before'} the bias"
            yield ReasonPrediction("saturating accumulator", detail, _again(case, compute))
