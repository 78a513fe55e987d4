"""A quantizer stands in for the activation function before it: same numbers, one pass less."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.encoding import Encoding, encode_range
from quant.simulation.plan import Side, Site
from quant.simulation.quantizer import Quantizer, encoding_subsumes_clip
from quant.spec import QuantSpec

Clip = tuple[float | None, float | None]
CLIPS: dict[str, Clip] = {
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "hardtanh": (-1.0, 1.0),
    "upper": (None, 1.5),
    "lower above zero": (0.3, None),
}
RANGES = [(0.0, 6.0), (0.0, 3.1), (0.0, 9.7), (-0.5, 6.0), (-8.0, 0.4), (-0.9, 0.9), (-1.0, 2.0)]
SPECS = [QuantSpec(bits, symmetric) for bits, symmetric in product((2, 3, 8, 16), (True, False))]


def quantizer(encoding: Encoding | None, clip: Clip) -> Quantizer:
    result = Quantizer(Site("a", "a", Side.ACTIVATIONS, QuantSpec(), "a"), clip)
    result.set_encoding(encoding)
    return result


def clipped(x: Tensor, clip: Clip) -> Tensor:
    return x.clamp(*clip)


def values(encoding: Encoding, clip: Clip) -> Tensor:
    """Return random values, all half steps about the grid, the limits of the clip and beside."""
    reach = torch.arange(-40, 41) * float(encoding.scale) / 2
    marks = [limit for limit in clip if limit is not None] + [float(encoding.high)]
    near = torch.cat([torch.tensor(mark) + reach for mark in marks])
    return torch.cat([near, torch.randn(20_000) * 5, torch.tensor([1e30, -1e30, 0.0])])


@pytest.mark.parametrize(("name", "limits", "spec"), list(product(CLIPS, RANGES, SPECS)))
def test_the_result_is_that_of_clipping_first_and_quantizing_then(
    name: str, limits: tuple[float, float], spec: QuantSpec
) -> None:
    encoding = encode_range(torch.tensor(limits[0]), torch.tensor(limits[1]), spec)
    clip = CLIPS[name]
    x = values(encoding, clip)
    assert torch.equal(quantizer(encoding, clip)(x), encoding.fake_quantize(clipped(x, clip)))


@pytest.mark.parametrize(
    ("name", "limits", "symmetric", "wanted"),
    [
        ("relu", (0.0, 6.0), False, True),
        ("relu", (0.0, 6.0), True, True),  # one-tailed: unsigned
        ("relu", (-0.5, 6.0), False, False),  # the grid goes below zero
        ("relu6", (0.0, 6.0), False, True),
        ("relu6", (0.0, 5.0), False, True),
        ("relu6", (0.0, 9.7), False, False),  # the grid goes above six
        ("upper", (-1.0, 1.0), False, True),
        ("upper", (-1.0, 2.0), False, False),
    ],
)
def test_a_grid_stands_in_where_it_ends_inside_the_clip(
    name: str, limits: tuple[float, float], *, symmetric: bool, wanted: bool
) -> None:
    low, high = (torch.tensor(limit) for limit in limits)
    encoding = encode_range(low, high, QuantSpec(8, symmetric))
    assert encoding_subsumes_clip(encoding, CLIPS[name]) == wanted


def test_a_limit_half_way_between_two_steps_is_rounded_as_the_quantizer_rounds_it() -> None:
    checked = 0
    for step in range(0, 254, 2):  # to even: a tie goes down, a hair more goes up
        scale = np.float32(6) / np.float32(step + 0.5)
        tie = np.float32(6) / scale == np.float32(step + 0.5)
        if not tie or np.float64(6) / np.float64(scale) <= step + 0.5:
            continue  # only in float64 is there a hair more
        encoding = Encoding(torch.tensor(scale), torch.tensor(254.0 - step), 0, 255)
        x = torch.tensor([5.9, 6.0, 7.0, 100.0])
        clip = (None, 6.0)
        wanted = encoding.fake_quantize(clipped(x, clip))
        assert torch.equal(quantizer(encoding, clip)(x), wanted)
        checked += 1
    assert checked > 10


@pytest.mark.parametrize("name", CLIPS)
def test_without_a_grid_the_quantizer_is_the_function(name: str) -> None:
    x = torch.randn(1000) * 5
    clip = CLIPS[name]
    assert torch.equal(quantizer(None, clip)(x), clipped(x, clip))
    off_again = quantizer(encode_range(torch.tensor(0.0), torch.tensor(2.0), QuantSpec(2)), clip)
    off_again.set_encoding(None)
    assert torch.equal(off_again(x), clipped(x, clip))


def test_gradients_are_those_of_the_function_and_the_grid() -> None:
    encoding = encode_range(torch.tensor(0.0), torch.tensor(6.0), QuantSpec(8, symmetric=False))
    for limits, wanted in ((CLIPS["relu6"], [0, 1, 1, 0]), (CLIPS["upper"], [0, 1, 0, 0])):
        x = torch.tensor([-0.5, 1.2, 5.0, 7.0], requires_grad=True)
        quantizer(encoding, limits)(x).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == wanted
