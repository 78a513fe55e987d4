"""Fourier transforms; complex numbers are pairs in the last axis, as ONNX writes them."""

import torch
from torch import Tensor

from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value


@register_operator("STFT", settings=(1, 3))
def transform_short_times(call: Call) -> Value:
    """Return the spectra of windows, shape (N, windows, frequencies, 2), of a signal (N, L, 1)."""
    signal, step = call.input_tensor(0), int(call.known_number(1))
    window = call.optional_tensor(2)
    if not call.has_input(3) and window is None:
        raise Refusal("It must have a window or the length of one. Export again.")
    length = int(call.known_number(3)) if call.has_input(3) else len(window)  # type: ignore[arg-type]
    values = _complex_values(signal) if signal.dim() == 3 else signal
    frames = values.unfold(1, length, step)
    frames = frames if window is None else frames * window
    return _spectrum(frames, -1, length, one_sided=bool(call.attribute_value("onesided", 1)))


@register_operator("DFT", settings=(1, 2))
def transform_axis(call: Call) -> Value:
    """Return the spectrum along an axis of values of shape (..., 1) or (..., 2)."""
    x = call.input_tensor(0)
    axis = int(call.known_number(2)) if call.has_input(2) else call.attribute_value("axis", None)
    if axis is None:
        axis = 1 if call.opset < 20 else -2
    axis %= x.dim()
    one_sided, inverse = (bool(call.attribute_value(n, 0)) for n in ("onesided", "inverse"))
    whole = 2 * (x.shape[axis] - 1) if one_sided and inverse else x.shape[axis]
    length = int(call.known_number(1)) if call.has_input(1) else whole
    values = _complex_values(x)
    if not inverse:
        return _spectrum(values, axis, length, one_sided=one_sided)
    if one_sided:
        result: Tensor = torch.fft.irfft(values, length, axis)
        return result.unsqueeze(-1)
    return torch.view_as_real(torch.fft.ifft(values, length, axis))


def _complex_values(x: Tensor) -> Tensor:
    """Return values of shape (...) from pairs (..., 2) or from real numbers (..., 1)."""
    return x.squeeze(-1) if x.shape[-1] == 1 else torch.view_as_complex(x.contiguous())


def _spectrum(values: Tensor, axis: int, length: int, *, one_sided: bool) -> Tensor:
    """Return the spectrum of values (...) along an axis as pairs, shape (..., 2)."""
    if one_sided and not values.is_complex():
        return torch.view_as_real(torch.fft.rfft(values, length, axis))
    found = torch.fft.fft(values, length, axis)
    if one_sided:
        found = found.narrow(axis, 0, length // 2 + 1)
    return torch.view_as_real(found)
