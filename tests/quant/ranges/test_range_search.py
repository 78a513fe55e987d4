"""The estimators that search, MSE and cross-entropy, against brute force on the values."""

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from quant.encoding import Encoding, encode_range
from quant.errors import CalibrationError
from quant.ranges.estimators import encode_statistics, encode_weight, search_bins
from quant.ranges.range_search import (
    histogram_error,
    search_best_range,
    search_histogram_ranges,
    search_row_ranges,
)
from quant.ranges.statistics import Statistics
from quant.spec import Estimator, Granularity, QuantSpec, ScaleKind
from tests.quant.brute_force import KINDS, least, row, samples, squared_error

CASES = list(product(KINDS, (2, 4, 8), (True, False)))
# The search is coarse on purpose; one outlier at 2 bits costs it most.
NEAR = 1.05


def collected(values: Tensor) -> Statistics:
    statistics = Statistics()
    statistics.collect(values)
    return statistics


def min_max(values: Tensor, spec: QuantSpec) -> Encoding:
    return encode_range(values.min(), values.max(), spec)


@pytest.mark.parametrize(("kind", "bits", "symmetric"), CASES)
def test_mse_of_statistics_is_near_brute_force_and_never_above_min_max(
    kind: str, bits: int, *, symmetric: bool
) -> None:
    values, spec = samples(kind), QuantSpec(bits, symmetric)
    score = squared_error(values)
    found = score(encode_statistics(collected(values), spec))
    assert found <= NEAR * least(float(values.min()), float(values.max()), spec, score)
    # the histogram knows the values to a fraction of a step only
    assert found <= 1.001 * score(min_max(values, spec))


@pytest.mark.parametrize(("kind", "bits", "symmetric"), list(product(KINDS, (3,), (True, False))))
def test_mse_of_a_weight_is_near_brute_force_and_never_above_min_max(
    kind: str, bits: int, *, symmetric: bool
) -> None:
    weight, spec = samples(kind, 2000), QuantSpec(bits, symmetric)
    score = squared_error(weight)
    found = score(encode_weight(weight.reshape(-1, 1), spec))
    assert found <= NEAR * least(float(weight.min()), float(weight.max()), spec, score)
    assert found <= score(min_max(weight, spec)) * (1 + 1e-5)


@pytest.mark.parametrize(("bits", "symmetric"), list(product((2, 4, 8), (True, False))))
@pytest.mark.parametrize("scale", ScaleKind)
def test_machine_code_finds_what_the_search_with_torch_finds(
    bits: int, scale: ScaleKind, *, symmetric: bool
) -> None:
    spec = QuantSpec(bits, symmetric, scale=scale)
    rows = torch.stack([samples(kind, 1500)[-1500:] for kind in KINDS])
    low, high = rows.amin(1), rows.amax(1)

    def row_error(encoding: Encoding) -> Tensor:
        ends = encoding.scale[:, None], encoding.zero_point[:, None]
        found = Encoding(*ends, encoding.qmin, encoding.qmax).fake_quantize(rows.double())
        return (found - rows).square().sum(1)

    bins = [search_bins(collected(row), 300) for row in rows]
    counts, edges = map(torch.stack, zip(*bins, strict=True))

    def bin_error(encoding: Encoding) -> Tensor:
        return histogram_error(counts, edges, encoding)

    for error, found in (
        (row_error, search_row_ranges(rows, low, high, spec)),
        (bin_error, search_histogram_ranges(counts, edges, low, high, spec)),
    ):
        wanted = search_best_range(low, high, spec, error)
        # ranges with equal errors are equally good; all but such ones are the same
        torch.testing.assert_close(
            error(encode_range(*found, spec)),
            error(encode_range(*wanted, spec)),
            rtol=1e-5,
            atol=1e-12,
        )
        same = (found[0] == wanted[0]) & (found[1] == wanted[1])
        assert same.sum() >= len(KINDS) - 2


def test_mse_searches_every_channel_for_itself() -> None:
    spec = QuantSpec(4, symmetric=True, granularity=Granularity.PER_CHANNEL)
    rows = [samples(kind, 2000)[-2000:] for kind in ("normal", "heavy tails", "one high outlier")]
    together = encode_weight(torch.stack(rows), spec)
    alone = [encode_weight(row[None], spec) for row in rows]
    assert together.scale.flatten().tolist() == [float(one.scale) for one in alone]


def test_mse_of_a_constant_keeps_it() -> None:
    for value in (3.0, -3.0, 0.0):
        weight = torch.full((2, 4), value)
        for spec in (QuantSpec(4), QuantSpec(4, symmetric=False)):
            assert torch.allclose(encode_weight(weight, spec).fake_quantize(weight), weight)
            encoding = encode_statistics(collected(weight), spec)
            assert torch.allclose(encoding.fake_quantize(weight), weight)


@pytest.mark.parametrize("symmetric", [True, False])
def test_mse_with_power_of_two_scales_finds_the_best_of_them(*, symmetric: bool) -> None:
    values = samples("peaked")
    spec = QuantSpec(4, symmetric, scale=ScaleKind.POWER_OF_TWO)
    encoding = encode_statistics(collected(values), spec)
    score = squared_error(values)
    assert float(torch.frexp(encoding.scale).mantissa) == 0.5
    best = least(float(values.min()), float(values.max()), spec, score)
    assert score(encoding) <= NEAR * best


def logits(count: int = 250) -> Tensor:
    """Return logits of confident decisions over ten classes, long tails on the low side."""
    rows = 2 * torch.randn(count, 10) - torch.rand(count, 10).square() * 25
    rows[torch.arange(count), torch.randint(0, 10, (count,))] += 9
    return rows


@pytest.mark.parametrize(("bits", "symmetric"), list(product((3, 4, 6), (True, False))))
def test_cross_entropy_is_near_brute_force_and_beats_mse(bits: int, *, symmetric: bool) -> None:
    rows = logits()
    statistics = Statistics(row_length=rows.shape[1])
    statistics.collect(rows)

    def score(encoding: Encoding) -> Tensor:
        rounded = row(encoding, 2).fake_quantize(rows)
        return -(rows.softmax(1) * rounded.log_softmax(-1)).sum(-1).mean(-1)

    spec = QuantSpec(bits, symmetric, estimator=Estimator.CROSS_ENTROPY)
    found = float(score(encode_statistics(statistics, spec)))
    floor = float(F.cross_entropy(rows, rows.softmax(1)))  # no grid can be better than the float
    best = least(float(rows.min()), float(rows.max()), spec, score)
    # the loss has many valleys
    assert found - floor <= 1.1 * (best - floor)
    assert found <= score(min_max(rows, spec))
    assert found <= score(encode_statistics(statistics, QuantSpec(bits, symmetric))) + 1e-6


def test_cross_entropy_without_rows_of_logits_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"for the network's logits.*Choose mse"):
        encode_statistics(collected(logits()), QuantSpec(estimator=Estimator.CROSS_ENTROPY))
