"""Encodings of weights: which values share a scale, by hand and against a slow loop."""

import numpy as np
import pytest
import torch

from quant.encoding import encode_range
from quant.errors import CalibrationError
from quant.ranges.estimators import encode_weight
from quant.spec import Estimator, Granularity, QuantSpec

MIN_MAX = Estimator.MIN_MAX
SHAPES = [(6, 5, 3, 3), (6, 5, 4), (6, 5), (6, 1, 3, 3), (6,)]


def spec(granularity: Granularity, group_size: int = 2, bits: int = 8) -> QuantSpec:
    return QuantSpec(
        bits, symmetric=False, granularity=granularity, estimator=MIN_MAX, group_size=group_size
    )


def test_per_tensor_has_one_scale_over_all_values() -> None:
    weight = torch.tensor([[-1.0, 0.0], [0.5, 2.0]])
    encoding = encode_weight(weight, spec(Granularity.PER_TENSOR, bits=2))
    assert (encoding.scale.shape, float(encoding.scale)) == ((), 1.0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_per_channel_equals_a_loop_over_the_channels(shape: tuple[int, ...], axis: int) -> None:
    if len(shape) == 1 and axis == 1:
        shape = (1, 6)
    weight = torch.randn(shape)
    wish = spec(Granularity.PER_CHANNEL)
    encoding = encode_weight(weight, wish, axis)
    assert encoding.scale.shape == tuple(size if at == axis else 1 for at, size in enumerate(shape))
    for index in range(shape[axis]):
        channel = weight.select(axis, index)
        alone = encode_range(channel.min(), channel.max(), wish)
        got = encoding.fake_quantize(weight).select(axis, index)
        assert torch.equal(got, alone.fake_quantize(channel))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
@pytest.mark.parametrize("shape", [(6, 7, 3, 3), (6, 7)])
def test_per_group_equals_a_loop_over_groups_the_last_of_which_may_be_short(
    shape: tuple[int, ...], size: int, axis: int
) -> None:
    weight = torch.randn(shape)
    wish = spec(Granularity.PER_GROUP, size)
    got = encode_weight(weight, wish, axis).fake_quantize(weight).movedim(axis, 0)
    for row, values in zip(got, weight.movedim(axis, 0), strict=True):
        for part, group in zip(row.split(size), values.split(size), strict=True):
            alone = encode_range(group.min(), group.max(), wish)
            assert torch.equal(part, alone.fake_quantize(group))


def test_per_group_of_a_vector_is_per_channel() -> None:
    weight = torch.randn(5)
    got = encode_weight(weight, spec(Granularity.PER_GROUP))
    wanted = encode_weight(weight, spec(Granularity.PER_CHANNEL))
    assert torch.equal(got.scale, wanted.scale)


def test_finer_granularity_is_never_worse() -> None:
    weight = torch.randn(8, 64) * torch.logspace(-2, 1, 8)[:, None] * torch.logspace(-1, 0, 64)
    errors = [
        float((encode_weight(weight, spec(g, 16)).fake_quantize(weight) - weight).square().sum())
        for g in (Granularity.PER_GROUP, Granularity.PER_CHANNEL, Granularity.PER_TENSOR)
    ]
    assert errors == sorted(errors)
    assert errors[0] < 0.5 * errors[2]


def test_an_all_zero_channel_stays_zero_beside_others() -> None:
    weight = torch.randn(3, 8)
    weight[1] = 0
    for estimator in (MIN_MAX, Estimator.PERCENTILE, Estimator.MSE):
        for symmetric in (True, False):
            wish = QuantSpec(4, symmetric, Granularity.PER_CHANNEL, estimator)
            got = encode_weight(weight, wish).fake_quantize(weight)
            assert torch.isfinite(got).all()
            assert got[1].tolist() == [0.0] * 8


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9, 100.0])
def test_percentiles_of_each_channel_equal_numpy_to_the_neighbouring_value(
    percentile: float,
) -> None:
    weight = torch.randn(4, 5000)
    wish = QuantSpec(
        8,
        symmetric=False,
        granularity=Granularity.PER_CHANNEL,
        estimator=Estimator.PERCENTILE,
        percentile=percentile,
    )
    encoding = encode_weight(weight, wish)
    for row, scale in zip(weight.numpy(), encoding.scale.flatten().tolist(), strict=True):
        above, below = percentile, 100 - percentile
        inner = np.percentile(row, above, method="lower")
        inner -= np.percentile(row, below, method="higher")
        outer = np.percentile(row, above, method="higher")
        outer -= np.percentile(row, below, method="lower")
        assert inner / 255 * (1 - 1e-6) <= scale <= outer / 255 * (1 + 1e-6)


def test_a_percentile_clips_an_outlier_that_min_max_keeps() -> None:
    weight = torch.cat([torch.linspace(-1, 1, 9999), torch.tensor([100.0])])[None]
    ends = [
        float(encode_weight(weight, QuantSpec(8, estimator=estimator, percentile=99.9)).high)
        for estimator in (MIN_MAX, Estimator.PERCENTILE)
    ]
    assert ends == pytest.approx([100.0, 1.0], rel=0.01)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_weight_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(CalibrationError, match="weight must be finite"):
        encode_weight(torch.tensor([[1.0, bad]]), QuantSpec())
