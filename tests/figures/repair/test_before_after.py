import math
from dataclasses import replace

import pytest

from analysis.evaluation.measures import Interval
from analysis.evaluation.told_score import ScoreMeasure, ScoreUnit, ToldScore, told_sqnr
from figures import takeaway
from figures.repair.before_after import (
    bias_shift,
    channel_spread,
    ranges_before_after,
    rounding_gain,
    sqnr_before_after,
)
from figures.repair.waterfall import GAIN, LOSS, repair_waterfall


def shares(measure: ScoreMeasure, *values: float, reference: float | None) -> list[ToldScore]:
    return [ToldScore(measure, measure.value, value, float_value=reference) for value in values]


def errors(*values: float, reference: float | None) -> list[ToldScore]:
    return [
        ToldScore(
            ScoreMeasure.METRIC,
            "MAE",
            value,
            ScoreUnit.OWN,
            higher_is_better=False,
            float_value=reference,
        )
        for value in values
    ]


def test_the_waterfall_ends_at_the_repaired_score_and_names_what_helped_most() -> None:
    scores = shares(ScoreMeasure.TOP1, 0.1, 0.9, 0.92, reference=0.94)
    figure = repair_waterfall(["Plain", "Equalize", "AdaRound"], scores)
    (bars,) = figure.data
    assert list(bars.y)[:3] == pytest.approx([10, 80, 2])
    assert list(bars.measure) == ["absolute", "relative", "relative", "total"]
    assert takeaway(figure) == (
        "The recipe brings 82.00 points, 80.00 of them by Equalize; 2.00 are left to float"
    )
    assert figure.layout.yaxis.title.text == "Top-1 accuracy (%), higher is better"


def test_a_pass_that_takes_some_back_and_a_score_above_float_are_told_so() -> None:
    titles = ["Plain", "Equalize", "Correct"]
    figure = repair_waterfall(titles, shares(ScoreMeasure.TOP1, 0.11, 0.94, 0.93, reference=0.93))
    assert takeaway(figure) == (
        "The recipe brings 82.00 points, most of them by Equalize; float is reached"
    )
    figure = repair_waterfall(titles, shares(ScoreMeasure.TOP1, 0.8, 0.95, 0.95, reference=None))
    assert takeaway(figure) == "The recipe brings 15.00 points, all of them by Equalize"
    above = repair_waterfall(titles[:2], shares(ScoreMeasure.TOP1, 0.7, 0.9, reference=0.85))
    assert takeaway(above).endswith("; 5.00 above float")


def test_the_waterfall_shows_the_interval_of_every_score() -> None:
    ends = Interval(0.4, 0.7), Interval(0.85, 0.92)
    scores = shares(ScoreMeasure.TOP1, 0.5, 0.9, reference=None)
    scores = [replace(one, interval=spread) for one, spread in zip(scores, ends, strict=True)]
    figure = repair_waterfall(["Plain", "Fix"], scores)
    _, intervals = figure.data
    assert list(intervals.y) == pytest.approx([50, 90, 90])
    assert list(intervals.error_y.array) == pytest.approx([20, 2, 2])
    assert list(intervals.error_y.arrayminus) == pytest.approx([10, 5, 5])
    assert "95 % interval" in figure.layout.xaxis.title.text


def test_a_recipe_that_does_harm_says_so() -> None:
    scores = shares(ScoreMeasure.AGREEMENT, 0.9, 0.8, reference=1.0)
    figure = repair_waterfall(["Plain", "Equalize"], scores)
    assert takeaway(figure) == "The recipe costs 10.00 points; 20.00 are left to float"
    assert takeaway(repair_waterfall(["Plain"], scores[:1])).endswith("90.00 %")


def test_points_of_a_task_are_named_by_its_metric() -> None:
    scores = [ToldScore(ScoreMeasure.METRIC, "mAP", value) for value in (0.5, 0.6)]
    assert takeaway(repair_waterfall(["Plain", "Fix"], scores)) == (
        "The recipe brings 10.00 points of mAP"
    )


def test_a_small_error_keeps_its_digits_and_falls_in_the_colour_of_a_gain() -> None:
    figure = repair_waterfall(["Plain", "Equalize"], errors(0.0456, 0.0123, reference=0.01))
    (bars,) = figure.data
    assert list(bars.text) == ["0.0456", "-0.0333", "0.0123"]
    assert takeaway(figure) == ("The recipe lowers MAE from 0.0456 to 0.0123; float has 0.01")
    assert figure.layout.yaxis.title.text == "MAE, lower is better"
    assert figure.layout.yaxis.range[1] < 0.06
    assert (bars.decreasing.marker.color, bars.increasing.marker.color) == (GAIN, LOSS)


def test_outputs_without_any_error_have_a_bar_of_finite_height() -> None:
    figure = repair_waterfall(["Plain", "Fix"], [told_sqnr(12.34), told_sqnr(math.inf)])
    (bars,) = figure.data
    assert all(map(math.isfinite, bars.y))
    assert list(bars.text)[::2] == ["12.3 dB", "exact"]
    assert takeaway(figure) == "The recipe raises output SQNR from 12.3 dB to exact"


def test_sqnr_before_and_after_leaves_out_exact_layers() -> None:
    before = {"a": 10.0, "b": 20.0, "c": math.inf}
    figure = sqnr_before_after(before, {"a": 15.0, "b": 19.0, "c": math.inf})
    way, *ends = figure.data
    assert [list(trace.x) for trace in ends] == [[10.0, 20.0], [15.0, 19.0]]
    assert list(way.x) == [10.0, 15.0, None, 20.0, 19.0, None]
    assert takeaway(figure) == "Less error than before in one of 2 layers"
    assert "higher is better" in figure.layout.xaxis.title.text


def test_channels_stand_in_the_order_of_their_range_before() -> None:
    before, after = [(-1.0, 1.0), (-8.0, 8.0), (-2.0, 2.0)], [(-2.0, 2.0)] * 3
    figure = ranges_before_after("layer", before, after)
    old, new = figure.data
    assert [channel for channel, *_ in old.customdata] == [1, 2, 0]
    assert list(old.y) == [16, 4, 2]
    assert list(new.base) == [-2, -2, -2]
    assert takeaway(figure) == "layer: widest channel 4 times the median before, 1 times after"
    assert channel_spread([(0.0, 0.0)]) == 1.0


def test_channels_that_differ_by_decades_stand_on_a_log_axis() -> None:
    before = [(-1.0, 1.0), (-800.0, 800.0), (-2.0, 2.0), (0.0, 0.0)]
    old, new = ranges_before_after("layer", before, [(-2.0, 2.0)] * 4).data
    assert list(old.y) == [1600, 4, 2, None]
    assert list(new.y) == [4] * 4
    figure = ranges_before_after("layer", before, [(-2.0, 2.0)] * 4)
    assert figure.layout.yaxis.type == "log"
    assert takeaway(figure) == "layer: widest channel 400 times the median before, 1 times after"


def test_hundreds_of_channels_are_thinned_and_it_is_said() -> None:
    many = [(-float(c + 1), 0.0) for c in range(1000)]
    figure = ranges_before_after("layer", many, many)
    assert len(figure.data[0].y) == 334
    assert "1 in 3 is drawn" in figure.layout.xaxis.title.text


def test_bias_shift_shows_what_remains_where_it_was_measured() -> None:
    assert len(bias_shift("layer", [0.5, -1.0], [0.0, 0.0]).data) == 2
    figure = bias_shift("layer", [0.5, -1.0], None)
    assert len(figure.data) == 1
    assert takeaway(figure) == "layer: quantization moved a mean by up to 1"
    left = bias_shift("layer", [0.5, -1.0], [0.01, 0.0])
    assert takeaway(left).endswith("up to 1, correction leaves 0.01")


def test_rounding_gain_is_the_share_of_error_that_is_left() -> None:
    figure = rounding_gain(["a", "b"], [0.5, 0.3])
    assert list(figure.data[0].x) == [50, 30]
    assert takeaway(figure) == "Learned rounding leaves 40 % of the error, on average over layers"
    assert "lower is better" in figure.layout.xaxis.title.text
