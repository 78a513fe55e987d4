"""From a range to a grid: equations 4 to 8 by hand, and what holds for every range."""

from itertools import product

import pytest
import torch
from torch import Tensor

from quant.encoding import Encoding, encode_range
from quant.errors import CalibrationError, ConfigError
from quant.spec import QuantSpec, ScaleKind

RANGES = {
    "around zero": (-1.3, 2.1),
    "all positive": (3.0, 5.0),
    "all negative": (-7.0, -6.5),
    "from zero": (0.0, 6.0),
    "up to zero": (-0.1, 0.0),
    "one negative value": (-3.3, -3.3),
    "one positive value": (0.7, 0.7),
    "only zero": (0.0, 0.0),
    "lopsided": (-0.001, 1000.0),
    "huge": (-1e37, 1e37),
    "tiny": (-1e-30, 3e-30),
    "below float32": (0.0, 1e-42),
}
SPECS = [
    QuantSpec(bits, symmetric, scale=scale)
    for bits, symmetric, scale in product((2, 3, 4, 8, 12, 16), (True, False), ScaleKind)
]
EVERY = [(low, high, spec) for (low, high), spec in product(RANGES.values(), SPECS)]


def encode(low: float, high: float, spec: QuantSpec) -> Encoding:
    return encode_range(torch.tensor(low), torch.tensor(high), spec)


def numbers(encoding: Encoding) -> tuple[float, float, int, int]:
    return float(encoding.scale), float(encoding.zero_point), encoding.qmin, encoding.qmax


@pytest.mark.parametrize(
    ("low", "high", "bits", "symmetric", "wanted"),
    [
        # (scale, zero point, qmin, qmax): asymmetric, s = (high - low) / (2^b - 1), z = -low / s
        (-1.0, 2.0, 2, False, (1.0, 1, 0, 3)),
        (-0.5, 3.0, 3, False, (0.5, 1, 0, 7)),
        (-127.5, 0.0, 8, False, (0.5, 255, 0, 255)),
        (-10.0, 245.0, 8, False, (1.0, 10, 0, 255)),
        (-3.2, 12.0, 4, False, (15.2 / 15, 3, 0, 15)),
        # a range without zero is widened to hold it
        (3.5, 7.0, 3, False, (1.0, 0, 0, 7)),
        (-7.0, -3.5, 3, False, (1.0, 7, 0, 7)),
        # symmetric and signed, equation 8c: the full range -2^(b-1) .. 2^(b-1) - 1
        (-2.0, 1.5, 3, True, (0.5, 0, -4, 3)),
        (-1.0, 3.0, 3, True, (1.0, 0, -4, 3)),
        (-64.0, 10.0, 8, True, (0.5, 0, -128, 127)),
        # symmetric and one-tailed, equation 8b: unsigned
        (0.0, 3.5, 3, True, (0.5, 0, 0, 7)),
        (2.0, 51.0, 8, True, (0.2, 0, 0, 255)),
    ],
)
def test_grid_equals_the_hand_computed_one(
    low: float, high: float, bits: int, *, symmetric: bool, wanted: tuple[float, float, int, int]
) -> None:
    assert numbers(encode(low, high, QuantSpec(bits, symmetric))) == pytest.approx(wanted, rel=1e-7)


def test_quantized_and_real_values_equal_equations_4_and_6_by_hand() -> None:
    encoding = encode(-0.5, 3.0, QuantSpec(3, symmetric=False))
    x = torch.tensor([-2.0, -0.5, -0.2, 0.0, 0.3, 0.8, 2.9, 3.0, 9.0])
    # round(x / 0.5) + 1, clamped to 0..7
    assert encoding.quantize(x).tolist() == [0, 0, 1, 1, 2, 3, 7, 7, 7]
    assert encoding.fake_quantize(x).tolist() == [-0.5, -0.5, 0, 0, 0.5, 1.0, 3.0, 3.0, 3.0]


@pytest.mark.parametrize(("low", "high", "spec"), EVERY)
def test_zero_is_on_every_grid_exactly(low: float, high: float, spec: QuantSpec) -> None:
    encoding = encode(low, high, spec)
    assert float(encoding.fake_quantize(torch.tensor(0.0))) == 0.0
    assert float(encoding.dequantize(encoding.zero_point)) == 0.0
    assert encoding.qmin <= float(encoding.zero_point) <= encoding.qmax
    assert float(encoding.zero_point) == round(float(encoding.zero_point))


@pytest.mark.parametrize(("low", "high", "spec"), EVERY)
def test_a_grid_covers_its_range_to_half_a_step(low: float, high: float, spec: QuantSpec) -> None:
    encoding = encode(low, high, spec)
    x = torch.linspace(0, 1, 2001, dtype=torch.float64) * (high - low) + low
    error = (encoding.fake_quantize(x.float()).double() - x).abs().max()
    # float32 holds scale and values to 2^-24; 65535 steps make that 0.004 of a step
    assert float(error) <= float(encoding.scale) * 0.505
    assert encoding.qmax - encoding.qmin == 2**spec.bits - 1


@pytest.mark.parametrize(("low", "high", "spec"), EVERY)
def test_a_power_of_two_scale_is_one_and_the_least_that_covers_the_range(
    low: float, high: float, spec: QuantSpec
) -> None:
    free = encode(low, high, QuantSpec(spec.bits, spec.symmetric))
    scale = encode(low, high, QuantSpec(spec.bits, spec.symmetric, scale=ScaleKind.POWER_OF_TWO))
    assert float(torch.frexp(scale.scale).mantissa) == 0.5
    assert 1.0 <= float(scale.scale) / float(free.scale) < 2.0


@pytest.mark.parametrize(
    ("scale", "wanted"), [(0.25, 0.25), (0.26, 0.5), (0.5, 0.5), (0.7, 1.0), (3.0, 4.0)]
)
def test_a_power_of_two_scale_rounds_up_by_hand(scale: float, wanted: float) -> None:
    spec = QuantSpec(4, symmetric=True, scale=ScaleKind.POWER_OF_TWO)
    assert numbers(encode(-8 * scale, 0.0, spec)) == (wanted, 0, -8, 7)


def test_every_channel_has_a_grid_of_its_own_and_a_zero_channel_stays_zero() -> None:
    low, high = torch.tensor([[-1.0], [0.0], [2.0]]), torch.tensor([[2.0], [0.0], [30.0]])
    encoding = encode_range(low, high, QuantSpec(2, symmetric=False))
    assert encoding.scale.tolist() == [[1.0], [1.0], [10.0]]
    assert encoding.zero_point.tolist() == [[1.0], [0.0], [0.0]]
    x = torch.tensor([[-1.0, 2.0], [0.0, 0.0], [30.0, 4.0]])
    assert encoding.fake_quantize(x).tolist() == [[-1.0, 2.0], [0.0, 0.0], [30.0, 0.0]]


def test_one_negative_channel_makes_a_symmetric_grid_signed_for_all() -> None:
    low, high = torch.tensor([0.0, -4.0]), torch.tensor([3.0, 1.0])
    encoding = encode_range(low, high, QuantSpec(3, symmetric=True))
    assert (encoding.qmin, encoding.qmax) == (-4, 3)
    assert encoding.scale.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("limits", [(0.0, torch.nan), (-torch.inf, 1.0), (0.0, torch.inf)])
def test_a_range_that_is_not_finite_is_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(CalibrationError, match="must be finite; got NaN or infinity"):
        encode(*limits, QuantSpec())


def test_limits_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(CalibrationError, match="must not exceed"):
        encode(1.0, -1.0, QuantSpec())


@pytest.mark.parametrize("bits", [-1, 0, 17, 31, 33, 64])
def test_bits_outside_1_to_16_and_not_32_are_refused(bits: int) -> None:
    with pytest.raises(ConfigError, match=rf"between 1 and 16, or be 32 for float; got {bits}\."):
        QuantSpec(bits)


@pytest.mark.parametrize("bits", [*range(2, 17), 32])
def test_bits_2_to_16_and_32_are_taken(bits: int) -> None:
    assert (QuantSpec(bits).levels, QuantSpec(bits).is_float) == (2**bits, bits == 32)


@pytest.mark.parametrize(("field", "value"), [("group_size", 0), ("percentile", 50.0)])
@pytest.mark.parametrize("more", [0.0, torch.nan])
def test_other_fields_outside_their_bounds_are_refused(
    field: str, value: float, more: float
) -> None:
    wrong = value if field == "group_size" else value + more
    with pytest.raises(ConfigError, match=f"{field} must be"):
        QuantSpec(**{field: wrong})  # type: ignore[arg-type]


def test_an_encoding_says_its_real_ends() -> None:
    encoding = encode_range(torch.tensor([-1.0, 0.0]), torch.tensor([2.0, 30.0]), SPEC)
    ends: tuple[Tensor, Tensor] = (encoding.low, encoding.high)
    assert [end.tolist() for end in ends] == [[-1.0, 0.0], [2.0, 30.0]]


SPEC = QuantSpec(2, symmetric=False)
