"""Distributions and fits against direct computation on the raw values, and by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.evaluation.measures import sqnr_db
from analysis.ranges.distributions import Channels, activation_distribution, weight_distribution
from analysis.ranges.encoding_fit import (
    SEARCHED_VALUES,
    fit_statistics_encoding,
    fit_weight_encoding,
    split_histogram_error,
)
from analysis.ranges.findings import (
    ACTIVATION_KURTOSIS,
    CHANNEL_RATIO,
    Cause,
    examine_tensor_fit,
    expected_sqnr_db,
    rank_suspect_tensors,
)
from analysis.ranges.tensors import open_range_book
from quant.config import uniform_config
from quant.encoding import encode_range
from quant.errors import CalibrationError
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.ranges.estimators import encode_statistics, encode_weight
from quant.ranges.range_search import histogram_error
from quant.ranges.statistics import ChannelStatistics, Statistics
from quant.simulation.plan import Side
from quant.spec import Estimator, Granularity, QuantSpec
from tests.networks import CASES, graph_of
from tests.sample_networks import sample_network

SPECS = [
    QuantSpec(bits, symmetric, granularity, estimator, group_size=4)
    for bits in (3, 8)
    for symmetric in (True, False)
    for granularity in Granularity
    for estimator in (Estimator.MIN_MAX, Estimator.MSE, Estimator.PERCENTILE)
]
STREAMS = {
    "normal": torch.randn(40_000),
    "rectified": torch.randn(40_000).relu(),
    "capped": (3 * torch.randn(40_000)).clamp(0, 6),
    "heavy": torch.randn(40_000) ** 3,
}


def stream(values: Tensor, batches: int = 1) -> Statistics:
    statistics = Statistics(channels=ChannelStatistics())
    for batch in values.split(-(-len(values) // batches)):
        statistics.collect(batch)
    return statistics


def kurtosis(values: Tensor) -> float:
    centred = values.double() - values.double().mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_weights_fit_is_that_of_its_raw_values(spec: QuantSpec) -> None:
    weight = torch.randn(6, 12, 3, 3) * torch.logspace(-1, 1, 6).reshape(-1, 1, 1, 1)
    encoding = encode_weight(weight, spec)
    quantized = encoding.fake_quantize(weight)
    unclamped = (weight / encoding.scale).round() + encoding.zero_point
    outside = (unclamped < encoding.qmin) | (unclamped > encoding.qmax)
    squares = (quantized - weight).double().square()
    fit = fit_weight_encoding(weight, spec)
    assert fit.sqnr_db == pytest.approx(sqnr_db(weight, quantized), abs=1e-3)
    assert fit.clipped_share == pytest.approx(float(outside.double().mean()))
    assert fit.clipping_error == pytest.approx(float(squares[outside].sum()), rel=1e-4)
    assert fit.rounding_error == pytest.approx(float(squares[~outside].sum()), rel=1e-4)
    assert fit.codes_used == len(encoding.quantize(weight).unique())
    assert fit.channel_sqnr_db is not None
    for channel, found in enumerate(fit.channel_sqnr_db):
        wanted = sqnr_db(weight[channel], quantized[channel])
        assert found == pytest.approx(wanted, abs=1e-3)


def test_a_fit_by_hand() -> None:
    """Two bits, symmetric, from -2 to 1: the scale is 1, the codes are -2, -1, 0 and 1."""
    weight = torch.tensor([[-2.0, -0.75, 0.25, 1.0]])
    fit = fit_weight_encoding(weight, QuantSpec(2, estimator=Estimator.MIN_MAX))
    assert (fit.low.tolist(), fit.high.tolist(), fit.scale.tolist()) == ([-2.0], [1.0], [1.0])
    assert fit.rounding_error == pytest.approx(0.125)
    assert (fit.clipping_error, fit.clipped_share) == (0.0, 0.0)
    assert (fit.codes_used, fit.code_count, fit.clipping_part) == (4, 4, 0.0)
    assert fit.sqnr_db == pytest.approx(10 * math.log10(5.625 / 0.125))


@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("estimator", [Estimator.MIN_MAX, Estimator.MSE, Estimator.PERCENTILE])
def test_a_streams_fit_is_that_of_its_raw_values(
    name: str, bits: int, estimator: Estimator
) -> None:
    values = STREAMS[name]
    spec = QuantSpec(bits, symmetric=False, estimator=estimator, percentile=99.0)
    statistics = stream(values.reshape(-1, 10))
    encoding = encode_statistics(statistics, spec)
    fit = fit_statistics_encoding(statistics, encoding, spec)
    quantized = encoding.fake_quantize(values)
    unclamped = (values / encoding.scale).round() + encoding.zero_point
    outside = (unclamped < encoding.qmin) | (unclamped > encoding.qmax)
    squares = (quantized - values).double().square()
    assert fit.sqnr_db == pytest.approx(sqnr_db(values, quantized), abs=0.15)
    assert fit.clipped_share == pytest.approx(float(outside.double().mean()), abs=3e-4)
    error = float(squares.sum())
    assert fit.clipping_error == pytest.approx(float(squares[outside].sum()), abs=0.03 * error)
    assert fit.rounding_error == pytest.approx(float(squares[~outside].sum()), abs=0.03 * error)
    assert abs(fit.codes_used - len(encoding.quantize(values).unique())) <= 2 + fit.code_count // 50


@pytest.mark.parametrize("name", STREAMS)
def test_rounding_and_clipping_add_up_to_the_estimators_error(name: str) -> None:
    counts, edges = stream(STREAMS[name].reshape(-1, 10)).used_bins()
    for high in (0.3, 1.0, 6.0):
        spec = QuantSpec(4, symmetric=False)
        encoding = encode_range(torch.tensor(-0.4), torch.tensor(high), spec)
        both = split_histogram_error(counts.double(), edges, encoding)
        assert min(both) >= 0
        assert sum(both) == pytest.approx(float(histogram_error(counts, edges, encoding)), rel=1e-6)


def test_large_weights_are_searched_on_a_part_with_nearly_the_same_result() -> None:
    weight = torch.randn(1000, 2 * SEARCHED_VALUES // 1000)
    for granularity in (Granularity.PER_TENSOR, Granularity.PER_CHANNEL):
        spec = QuantSpec(4, granularity=granularity)
        whole = sqnr_db(weight, encode_weight(weight, spec).fake_quantize(weight))
        assert fit_weight_encoding(weight, spec).sqnr_db == pytest.approx(whole, abs=0.1)


def test_channels_of_a_transposed_weight_are_its_second_axis() -> None:
    weight = torch.randn(5, 3, 2, 2)
    weight[:, 1] *= 100
    channels = weight_distribution("up", weight, axis=1).channels
    assert channels is not None
    assert len(channels.low) == 3
    assert int(np.argmax(channels.largest_by_channel)) == 1
    fit = fit_weight_encoding(weight, QuantSpec(8, granularity=Granularity.PER_CHANNEL), axis=1)
    assert len(fit.scale) == 3


def test_moments_and_ranges_of_a_weight() -> None:
    weight = torch.randn(4, 500) ** 3
    found = weight_distribution("w", weight)
    assert found.kurtosis == pytest.approx(kurtosis(weight))
    assert found.std == pytest.approx(float(weight.double().std(correction=0)))
    channels = found.channels
    assert channels is not None
    assert channels.low.tolist() == weight.amin(1).tolist()
    assert channels.high.tolist() == weight.amax(1).tolist()
    assert channels.inner_low.tolist() == pytest.approx(weight.quantile(0.05, 1).tolist(), rel=1e-4)
    largest = weight.abs().amax(1).sort().values
    assert channels.widest_to_median_ratio == pytest.approx(
        float(largest[-1] / ((largest[1] + largest[2]) / 2))
    )


@pytest.mark.parametrize("name", STREAMS)
def test_moments_of_a_stream(name: str) -> None:
    values = STREAMS[name]
    found = activation_distribution("a", stream(values.reshape(-1, 10)))
    assert found.kurtosis == pytest.approx(kurtosis(values), rel=0.01)
    assert found.std == pytest.approx(float(values.double().std(correction=0)), rel=0.01)
    assert found.zeros == int((values == 0).sum())


@pytest.mark.parametrize("most", [300, 7])
@pytest.mark.parametrize("name", STREAMS)
def test_bars_hold_every_value(name: str, most: int) -> None:
    values = STREAMS[name]
    bars = activation_distribution("a", stream(values.reshape(-1, 10))).histogram_bars(most)
    assert len(bars.counts) <= most + bars.below + bars.above
    assert len(bars.counts) == len(bars.edges) - 1
    assert bars.counts.sum() == len(values)
    assert (bars.edges[0], bars.edges[-1]) == (float(values.min()), float(values.max()))


def test_outliers_share_a_bar_and_leave_the_bulk_its_shape() -> None:
    torch.manual_seed(0)
    values = torch.randn(100, 100)
    values[3, :5] = torch.tensor([300.0, 301.0, 350.0, 400.0, -200.0])
    bars = weight_distribution("w", values).histogram_bars()
    assert bars.outliers == (int((values < bars.bulk[0]).sum()), int((values > bars.bulk[1]).sum()))
    assert bars.outliers[0] < 60
    assert 2.5 < bars.bulk[1] < 4
    assert bars.counts.sum() == 10_000
    # one bar of 300 over the whole range would hold nearly all values
    assert bars.counts.max() < 3000


def test_no_outliers_are_told_where_the_range_is_used() -> None:
    torch.manual_seed(0)
    bars = weight_distribution("w", torch.randn(100, 100)).histogram_bars()
    assert (bars.below, bars.above) == (False, False)
    assert len(bars.counts) == 300


def test_a_constant_tensor_has_one_bar() -> None:
    found = weight_distribution("w", torch.full((2, 3), 0.5))
    bars = found.histogram_bars()
    assert bars.counts.tolist() == [6.0]
    assert bars.edges.tolist() == [0.5, 0.5]
    assert found.kurtosis == 0.0


def test_channels_without_values_do_not_count() -> None:
    zero = np.zeros(4)
    channels = Channels(zero, np.array([8.0, 2.0, 2.0, 1e-9]), zero, zero, zero)
    assert channels.alive_channels.tolist() == [True, True, True, False]
    assert channels.widest_to_median_ratio == 4.0


def test_nothing_collected_is_said() -> None:
    with pytest.raises(CalibrationError, match="Calibrate first"):
        activation_distribution("a", Statistics())


@pytest.mark.parametrize(
    "shape", [(12, 5, 4, 3), (12, 7, 5), (12, 5)], ids=["images", "tokens", "rows"]
)
def test_merged_channels_are_those_of_one_stream(shape: tuple[int, ...]) -> None:
    values = torch.randn(*shape) * 3 + 1
    if len(shape) == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    first, second = (stream(part, 3).channels for part in (values[:7], values[7:]))
    assert first is not None
    assert second is not None
    merged, whole = first.merge(second), stream(values).channels
    assert whole is not None
    rows = values.movedim(1, -1).reshape(-1, 5).double()
    if len(shape) == 3:
        rows = values.reshape(-1, 5).double()
    assert merged.count == whole.count == len(rows)
    for found in (merged, whole):
        assert torch.equal(found.low.double(), rows.amin(0))
        assert torch.equal(found.high.double(), rows.amax(0))
        assert torch.allclose(found.mean, rows.mean(0), atol=1e-5)
        assert torch.allclose(found.std, rows.std(0, correction=0), rtol=1e-4)
    assert torch.equal(first.low, stream(values[:7]).channels.low)  # type: ignore[union-attr]


def test_calibration_follows_every_channel() -> None:
    inputs = CASES["kitchen"].inputs(20)
    graph = graph_of("kitchen")
    found = drain_steps(Calibrate()(graph, inputs.split(7)))
    channels = found["input"].channels
    assert channels is not None
    assert torch.equal(channels.high, inputs.amax((0, 2, 3)))
    for layer in graph.layers:
        followed = found[layer.name].channels
        assert followed is not None
        assert float(followed.low.min()) == found[layer.name].low
        assert float(followed.high.max()) == found[layer.name].high


def test_the_unbalanced_layers_are_suspect_and_a_sound_network_is_not() -> None:
    config = uniform_config(8, 8, Granularity.PER_TENSOR)
    spoilt = sample_network("fashion-mobilenet-imbalanced")
    found = rank_suspect_tensors(
        open_range_book(spoilt.graph, None).examine_all_tensors(config, Side.WEIGHTS)
    )
    unequal = {f"blocks.{n}.{part}.0" for n in range(1, 8) for part in ("expand", "depthwise")}
    assert {item.layer_name for item in found[:14]} == unequal
    assert all(item.findings[0].cause is Cause.CHANNELS for item in found[:14])
    assert [item.bits_lost for item in found] == sorted((i.bits_lost for i in found), reverse=True)
    sound = sample_network("fashion-resnet")
    assert (
        rank_suspect_tensors(
            open_range_book(sound.graph, None).examine_all_tensors(config, Side.WEIGHTS)
        )
        == []
    )


def test_a_reason_states_the_number_measured() -> None:
    weight = torch.randn(16, 50).clamp(-2, 2)
    weight[3] *= 40
    spec = QuantSpec(8, granularity=Granularity.PER_TENSOR)
    distribution = weight_distribution("w", weight)
    assert distribution.channels is not None
    ratio = distribution.channels.widest_to_median_ratio
    item = examine_tensor_fit(distribution, fit_weight_encoding(weight, spec))
    assert ratio > CHANNEL_RATIO
    assert item.findings[0].sentence.startswith(f"Channel 3 spans {ratio:.0f} times the median")
    assert item.bits_lost == pytest.approx(math.log2(ratio))
    causes = {finding.cause for finding in item.findings}
    assert {Cause.CHANNELS, Cause.SQNR, Cause.OUTLIERS} <= causes
    own = examine_tensor_fit(
        distribution, fit_weight_encoding(weight, QuantSpec(8, granularity=Granularity.PER_CHANNEL))
    )
    assert own.findings == ()  # each channel has an encoding of its own, as configured


def test_too_few_codes_and_too_much_clipping_are_found() -> None:
    values = torch.cat([torch.randn(9000) * 0.01, torch.tensor([1.0])])
    statistics = stream(values[:, None])
    wide = QuantSpec(8, symmetric=False, estimator=Estimator.MIN_MAX)
    fit = fit_statistics_encoding(statistics, encode_statistics(statistics, wide), wide)
    causes = {
        f.cause for f in examine_tensor_fit(activation_distribution("a", statistics), fit).findings
    }
    assert Cause.CODES in causes
    narrow = encode_range(torch.tensor(-0.01), torch.tensor(0.01), wide)
    clipped = examine_tensor_fit(
        activation_distribution("a", statistics), fit_statistics_encoding(statistics, narrow, wide)
    )
    assert Cause.CLIPPING in {f.cause for f in clipped.findings}


def test_the_limits_know_what_is_usual() -> None:
    values = torch.randn(200_000)
    for bits in (2, 4, 6, 8):
        spec = QuantSpec(bits, granularity=Granularity.PER_TENSOR)
        assert fit_weight_encoding(values[None], spec).sqnr_db == pytest.approx(
            expected_sqnr_db(bits), abs=1.5
        )
    rare = (torch.randn(500_000) - 1.2816).relu()
    assert kurtosis(rare) < ACTIVATION_KURTOSIS
