"""Ranges of activations from statistics: min-max, percentiles, and the error of a histogram."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.encoding import encode_range
from quant.errors import CalibrationError
from quant.ranges.estimators import encode_statistics
from quant.ranges.range_search import histogram_error
from quant.ranges.statistics import Statistics
from quant.spec import Estimator, QuantSpec
from tests.quant.brute_force import KINDS, samples


def collected(values: Tensor) -> Statistics:
    statistics = Statistics()
    for batch in values.split(333):
        statistics.collect(batch)
    return statistics


@pytest.mark.parametrize(("kind", "symmetric"), list(product(KINDS, (True, False))))
def test_min_max_takes_the_exact_limits(kind: str, *, symmetric: bool) -> None:
    values, spec = samples(kind), QuantSpec(8, symmetric, estimator=Estimator.MIN_MAX)
    got = encode_statistics(collected(values), spec)
    wanted = encode_range(values.min(), values.max(), spec)
    assert torch.equal(got.scale, wanted.scale)
    assert torch.equal(got.zero_point, wanted.zero_point)


@pytest.mark.parametrize(
    ("kind", "percentile"), list(product(("normal", "relu", "skewed"), (95.0, 99.0, 99.9, 100.0)))
)
def test_percentile_equals_numpy_on_both_ends(kind: str, percentile: float) -> None:
    values = samples(kind, 100_000)
    statistics = collected(values)
    spec = QuantSpec(8, symmetric=False, estimator=Estimator.PERCENTILE, percentile=percentile)
    got = encode_statistics(statistics, spec)
    low, high = (
        float(np.percentile(values.numpy(), share)) for share in (100 - percentile, percentile)
    )
    wanted = encode_range(torch.tensor(low).clamp(max=0), torch.tensor(high), spec)
    # a bin of the histogram is at most 1/4096 of the largest value, values lie apart in the tail
    near = 2 * 2.0**statistics.exponent / (high - min(low, 0)) + 1e-3
    assert float(got.scale) == pytest.approx(float(wanted.scale), rel=near)
    assert abs(float(got.zero_point - wanted.zero_point)) <= 1


def test_percentile_clips_what_min_max_keeps() -> None:
    statistics = collected(samples("one high outlier"))
    spec = QuantSpec(8, symmetric=False, estimator=Estimator.PERCENTILE, percentile=99.9)
    assert 2.5 < float(encode_statistics(statistics, spec).high) < 4.0


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("kind", KINDS)
def test_the_error_of_a_histogram_is_that_of_its_values(kind: str, bits: int) -> None:
    values = samples(kind, 100_000)
    counts, edges = collected(values).used_bins()
    for symmetric, shrink in ((True, 1.0), (False, 1.0), (False, 0.7)):
        spec = QuantSpec(bits, symmetric)
        encoding = encode_range(values.min() * shrink, values.max() * shrink, spec)
        # in float64, or a 16-bit grid would measure the rounding of float32
        steps = (values.double() / encoding.scale.double()).round()
        steps = steps.clamp(
            encoding.qmin - encoding.zero_point, encoding.qmax - encoding.zero_point
        )
        wanted = float((steps * encoding.scale.double() - values.double()).square().sum())
        assert float(histogram_error(counts, edges, encoding)) == pytest.approx(wanted, rel=0.04)


def test_the_error_of_one_bin_equals_the_integral_by_hand() -> None:
    encoding = encode_range(torch.tensor(0.0), torch.tensor(3.0), QuantSpec(2, symmetric=False))
    counts = torch.tensor([12.0], dtype=torch.float64)

    def error(low: float, high: float) -> float:
        return float(histogram_error(counts, torch.tensor([low, high]).double(), encoding))

    assert error(0.5, 2.5) == pytest.approx(12 / 12)  # whole steps: s^2 / 12 a value
    assert error(0.0, 0.5) == pytest.approx(12 / 12)  # mean of x^2 over half a step: 0.25 / 3
    assert error(4.0, 5.0) == pytest.approx(12 * 7 / 3)  # beyond the end: mean of 1..4, squared
    assert error(-2.0, 0.0) == pytest.approx(12 * 4 / 3)
    assert error(1.25, 1.25) == pytest.approx(12 / 16)  # a bin cut to a point


def test_a_pile_of_values_on_the_end_of_the_range_costs_nothing() -> None:
    values = torch.cat([torch.zeros(500), torch.full((500,), 6.0)])
    spec = QuantSpec(2, symmetric=False)
    statistics = collected(values)
    encoding = encode_range(torch.tensor(0.0), torch.tensor(6.0), spec)
    assert float(histogram_error(*statistics.used_bins(), encoding)) == pytest.approx(0.0, abs=1e-9)
    assert float(encode_statistics(statistics, spec).high) == 6.0


@pytest.mark.parametrize("estimator", list(Estimator))
def test_no_statistics_give_no_range(estimator: Estimator) -> None:
    with pytest.raises(CalibrationError, match=r"none were collected\. Calibrate on some data"):
        encode_statistics(Statistics(), QuantSpec(estimator=estimator))


def test_batch_norm_ranges_do_not_come_from_statistics() -> None:
    with pytest.raises(CalibrationError, match="takes moments, not statistics"):
        encode_statistics(collected(torch.ones(3)), QuantSpec(estimator=Estimator.BATCH_NORM))
