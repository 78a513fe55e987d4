"""Figures of ranges: what they say, which way the axes go, and that nothing is missing."""

import json
import math
from functools import cache

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from analysis.ranges.distributions import activation_distribution, weight_distribution
from analysis.ranges.encoding_fit import fit_statistics_encoding, fit_weight_encoding
from analysis.ranges.findings import ExaminedTensor, examine_tensor_fit
from figures import takeaway
from figures.ranges.by_layer import half_encoding_step, ranges_along_depth
from figures.ranges.channels import channel_magnitudes, channel_ranges
from figures.ranges.histogram import MOST_LINES, value_histogram
from figures.style.palette import ACTIVATION, WEIGHT
from quant.ranges.estimators import encode_statistics
from quant.ranges.statistics import ChannelStatistics, Statistics
from quant.spec import Estimator, Granularity, QuantSpec

TENSOR = QuantSpec(8, granularity=Granularity.PER_TENSOR)


def weight(name: str, spread: float = 1.0, spec: QuantSpec | None = TENSOR) -> ExaminedTensor:
    """Ten channels, the widest `spread` times the others."""
    torch.manual_seed(1)
    values = torch.randn(10, 60).clamp(-2, 2)
    values[4] *= spread
    return examine_tensor_fit(
        weight_distribution(name, values), fit_weight_encoding(values, spec) if spec else None
    )


def activation(percentile: float = 100) -> ExaminedTensor:
    statistics = Statistics(channels=ChannelStatistics())
    statistics.collect((3 * torch.randn(500, 8)).clamp(0, 6))
    spec = QuantSpec(8, symmetric=False, estimator=Estimator.PERCENTILE, percentile=percentile)
    fit = fit_statistics_encoding(statistics, encode_statistics(statistics, spec), spec)
    return examine_tensor_fit(activation_distribution("relu", statistics), fit)


def trace(figure: go.Figure, start: str) -> go.Figure:
    (found,) = (t for t in figure.data if (t.name or "").startswith(start))
    return found


@cache
def all_figures() -> dict[str, go.Figure]:
    wide, act = weight("a<b>", 50.0), activation(95)
    dead = torch.randn(3, 9)
    dead[1] = 0
    result = {}
    for name, item in {
        "wide": wide,
        "act": act,
        "float": weight("f", spec=None),
        "own": weight("own", 50.0, QuantSpec(4)),
        "dead": examine_tensor_fit(
            weight_distribution("dead", dead), fit_weight_encoding(dead, TENSOR)
        ),
        "zero": examine_tensor_fit(
            weight_distribution("z", torch.zeros(2, 3)),
            fit_weight_encoding(torch.zeros(2, 3), TENSOR),
        ),
    }.items():
        role, channels = item.distribution.side.noun, item.distribution.channels
        assert channels is not None
        result[f"depth {name}"] = ranges_along_depth([item, item], role, item.layer_name)
        result[f"histogram {name}"] = value_histogram(item.distribution, item.fit)
        for by_range in (True, False):
            for draw in (channel_ranges, channel_magnitudes):
                figure = draw(channels, item.fit, role, by_range=by_range)
                result[f"{draw.__name__} {by_range} {name}"] = figure
    return result


def test_every_figure_has_a_takeaway_and_no_missing_number() -> None:
    for name, figure in all_figures().items():
        assert len(takeaway(figure)) > 10, name
        text = figure.to_json()
        assert "NaN" not in text, name
        assert "Infinity" not in text, name
        for axis in (figure.layout.xaxis, figure.layout.yaxis):
            assert axis.title.text, name
            assert axis.range is None or all(math.isfinite(end) for end in axis.range), name
        json.loads(text)


def test_the_overview_names_the_worst_and_marks_it() -> None:
    items = [weight("first"), weight("spoilt", 100.0), weight("third")]
    figure = ranges_along_depth(items, "weight")
    assert takeaway(figure) == "One of 3 weights is suspect, most of all spoilt: channel ranges"
    marks = trace(figure, "Suspects")
    assert list(marks.x) == [1]
    assert marks.customdata[0][0] == "spoilt"
    assert "times the median channel" in marks.text[0]
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.xaxis.range[0] < figure.layout.xaxis.range[1]
    box = trace(figure, "Channels")
    assert list(box.x) == [0, 1, 2]
    for parts in zip(box.lowerfence, box.q1, box.median, box.q3, box.upperfence, strict=True):
        assert list(parts) == sorted(parts)
    band = trace(figure, "One encoding")
    assert band.line.color == WEIGHT
    assert max(band.y) == pytest.approx(items[1].distribution.largest_magnitude)


def test_a_sound_network_is_said_to_be_sound() -> None:
    figure = ranges_along_depth([weight("a"), weight("b")], "weight")
    assert takeaway(figure) == "No weight of 2 looks suspect"
    assert not [t for t in figure.data if t.name == "Suspects"]


def test_half_a_step_of_one_grid() -> None:
    item = weight("a")
    assert half_encoding_step(item) == pytest.approx(item.distribution.largest_magnitude / 127 / 2)
    act = activation()
    assert half_encoding_step(act) == pytest.approx(act.distribution.high / 255 / 2)


def test_the_histogram_counts_on_a_log_axis_under_the_limits() -> None:
    item = activation(95)
    assert item.fit is not None
    figure = value_histogram(item.distribution, item.fit)
    assert figure.layout.yaxis.type == "log"
    bars = trace(figure, "Values")
    assert bars.marker.color == ACTIVATION
    assert len(bars.x) <= 300
    assert min(bars.y) >= 1
    assert sum(bars.y) == pytest.approx(item.distribution.count)
    limits = trace(figure, "Clipping limits")
    assert [limits.x[0], limits.x[3]] == [item.fit.low[0], item.fit.high[0]]
    assert "dB at 8 bits" in takeaway(figure)
    assert "clipped" in takeaway(figure)
    assert len(figure.layout.shapes) == 1  # what is clipped above
    assert figure.layout.shapes[0].x0 == item.fit.high[0]


def test_grid_lines_stand_only_where_they_can_be_told_apart() -> None:
    few = weight("a", spec=QuantSpec(4, granularity=Granularity.PER_TENSOR))
    assert few.fit is not None
    lines = trace(value_histogram(few.distribution, few.fit), "Encoding")
    drawn = [x for x in lines.x if x is not None][::2]
    assert len(drawn) == 16 <= MOST_LINES
    assert np.diff(drawn) == pytest.approx(few.fit.scale[0])
    many = weight("a")
    band = trace(value_histogram(many.distribution, many.fit), "Encoding")
    assert len(band.x) == 2
    assert "256 steps of" in band.name


def test_of_grids_by_channel_the_widest_and_the_median_are_drawn() -> None:
    item = weight("a", 50.0, QuantSpec(8, granularity=Granularity.PER_CHANNEL))
    figure = value_histogram(item.distribution, item.fit)
    assert "channel 4, the widest" in trace(figure, "Encoding").name
    dotted = trace(figure, "Limits of channel")
    assert dotted.x[3] < trace(figure, "Clipping limits").x[3]


def test_channels_stand_by_range_or_in_order() -> None:
    item = weight("a", 50.0)
    channels = item.distribution.channels
    assert channels is not None
    figure = channel_ranges(channels, item.fit, "weight", by_range=True)
    ratio = channels.widest_to_median_ratio
    assert takeaway(figure) == f"Channel 4 spans {ratio:.3g} times the median of 10 channels"
    bars = trace(figure, "Minimum")
    assert bars.customdata[0][0] == 4
    assert max(bars.y) == bars.y[0]
    assert np.asarray(bars.base)[0] == channels.low[4]
    plain = channel_ranges(channels, item.fit, "weight", by_range=False)
    assert [row[0] for row in trace(plain, "Minimum").customdata] == list(range(10))
    ends = {round(float(y), 6) for t in plain.data if t.name == "Ends of the encoding" for y in t.y}
    assert item.fit is not None
    assert ends == {round(float(item.fit.low[0]), 6), round(float(item.fit.high[0]), 6)}


def test_channels_that_round_to_zero_are_counted() -> None:
    values = torch.full((5, 4), 1e-3)
    values[0] = 10.0
    fit = fit_weight_encoding(values, QuantSpec(8, estimator=Estimator.MIN_MAX))
    channels = weight_distribution("a", values).channels
    assert channels is not None
    figure = channel_magnitudes(channels, fit, "weight", by_range=True)
    assert takeaway(figure) == "4 channels round to zero, of 5 with values"
    assert figure.layout.yaxis.type == "log"
    line = trace(figure, "Half a step")
    assert set(line.y) == {fit.scale[0] / 2}


def test_outliers_stand_in_a_bar_at_the_side_with_their_number() -> None:
    torch.manual_seed(0)
    values = 2 * torch.rand(10, 1000) - 1
    values[0, :3] = 500.0
    fit = fit_weight_encoding(values, TENSOR)
    figure = value_histogram(weight_distribution("w", values), fit)
    bar = trace(figure, "3 outliers, up to 500")
    assert list(bar.y) == [3]
    assert list(bar.text) == ["3"]
    low, high = figure.layout.xaxis.range
    assert -2 < low < 0 < bar.x[0] < high < 2
    assert [note.text for note in figure.layout.annotations if "limit" in (note.text or "")] == [
        "← limit -504",
        "limit 500 →",
    ]
    assert len(trace(figure, "Values").x) >= 2
