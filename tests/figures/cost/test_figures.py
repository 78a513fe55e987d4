import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import plotly.graph_objects as go
import pytest

from accelerator.report import CostReport, Energy
from accelerator.workload import OpKind
from analysis.runs.run_store import Run
from figures import takeaway
from figures.cost.energy import energy_by_component, energy_by_layer, energy_comparison
from figures.cost.roofline import roofline_chart
from figures.cost.widths import requested_and_effective
from figures.quality.accuracy import accuracy_against_energy, accuracy_with_interval
from figures.quality.layer_sqnr import compare_layers, sqnr_by_layer
from figures.style.palette import ACTIVATION, AFTER, BEFORE, COMPONENTS, FLOAT, WEIGHT
from tests.analysis.results import evaluation, layer_cost, report, run, unlabelled

PARTS = Energy(mac_pj=10, register_pj=5, sram_pj=20, dram_pj=60, static_pj=5)
NAME = "features.{}.block.inverted_residual.depthwise.conv <x>"


def network(count: int) -> CostReport:
    """Layers with long, similar names; every third without DRAM traffic."""
    return report(
        *(
            layer_cost(
                NAME.format(i), PARTS, latency_s=1e-6 * (i + 1), bound=("compute", "dram")[i % 2],
                dram_weight_bits=0 if i % 3 == 2 else 800,
            )
            for i in range(count)
        )
    )  # fmt: skip


def by_report(draw: Callable[[CostReport], go.Figure]) -> Callable[[int], go.Figure]:
    return lambda count: draw(network(count))


def sqnr(count: int) -> go.Figure:
    return sqnr_by_layer({NAME.format(i): 5.0 + i for i in range(count)})


def compared(count: int) -> go.Figure:
    return compare_layers(run("before", network(count)), run("after", network(count)))


def in_runs(draw: Callable[[list[Run]], go.Figure]) -> Callable[[int], go.Figure]:
    return lambda count: draw([run(NAME.format(i), network(2)) for i in range(count)])


def in_reports(draw: Callable[[dict[str, CostReport]], go.Figure]) -> Callable[[int], go.Figure]:
    return lambda count: draw({NAME.format(i): network(2) for i in range(count)})


ALL: dict[str, Callable[[int], go.Figure]] = {
    "energy_by_component": by_report(energy_by_component),
    "energy_by_layer": by_report(energy_by_layer),
    "energy_comparison": in_reports(energy_comparison),
    "roofline": by_report(roofline_chart),
    "requested_and_effective": by_report(requested_and_effective),
    "accuracy_with_interval": in_runs(accuracy_with_interval),
    "accuracy_against_energy": in_runs(accuracy_against_energy),
    "sqnr_by_layer": sqnr,
    "compare_layers": compared,
}
ROWS = {"energy_by_layer", "requested_and_effective", "sqnr_by_layer", "compare_layers",
        "energy_comparison", "accuracy_with_interval"}  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 30, 200])
@pytest.mark.parametrize("name", ALL)
class TestEveryFigure:
    def test_says_its_takeaway(self, name: str, count: int) -> None:
        text = takeaway(ALL[name](count))
        assert 10 < len(text) < 140
        assert "nan" not in text

    def test_is_valid_json_without_nan(self, name: str, count: int) -> None:
        plain = ALL[name](count).to_json()
        assert json.loads(plain)["data"]
        assert "NaN" not in plain

    def test_names_its_axes_and_their_direction(self, name: str, count: int) -> None:
        layout = ALL[name](count).layout
        title = layout.xaxis.title.text
        assert "(" in title
        if name != "requested_and_effective":
            assert "is better" in title

    def test_hover_tells_full_names(self, name: str, count: int) -> None:
        figure = ALL[name](count)
        said = str([trace.customdata for trace in figure.data])
        wanted = (
            "net" if name == "energy_by_component" else NAME.format(0).replace("<x>", "&lt;x&gt;")
        )
        assert wanted in said
        for trace in figure.data:
            shown = trace.hoverinfo != "skip"
            assert not shown or trace.hovertemplate.endswith("<extra></extra>")

    def test_rows_have_room_and_names_of_their_own(self, name: str, count: int) -> None:
        layout = ALL[name](count).layout
        assert 180 <= layout.height <= 900
        if name in ROWS:
            room = layout.height - layout.margin.t - layout.margin.b
            named = list(layout.yaxis.tickvals)
            apart = min((b - a for a, b in pairwise(named)), default=1)
            assert room * apart >= 12 * count
            assert len(set(layout.yaxis.ticktext)) == len(named)
            assert len(named) == count or count > 35
            assert max(map(len, layout.yaxis.ticktext)) < 50
            assert list(layout.yaxis.range) == [count - 0.5, -0.5]

    def test_leaves_theme_to_the_page(self, name: str, count: int) -> None:
        figure = ALL[name](count)
        plain = json.dumps(json.loads(figure.to_json())["data"]).lower()
        for color in ("#000", "#fff", '"black"', '"white"'):
            assert color not in plain
        assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"


def test_component_shares() -> None:
    figure = energy_by_component(report(layer_cost("a", PARTS)))
    assert takeaway(figure) == "DRAM takes 60 % of 100 pJ per image"
    assert {trace.name: (trace.x[0], trace.marker.color) for trace in figure.data} == {
        "MAC": (10, COMPONENTS["mac_pj"]),
        "Registers": (5, COMPONENTS["register_pj"]),
        "SRAM": (20, COMPONENTS["sram_pj"]),
        "DRAM": (60, COMPONENTS["dram_pj"]),
        "Static": (5, COMPONENTS["static_pj"]),
    }


def test_values_are_in_the_axis_unit() -> None:
    figure = energy_by_layer(report(layer_cost("a", 2.5e6), layer_cost("b", 0.5e6)))
    assert list(figure.data[0].x) == pytest.approx([2.5, 0.5])
    assert figure.layout.xaxis.title.text == "Energy per image (µJ), lower is better"
    assert list(figure.data[0].customdata[1]) == ["b", "500 nJ", "100 %", "500 nJ"]


def test_stacks_sum_to_the_layers() -> None:
    made = network(7)
    figure = energy_by_layer(made)
    sums = [sum(trace.x[row] for trace in figure.data) for row in range(7)]
    assert sums == pytest.approx([layer.energy_pj for layer in made.layers])
    assert list(figure.data[0].y) == list(range(7))


def test_layer_titles() -> None:
    one = report(layer_cost("big", 60.0), layer_cost("b", 20.0), layer_cost("c", 20.0))
    assert takeaway(energy_by_layer(one)) == "big takes 60 % of the energy"
    many = report(*(layer_cost(f"l{i}", 10.0) for i in range(6)))
    assert takeaway(energy_by_layer(many)) == "Three of 6 operations take half of the energy"
    assert takeaway(energy_by_layer(report(layer_cost("a", 0.0)))) == "No energy is estimated"


def test_comparison_titles() -> None:
    cheap, dear = report(layer_cost("a", 69.0)), report(layer_cost("a", 100.0))
    assert (
        takeaway(energy_comparison({"W8": dear, "W4": cheap}))
        == "W4 needs 31 % less energy than W8"
    )
    assert takeaway(energy_comparison({"W8": dear})) == "W8 needs 100 pJ per image"
    same = takeaway(energy_comparison({"a": dear, "b": dear}))
    assert same == "All runs need the same energy"
    other = replace(cheap, machine="another")
    assert takeaway(energy_comparison({"a": dear, "b": other})).endswith("(different machines)")
    assert "(different machines)" in takeaway(compare_layers(run("a", dear), run("b", other)))
    other = replace(cheap, workload="another")
    assert takeaway(energy_comparison({"a": dear, "b": other})).endswith("(different networks)")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: energy_comparison({}),
        lambda: accuracy_with_interval([]), lambda: accuracy_against_energy([]),
    ],
)  # fmt: skip
def test_nothing_to_compare_is_refused(draw: Callable[[], go.Figure]) -> None:
    with pytest.raises(ValueError, match=r"needs a r(un|eport)"):
        draw()


def test_roof_and_points() -> None:
    # 100 bytes of traffic, 1000 MACs: 10 MAC/byte; 1000 MACs in 1 us: 1 GMAC/s
    made = report(
        layer_cost("mem", bound="dram"),
        layer_cost("resident", dram_weight_bits=0),
        layer_cost("pool", kind=OpKind.POOL, macs=0),
        layer_cost("idle", macs=0, latency_s=0.0),
    )
    figure = roofline_chart(made)
    traces = {trace.name: trace for trace in figure.data}
    roof = traces["Roof"]
    assert roof.line.color == FLOAT
    assert (roof.x[1], roof.y[1], roof.y[2]) == (20.0, 1e10, 1e10)
    assert roof.y[0] / roof.x[0] == pytest.approx(1e10 / 20)
    memory, compute = traces["Limited by DRAM"], traces["Limited by compute"]
    assert (list(memory.x), list(memory.y)) == ([10.0], [pytest.approx(1e9)])
    assert memory.marker.color == COMPONENTS["dram_pj"]
    assert compute.x[0] > 20.0
    assert math.isfinite(compute.x[0])
    assert compute.marker.symbol[0] == "triangle-right"
    assert "no DRAM traffic" in compute.customdata[0][0]
    assert len(compute.x) == len(memory.x) == 1
    low, high = (10**edge for edge in figure.layout.xaxis.range)
    assert low < 10 < compute.x[0] < high


def test_roofline_titles() -> None:
    dram = layer_cost("a", bound="dram", latency_s=3e-6)
    made = report(dram, replace(dram, layer="b"), layer_cost("c", latency_s=2e-6))
    assert takeaway(roofline_chart(made)) == "DRAM limits 2 of 3 layers, 75 % of their time"
    assert (
        takeaway(roofline_chart(report(layer_cost("a"))))
        == "Compute limits the only layer with MACs"
    )
    nothing = roofline_chart(report(layer_cost("a", macs=0)))
    assert takeaway(nothing).startswith("No layer multiplies")


def test_widths_that_differ_stand_out() -> None:
    made = report(
        layer_cost("same"),
        layer_cost("wide", requested_weight_bits=4, warnings=("4 bit asked",)),
        layer_cost("stored", requested_activation_bits=6, compute_activation_bits=6),
        layer_cost("pool", kind=OpKind.POOL, compute_activation_bits=16),
    )
    figure = requested_and_effective(made)
    assert takeaway(figure) == "Requested and effective widths differ in 2 of 4 operations"
    asked = [trace for trace in figure.data if trace.name == "Requested"]
    assert [trace.marker.color for trace in asked] == [WEIGHT, ACTIVATION]
    assert list(asked[0].x) == [8, 4, 8]
    assert list(asked[0].y) == [0, 1, 2]
    assert asked[0].marker.opacity[1] == 1.0 > asked[0].marker.opacity[0]
    assert asked[1].marker.opacity[2] == 1.0 > asked[1].marker.opacity[3]
    assert "4 bit asked" in asked[0].customdata[1][0]
    connection = next(trace for trace in figure.data if trace.mode == "lines")
    assert list(connection.x) == [4, 8, None]


def test_widths_title_where_all_is_as_asked() -> None:
    text = takeaway(requested_and_effective(report(layer_cost("a"), layer_cost("b"))))
    assert text == "Widths are computed and stored as requested in all operations (2)"


def test_accuracy_points_and_intervals() -> None:
    score = evaluation(30, 6)
    figure = accuracy_with_interval([run("W4", network(1), score)])
    assert takeaway(figure) == "W4 loses 2.4 points of accuracy (95 % interval 1.2 to 3.7)"
    reference, quantized = figure.data
    assert (reference.marker.color, reference.x[0]) == (FLOAT, pytest.approx(90.0))
    assert quantized.x[0] == pytest.approx(87.6)
    interval = score.quantized_top1_ci95
    assert interval is not None
    assert quantized.x[0] - quantized.error_x.arrayminus[0] == pytest.approx(100 * interval.low)
    assert quantized.x[0] + quantized.error_x.array[0] == pytest.approx(100 * interval.high)


@pytest.mark.parametrize(
    ("pairs", "title"),
    [
        ([(3, 3)], "r0: no measurable difference from float"),
        ([(2, 60)], "r0 gains 5.8 points of accuracy (95 % interval 4.3 to 7.5)"),
        ([(3, 3), (60, 2)], "One of 2 runs loses accuracy measurably"),
        ([(60, 2), (60, 2)], "Both runs lose accuracy measurably"),
        ([(3, 3), (4, 2)], "Neither run loses accuracy measurably"),
    ],
)
def test_accuracy_titles(pairs: list[tuple[int, int]], title: str) -> None:
    runs = [run(f"r{i}", network(1), evaluation(*pair)) for i, pair in enumerate(pairs)]
    assert takeaway(accuracy_with_interval(runs)) == title


@pytest.mark.parametrize("draw", [accuracy_with_interval, accuracy_against_energy])
def test_one_run_without_labels_makes_agreement_the_measure(
    draw: Callable[[list[Run]], go.Figure],
) -> None:
    figure = draw([run("a", network(1)), run("b", network(1), unlabelled(932))])
    assert takeaway(figure) == ("No labels: agreement with float is lowest in b, 93 % of the data")
    titles = figure.layout.xaxis.title.text + str(figure.layout.yaxis.title.text)
    assert "Same answer as the float network" in titles
    assert len(figure.data) == 1


def test_names_of_runs_at_one_place_stand_below_each_other() -> None:
    """Two names written over each other cannot be read."""
    costs = (1, 1, 2, 1, 1)
    runs = [run(f"run {n}", network(size)) for n, size in enumerate(costs)]
    labels = accuracy_against_energy(runs).data[0].text
    assert labels == ("run 0<br>run 1<br>run 3<br>and 1 more", "", "run 2", "", "")


def test_accuracy_against_energy() -> None:
    cheap, middle, dear = (report(layer_cost("a", energy)) for energy in (1e6, 2e6, 4e6))
    runs = [
        run("W2", cheap, evaluation(300, 2)),
        run("W4", middle, evaluation(4, 2)),
        run("W8", dear, evaluation(1, 1)),
    ]
    figure = accuracy_against_energy(runs)
    assert takeaway(figure) == "W4 is the cheapest run without a measurable loss: 2 µJ per image"
    points = figure.data[0]
    assert list(points.x) == pytest.approx([1, 2, 4])
    assert list(points.y) == pytest.approx([60.2, 89.8, 90.0])
    assert list(points.text) == ["W2", "W4", "W8"]
    assert list(points.textposition) == ["top right", "top right", "top left"]
    bad = accuracy_against_energy(runs[:1])
    assert takeaway(bad) == "Every run loses accuracy measurably; W2 keeps the most"


def test_sqnr_pins_what_is_no_number() -> None:
    values = {"in": math.inf, "a": 40.0, "b": 12.34, "dead": math.nan, "gone": -math.inf}
    figure = sqnr_by_layer(values)
    assert takeaway(figure) == "b is the noisiest layer: 12.3 dB"
    traces = {trace.name: trace for trace in figure.data}
    assert (list(traces["Layers"].x), list(traces["Layers"].y)) == ([40.0, 12.34], [1, 2])
    assert list(traces["Exact"].y) == [0]
    assert traces["Exact"].x[0] > 40.0
    assert list(traces["No signal"].y) == [3, 4]
    assert traces["No signal"].x[0] == 0.0
    low, high = figure.layout.xaxis.range
    assert low < 0.0 < traces["Exact"].x[0] < high


def test_sqnr_titles_without_any_number() -> None:
    assert takeaway(sqnr_by_layer({"a": math.inf})) == "All layers are exact"
    assert takeaway(sqnr_by_layer({})) == "No layer has a signal to compare"
    assert takeaway(sqnr_by_layer({"a": -3.0})) == "a is the noisiest layer: -3.0 dB"


def test_layers_of_two_runs() -> None:
    before = run("W8", report(layer_cost("a", 100.0), layer_cost("old", 10.0)))
    after = run("W4", report(layer_cost("a", 40.0), layer_cost("new", 4.0)))
    figure = compare_layers(before, after)
    assert takeaway(figure) == (
        "W4 needs 60 % less energy than W8; one of 3 operations makes half the change"
    )
    assert list(figure.layout.yaxis.ticktext) == ["a", "new", "old"]
    assert [trace.marker.color for trace in figure.data] == [BEFORE, AFTER]
    assert [list(trace.x) for trace in figure.data] == [[100.0, None, 10.0], [40.0, 4.0, None]]
    said = [row[1] for row in figure.data[0].customdata]
    assert said == ["100 pJ to 40 pJ (-60 %)", "4 pJ, only after", "10 pJ, only before"]


def test_layers_of_equal_runs() -> None:
    same = run("a", network(3))
    assert takeaway(compare_layers(same, same)) == "a needs the same energy as a"


def test_runs_without_classes_and_metric_are_drawn_by_output_sqnr() -> None:
    """A run without any error has an infinite SQNR and a finite place."""
    plain = replace(unlabelled(700), classes=False)
    scores = (plain, replace(plain, sqnr_db=math.inf), replace(plain, sqnr_db=30.0))
    runs = [run(name, network(1), score) for name, score in zip("abc", scores, strict=True)]
    figure = accuracy_against_energy(runs)
    assert all(map(math.isfinite, figure.data[0].y))
    assert figure.layout.yaxis.title.text == "Output SQNR (dB), higher is better"
    assert takeaway(figure) == "Output SQNR is lowest in a, 20.0 dB"


def test_the_interval_of_a_fitted_machine_is_drawn_at_the_end_of_the_bar() -> None:
    plain = report(layer_cost("a", 100.0))
    fitted = replace(plain, energy_pj_ci=(80.0, 150.0))
    for figure in (
        energy_by_component(fitted),
        energy_comparison({"one": plain, "two": fitted}),
    ):
        drawn = next(trace for trace in figure.data if trace.name == "90 % interval")
        (end,), (above,), (below,) = drawn.x, drawn.error_x.array, drawn.error_x.arrayminus
        assert (above / end, below / end) == (pytest.approx(0.5), pytest.approx(0.2))
    assert drawn.y == (1,)
    assert all(trace.name != "90 % interval" for trace in energy_by_component(plain).data)


def test_runs_over_energy_show_the_interval_of_the_energy() -> None:
    plain = report(layer_cost("a", 100.0))
    runs = [run("one", plain), run("two", replace(plain, energy_pj_ci=(80.0, 150.0)))]
    (drawn,) = (trace for trace in accuracy_against_energy(runs).data if trace.name == "Runs")
    parts = [bar / x for bar, x in zip(drawn.error_x.array, drawn.x, strict=True)]
    assert parts == [0.0, pytest.approx(0.5)]
