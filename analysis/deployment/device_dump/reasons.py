"""Reasons for a difference, tried one by one: what would the device compute if each were true?

A reason is a prediction of the recorded tensor. The reason that leaves the fewest elements
unexplained is the probable one; of equals the first in the list, which is the simplest.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from analysis.deployment.device_dump.layer_case import LayerCase
from analysis.deployment.device_dump.operation_reasons import try_operations
from analysis.deployment.device_dump.prediction import ReasonPrediction, TriedReason
from quant.encoding import Encoding

ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "rounds half up": lambda steps: (steps + 0.5).floor(),
    "rounds half away from zero": lambda steps: steps.sign() * (steps.abs() + 0.5).floor(),
    "truncates towards zero": torch.trunc,
    "rounds down": torch.floor,
}
MOST_CHANNELS = 512
FEWEST_FITTED = 16
EXPLAINED = 0.9
"""The share of the differing elements that a probable reason explains at least (our choice)."""
SAMPLE = 100_000
"""Values among which the distance of two codes is looked for."""


def try_reasons(case: LayerCase) -> list[TriedReason]:
    """Try all reasons on a layer, the best first; equal ones keep the order of the list."""
    before = int(case.differs(case.quantized(case.raw)).sum())
    tried = []
    for found in _predictions(case):
        left = int(case.differs(found.values, found.step).sum())
        tried.append(TriedReason(found.reason, found.detail, 1 - left / max(1, before)))
    return sorted(tried, key=lambda one: -one.explained)


def _predictions(case: LayerCase) -> Iterator[ReasonPrediction]:
    if case.encoding is not None:
        yield from _roundings(case, case.encoding)
        yield from _clips(case, case.encoding)
    yield from _fusions(case)
    yield from try_operations(case)
    if case.encoding is not None:
        yield from _zero_points(case, case.encoding)
    yield from _channel_orders(case)
    yield from _scales(case)


def _roundings(case: LayerCase, encoding: Encoding) -> Iterator[ReasonPrediction]:
    low, high = (limit - encoding.zero_point for limit in encoding.code_limits())
    for detail, rule in ROUNDINGS.items():
        steps = rule(case.clipped / encoding.scale).clamp(low, high)
        yield ReasonPrediction("rounding", detail, steps * encoding.scale)


def _clips(case: LayerCase, encoding: Encoding) -> Iterator[ReasonPrediction]:
    """Yield what a device computes that leaves out a clip: the function's, the range's, or both."""
    low, high = (limit - encoding.zero_point for limit in encoding.code_limits())
    function, values = case.clipped / encoding.scale, case.raw / encoding.scale
    if case.quantizer.clip is not None:
        limited = values.round().clamp(low, high)
        yield ReasonPrediction(
            "missing clip", "the activation function is left out", limited * encoding.scale
        )
        yield ReasonPrediction(
            "missing clip", "nothing limits the values", values.round() * encoding.scale
        )
    yield ReasonPrediction(
        "missing clip", "codes beyond the range are kept", function.round() * encoding.scale
    )
    levels = high - low + 1
    for steps in (function, values):
        wrapped = torch.remainder(steps.round() - low, levels) + low
        yield ReasonPrediction(
            "missing clip", "codes wrap around instead of saturating", wrapped * encoding.scale
        )


def _fusions(case: LayerCase) -> Iterator[ReasonPrediction]:
    """Yield the values without a quantizer: here, or at the layers before that are not recorded."""
    if case.encoding is not None:
        detail = "not rounded here: fused with the next operation"
        yield ReasonPrediction("fused operation", detail, case.clipped)
    before = case.run.unrecorded_before(case.layer.name)
    quantizers = case.run.quantized.quantizers
    groups = [[name] for name in before] + ([before] if len(before) > 1 else [])
    for names in groups:
        if not any(quantizers[name].encoding is not None for name in names):
            continue
        override = {}
        for name in names:
            low, high = quantizers[name].clip or (None, None)
            override[case.run.node_of[name]] = lambda x, low=low, high=high: (
                x if low is high is None else x.clamp(low, high)
            )
        raw = case.run.run_again(case.layer.name, override)
        yield ReasonPrediction(
            "fused operation", f"{', '.join(names)} not rounded: fused", case.quantized(raw)
        )


def _zero_points(case: LayerCase, encoding: Encoding) -> Iterator[ReasonPrediction]:
    """Yield codes that are shifted, and limits that lie elsewhere, as the device's values say."""
    predicted = case.quantized(case.raw)
    shifts = ((case.device - predicted) / encoding.scale).round()
    shift = float(shifts.median())
    if shift:
        yield ReasonPrediction(
            "other zero point",
            f"codes lie {shift:+.0f} beside those expected",
            predicted + shift * encoding.scale,
        )
    steps = (case.device / encoding.scale).round()
    low, high = float(steps.min()), float(steps.max())
    zero_point = float(encoding.zero_point.flatten()[0])
    levels = encoding.qmax - encoding.qmin
    for bound, offset in (("low", encoding.qmin - low), ("high", encoding.qmax - high)):
        if encoding.zero_point.numel() > 1 or offset == zero_point:
            continue
        ends = (low, low + levels) if bound == "low" else (high - levels, high)
        moved = (case.clipped / encoding.scale).round().clamp(*ends) * encoding.scale
        yield ReasonPrediction(
            "other zero point", f"{offset:.0f} instead of {zero_point:.0f}", moved
        )


def _channel_orders(case: LayerCase) -> Iterator[ReasonPrediction]:
    """Yield the channels in the order in which they resemble those of the device most."""
    if case.raw.dim() < 2 or not 2 <= case.raw.shape[1] <= MOST_CHANNELS:
        return
    predicted = case.quantized(case.raw)
    rows, others = (values.movedim(1, 0).flatten(1) for values in (case.device, predicted))
    order = linear_sum_assignment(torch.cdist(rows.double(), others.double()).numpy())[1]
    if (order != np.arange(len(order))).any():
        told = ", ".join(map(str, order[:8].tolist())) + (", ..." if len(order) > 8 else "")
        yield ReasonPrediction("channel order", f"channels come as {told}", predicted[:, order])
    node = case.run.node_of[case.layer.name]
    segment = {*case.run.segment(case.layer.name), node}
    inputs = {one for item in segment for one in item.all_input_nodes if one.op == "placeholder"}
    if inputs:
        flipped = dict.fromkeys(inputs, lambda x: x.flip(1) if x.dim() > 1 else x)
        raw = case.run.run_again(case.layer.name, flipped)
        yield ReasonPrediction("channel order", "input channels are reversed", case.quantized(raw))


def _scales(case: LayerCase) -> Iterator[ReasonPrediction]:
    """Yield the values on the device's own distance of codes, and times a factor that fits best."""
    if case.encoding is not None:
        own = _smallest_gap(case.device)
        if own is not None and abs(own / float(case.step.max()) - 1) > 1e-3:
            low, high = float(case.device.min()), float(case.device.max())
            values = ((case.clipped / own).round() * own).clamp(low, high)
            detail = f"{own:.4g} instead of {float(case.step.max()):.4g}"
            yield ReasonPrediction("other scale", detail, values, torch.tensor(own))
    gain = _gain(case)
    if gain is not None:
        values = case.quantized(case.raw * gain)
        yield ReasonPrediction("other scale", f"values are {gain:.4g} times those expected", values)


def _smallest_gap(values: Tensor) -> float | None:
    """Return the distance of neighbouring values of any shape, refined; None if uneven."""
    flat = values.flatten()
    flat = flat[:: max(1, len(flat) // SAMPLE)]
    levels = torch.unique(flat.double())
    if len(levels) < 3:
        return None
    gaps = levels.diff()
    gaps = gaps[gaps > 1e-6 * float(levels.abs().max())]
    if not len(gaps):
        return None
    step = float(gaps.min())
    for _ in range(3):  # whole numbers of steps, by least squares
        counts = (levels / step).round()
        if not counts.any():
            return None
        step = float((levels * counts).sum() / counts.square().sum())
    even = ((levels / step) - (levels / step).round()).abs().max() < 0.1
    return step if bool(even) and step > 0 else None


def _gain(case: LayerCase) -> float | None:
    """Return the factor by which values inside the range differ, by least squares."""
    low, high = float(case.device.min()), float(case.device.max())
    inside = (case.device > low) & (case.device < high) & (case.raw != 0)
    raw, device = case.raw[inside].double(), case.device[inside].double()
    if len(raw) < FEWEST_FITTED or not raw.any():
        return None
    gain = float((raw * device).sum() / raw.square().sum())
    return gain if gain > 0 and abs(gain - 1) > 1e-4 else None
