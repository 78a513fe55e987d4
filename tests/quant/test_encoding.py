"""Grids against ONNX Runtime, bit by bit, and their gradients."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.encoding import Encoding
from tests.quant.onnx_oracle import round_trip

LIMITS = {name: (np.iinfo(name).min, np.iinfo(name).max) for name in ("uint8", "int8")}
WIDE = {name: (np.iinfo(name).min, np.iinfo(name).max) for name in ("uint16", "int16")}
# one tenth is no binary fraction, one eighth is: only there can x / scale end exactly on .5
SCALES = (0.125, 0.1, 0.0123456)


def encoding(kind: str, scale: Tensor, zero_point: Tensor) -> Encoding:
    qmin, qmax = (LIMITS | WIDE)[kind]
    return Encoding(scale, zero_point.float(), qmin, qmax)


def values(scale: float, reach: int, count: int) -> Tensor:
    """Return random values, every half step exactly (the ties), their neighbours, and extremes."""
    halves = torch.arange(-2 * reach, 2 * reach + 1) * (0.5 * scale)
    beside = [torch.nextafter(halves, torch.tensor(end)) for end in (-torch.inf, torch.inf)]
    extremes = torch.tensor([3e38, -3e38, 1e-40, -1e-40, 0.0, -0.0])
    spread = torch.randn(count) * scale * reach / 2
    return torch.cat([halves, *beside, extremes, spread])


def assert_equal_to_onnx(encoding: Encoding, x: Tensor, kind: str, axis: int = 1) -> None:
    zero_point = encoding.zero_point.flatten() if encoding.scale.dim() else encoding.zero_point
    scale = encoding.scale.flatten() if encoding.scale.dim() else encoding.scale
    wanted, real = round_trip(x.numpy(), scale.numpy(), zero_point.numpy().astype(kind), axis)
    got = encoding.quantize(x)
    assert np.array_equal(got.numpy(), wanted.astype(np.float32))
    assert np.array_equal(encoding.dequantize(got).numpy(), real)
    assert torch.equal(encoding.fake_quantize(x), encoding.dequantize(got))


@pytest.mark.parametrize(
    ("kind", "share", "scale"), list(product(LIMITS, (0.0, 0.37, 0.5, 1.0), SCALES))
)
def test_per_tensor_equals_onnx_runtime_on_ties_neighbours_and_random_values(
    kind: str, share: float, scale: float
) -> None:
    low, high = LIMITS[kind]
    zero_point = torch.tensor(round(low + share * (high - low)))
    x = values(scale, 600, 100_000)
    assert_equal_to_onnx(encoding(kind, torch.tensor(scale), zero_point), x, kind)


def test_four_million_values_on_an_odd_zero_point_equal_onnx_runtime() -> None:
    x = values(0.05, 4000, 4_000_000)
    assert_equal_to_onnx(encoding("uint8", torch.tensor(0.05), torch.tensor(77)), x, "uint8")


@pytest.mark.parametrize(("kind", "scale"), list(product(WIDE, SCALES)))
def test_sixteen_bits_equal_onnx_runtime(kind: str, scale: float) -> None:
    zero_point = torch.tensor(12_345 if kind == "int16" else 32_767)
    x = values(scale, 70_000, 100_000)
    assert_equal_to_onnx(encoding(kind, torch.tensor(scale), zero_point), x, kind)


@pytest.mark.parametrize(("kind", "axis"), list(product(LIMITS, (0, 1, 3))))
def test_per_channel_equals_onnx_runtime_on_every_axis(kind: str, axis: int) -> None:
    low, high = LIMITS[kind]
    shape = [1, 1, 1, 1]
    shape[axis] = 7
    scale = torch.tensor([0.1, 0.125, 1e-6, 0.5, 3.0, 0.011, 1.0]).reshape(shape)
    zero_point = torch.randint(low, high + 1, (7,)).reshape(shape)
    whole = torch.randint(-300, 300, (7, 7, 11, 7)).float() / 2
    x = torch.cat([whole * scale, torch.randn(7, 7, 11, 7) * scale * 100], 2)
    assert_equal_to_onnx(encoding(kind, scale, zero_point), x, kind, axis)


def test_half_steps_round_to_the_even_whole_number_before_the_zero_point_is_added() -> None:
    encoding = Encoding(torch.tensor(2.0), torch.tensor(3.0), 0, 7)
    # x / scale is -0.5, 0.5, 1.5, 2.5: to even gives 0, 0, 2, 2; rounding after adding 3 gives
    # 2, 4, 4, 6
    x = torch.tensor([-1.0, 1.0, 3.0, 5.0])
    assert encoding.quantize(x).tolist() == [3, 3, 5, 5]
    assert encoding.fake_quantize(x).tolist() == [0, 0, 4, 4]


def test_values_beyond_the_grid_stop_at_its_ends() -> None:
    encoding = Encoding(torch.tensor(0.5), torch.tensor(1.0), 0, 3)
    assert (float(encoding.low), float(encoding.high)) == (-0.5, 1.0)
    x = torch.tensor([-9.0, 9.0, torch.inf, -torch.inf])
    assert encoding.fake_quantize(x).tolist() == [-0.5, 1.0, 1.0, -0.5]


def test_quantizing_leaves_the_input_as_it_was() -> None:
    x = torch.randn(100)
    before = x.clone()
    encoding = Encoding(torch.tensor(0.1), torch.tensor(3.0), 0, 15)
    encoding.quantize(x)
    encoding.fake_quantize(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("channels", [None, 4])
def test_gradients_pass_straight_inside_the_grid_and_stop_outside(channels: int | None) -> None:
    shape = () if channels is None else (channels, 1)
    encoding = Encoding(torch.full(shape, 0.5), torch.full(shape, 2.0), 0, 7)
    row = torch.tensor([-1.01, -1.0, -0.4, 0.0, 1.3, 2.5, 2.51, 40.0])
    x = row.expand(4, 8).clone().requires_grad_()
    weight = torch.arange(1.0, 9.0)
    (encoding.fake_quantize(x) * weight).sum().backward()
    assert x.grad is not None
    inside = torch.tensor([0.0, 1, 1, 1, 1, 1, 0, 0])
    assert torch.equal(x.grad, (inside * weight).expand(4, 8))


def test_values_are_the_same_with_and_without_gradients() -> None:
    encoding = Encoding(torch.tensor(0.1), torch.tensor(100.0), 0, 255)
    x = values(0.1, 400, 100_000).clamp(-1e6, 1e6)
    with_gradient = encoding.fake_quantize(x.clone().requires_grad_()).detach()
    assert torch.equal(with_gradient, encoding.fake_quantize(x))
