"""Figures of sensitivity: the takeaway, the direction, nothing missing, and what a click gives."""

import json
import math
from dataclasses import replace
from functools import cache

import plotly.graph_objects as go
import pytest

from analysis.sensitivity.ranking import HarmMetric
from analysis.sensitivity.sweep import Depth, Question, Sensitivity, View
from figures import takeaway
from figures.sensitivity.heat_map import HARM_SCALE, harm_map
from figures.sensitivity.metrics_compared import noise_against_harm, views_against
from figures.sensitivity.ranking import MOST_BARS, along_depth, worst_layers
from figures.sensitivity.wording import axis_title, format_metric
from figures.style.palette import ACTIVATION, WEIGHT
from quant.simulation.plan import Side
from tests.figures.sensitivity_values import GUILTY, LAYERS, answers, score, together

W, A = Side.WEIGHTS, Side.ACTIVATIONS
ALL_BUT = answers(
    {"stem": 0.1, "a<b>": 0.44, "middle": 0.5, "late": 0.49, "head": 0.48},
    view=View.ALL_BUT, whole=0.5,
)  # fmt: skip
BOTH_SIDES = together(GUILTY, answers({"stem": 0.0, "head": 0.3}, side=A))
SCREENED = answers(dict.fromkeys(LAYERS, 0.1), depth=Depth.SCREENING)
EXACT_TENSOR = replace(GUILTY, scores=(replace(GUILTY.scores[0], sqnr_db=math.inf),))
NOTHING = replace(GUILTY, scores=())


def asked_in(found: Sensitivity) -> list[Question]:
    """Every layer at every width of every side."""
    sweep = found.sweep
    return [Question(n, b, s, sweep.view) for n in LAYERS for s in sweep.sides for b in sweep.bits]


@cache
def all_figures() -> dict[str, go.Figure]:
    result = {}
    for name, found in {
        "guilty": GUILTY, "all but": ALL_BUT, "sides": BOTH_SIDES, "screened": SCREENED,
        "exact": EXACT_TENSOR, "nothing": NOTHING, "unlabelled": answers({"stem": None}),
        "three widths": answers({"stem": 0.4, "head": 0.0}, bits=(8, 4, 2)),
    }.items():  # fmt: skip
        for metric in HarmMetric:
            result[f"map {metric} {name}"] = harm_map(found, metric, asked_in(found), "stem")
            result[f"worst {metric} {name}"] = worst_layers(found, metric, W, 4, "head")
            result[f"depth {metric} {name}"] = along_depth(found, metric, W, 4, LAYERS, "head")
            result[f"noise {metric} {name}"] = noise_against_harm(found, metric, 4)
            result[f"views {metric} {name}"] = views_against(found, ALL_BUT, metric, W, 4)
    return result


def test_every_figure_has_a_takeaway_and_no_missing_number() -> None:
    for name, figure in all_figures().items():
        assert len(takeaway(figure)) > 10, name
        text = figure.to_json()
        assert "NaN" not in text, name
        assert "Infinity" not in text, name
        assert figure.layout.xaxis.title.text, name
        json.loads(text)


def test_every_figure_says_which_direction_is_good() -> None:
    for name, figure in all_figures().items():
        layout = figure.layout
        words = [layout.xaxis.title.text, layout.yaxis.title.text]
        if layout.coloraxis.colorbar.title.text:
            words.append(layout.coloraxis.colorbar.title.text)
        assert any("is better" in str(w) or "harmful" in str(w) for w in words), name


def cells(figure: go.Figure) -> dict[tuple[str, int, str], float]:
    """Return the number behind each coloured cell by layer, bits and side."""
    return {
        tuple(data[:3]): float(value)
        for trace in figure.data if trace.customdata is not None
        for data, value in zip(trace.customdata, trace.marker.color, strict=True)
    }  # fmt: skip


def test_the_map_has_a_cell_for_every_answer_and_grey_for_the_rest() -> None:
    figure = harm_map(BOTH_SIDES, HarmMetric.ACCURACY, asked_in(BOTH_SIDES))
    found = cells(figure)
    assert found["stem", 4, "weights"] == pytest.approx(40)
    assert found["head", 4, "activations"] == pytest.approx(30)
    assert len(found) == 7
    grey = [trace for trace in figure.data if trace.customdata is None]
    assert [len(trace.x) for trace in grey] == [0, 3]
    assert list(figure.layout.yaxis.ticktext) == ["weights 4", "activations 4"]
    assert takeaway(figure) == (
        "Measurable harm begins with 1 layer at 4-bit weights and with 1 layer at 4-bit activations"
    )


def test_strong_colour_is_harm_whichever_direction_is_good() -> None:
    drop = harm_map(GUILTY, HarmMetric.ACCURACY, asked_in(GUILTY)).layout.coloraxis
    noise = harm_map(GUILTY, HarmMetric.SQNR, asked_in(GUILTY)).layout.coloraxis
    given = harm_map(ALL_BUT, HarmMetric.SQNR, asked_in(ALL_BUT)).layout.coloraxis
    strong = HARM_SCALE[-1][1]
    assert drop.colorscale[-1][1] == strong
    assert noise.colorscale[0][1] == strong
    assert given.colorscale[-1][1] == strong
    assert "lower is better" in drop.colorbar.title.text
    assert "higher is better" in noise.colorbar.title.text
    assert "more harmful" in given.colorbar.title.text
    assert cells(harm_map(ALL_BUT, HarmMetric.ACCURACY, asked_in(ALL_BUT)))[
        "stem", 4, "weights"
    ] == (pytest.approx(40))


def test_harmless_widths_are_said_to_be_harmless() -> None:
    found = answers({"stem": 0.0, "head": 0.01})
    assert takeaway(harm_map(found, HarmMetric.ACCURACY, asked_in(found))) == (
        "Measurable harm is seen in no layer at any of these widths"
    )
    assert "No layer of 2 does measurable harm" in takeaway(
        worst_layers(found, HarmMetric.ACCURACY, W, 4)
    )


def test_bars_stand_worst_first_with_their_intervals() -> None:
    figure = worst_layers(GUILTY, HarmMetric.ACCURACY, W, 4)
    (points,) = (trace for trace in figure.data if trace.type == "scatter")
    assert list(points.x) == pytest.approx([40, 2, 1, 0, -1])
    assert points.customdata[0][0] == "stem"
    assert points.error_x.array[0] == pytest.approx(2)
    assert points.error_x.arrayminus[0] == pytest.approx(2)
    assert points.marker.color == WEIGHT
    assert figure.layout.yaxis.ticktext[2] == "a&lt;b&gt;"
    assert takeaway(figure) == "One of 5 layers costs 93 % of the accuracy lost with 4-bit weights"


def test_only_the_worst_are_shown_and_the_one_picked() -> None:
    many = answers({f"layer {place:02}": 0.5 - place / 100 for place in range(40)})
    figure = worst_layers(many, HarmMetric.ACCURACY, W, 4, "layer 39")
    assert len(figure.layout.yaxis.ticktext) == MOST_BARS + 1
    assert figure.layout.yaxis.ticktext[-1] == "layer 39"
    assert "Many layers share the harm" in takeaway(figure)
    assert figure.layout.xaxis.title.text.endswith("<br>lower is better"), "half a window is narrow"


def test_along_the_depth_all_layers_stand_in_order() -> None:
    figure = along_depth(GUILTY, HarmMetric.SQNR, W, 4, LAYERS, "late")
    (points,) = (trace for trace in figure.data if trace.type == "scatter")
    assert list(points.x) == [0, 1, 2, 3, 4]
    assert "higher is better" in figure.layout.yaxis.title.text
    assert takeaway(figure).startswith("The first third of the layers has")
    assert figure.layout.shapes[0].x0 == 3


def test_of_all_but_one_it_is_shown_what_a_layer_gives_back() -> None:
    figure = worst_layers(ALL_BUT, HarmMetric.ACCURACY, W, 4)
    points = figure.data[1]
    assert points.customdata[0][0] == "stem"
    assert points.x[0] == pytest.approx(40)
    assert points.error_x.array[0] == pytest.approx(2)
    assert "Given back" in figure.layout.xaxis.title.text
    assert takeaway(figure).startswith("stem gives back most when it alone returns to float")
    harmless = answers({"stem": 0.5, "head": 0.49}, view=View.ALL_BUT, whole=0.5)
    assert "No layer's return to float alone helps" in takeaway(
        worst_layers(harmless, HarmMetric.ACCURACY, W, 4)
    )
    unknown = replace(ALL_BUT, whole=())
    assert not [
        x for x in worst_layers(unknown, HarmMetric.ACCURACY, W, 4).data[1].x if x is not None
    ]


def test_without_a_forward_the_view_makes_no_difference() -> None:
    noise = answers({"stem": 0.2, "head": 0.1}, view=View.ALL_BUT, depth=Depth.INSTANT)
    figure = worst_layers(noise, HarmMetric.SQNR, W, 4)
    assert list(figure.data[1].x) == pytest.approx([10, 20])
    assert "Tensor SQNR" in figure.layout.xaxis.title.text
    assert takeaway(figure).startswith("stem is the noisiest")


def test_noise_beside_accuracy_in_the_colours_of_the_sides() -> None:
    figure = noise_against_harm(BOTH_SIDES, HarmMetric.ACCURACY, 4)
    assert [trace.marker.color for trace in figure.data] == [WEIGHT, ACTIVATION]
    assert takeaway(figure) == (
        "Accuracy sees harm in 2 of 7 tensors at 4 bits; SQNR ranks them all"
    )
    flipped = answers({"stem": 0.0, "a": 0.1, "b": 0.2, "c": 0.3})
    assert "rank the layers alike (Spearman 1.00)" in takeaway(
        noise_against_harm(flipped, HarmMetric.ACCURACY, 4)
    )
    wrong = tuple(replace(s, sqnr_db=10.0 + n) for n, s in enumerate(flipped.scores))
    assert "disagree about the layers (Spearman -1.00)" in takeaway(
        noise_against_harm(replace(flipped, scores=wrong), HarmMetric.ACCURACY, 4)
    )


def test_only_one_beside_all_but_one() -> None:
    figure = views_against(GUILTY, ALL_BUT, HarmMetric.ACCURACY, W, 4)
    (points,) = figure.data
    by_layer = {d[0]: (x, y) for d, x, y in zip(points.customdata, points.x, points.y, strict=True)}
    assert by_layer["stem"] == pytest.approx((40, 40))
    assert by_layer["head"] == pytest.approx((2, 2))
    assert "Only one and all but one" in takeaway(figure)


def test_words_for_values() -> None:
    assert format_metric(None, HarmMetric.SQNR) == "not known yet"
    assert format_metric(math.inf, HarmMetric.SQNR) == "exact"
    assert format_metric(3.14159, HarmMetric.ACCURACY) == "3.1 points"
    assert axis_title(HarmMetric.SQNR, Depth.INSTANT).startswith("Tensor SQNR (dB)")
    assert score("x", 0.1).agreement == 0.9


def test_two_charts_of_the_depth_number_layers_alike() -> None:
    """Where a side has fewer layers than the network, the other layers keep their places."""
    some = answers({"stem": 0.1, "head": 0.2})
    figure = along_depth(some, HarmMetric.ACCURACY, W, 4, ("stem", "head"), "head", LAYERS)
    places = [LAYERS.index("stem"), LAYERS.index("head")]
    assert list(figure.data[0].x) == places
    assert figure.layout.shapes[0].x0 == places[1]
    map_range = harm_map(GUILTY, HarmMetric.ACCURACY, asked_in(GUILTY)).layout.xaxis.range
    assert figure.layout.xaxis.range == map_range


def test_many_columns_of_the_map_touch() -> None:
    """Gaps of less than a pixel would be drawn at some columns only."""
    many = answers({f"layer{place}": 0.1 for place in range(139)})
    asked = [one.question for one in many.scores]
    assert harm_map(many, HarmMetric.ACCURACY, asked).data[-1].width == 1
    few = harm_map(GUILTY, HarmMetric.ACCURACY, asked_in(GUILTY))
    assert few.data[-1].width < 1
