"""The front drawn: what it says holds of the numbers, and every point can be picked."""

import math
from dataclasses import replace

import pytest

from accelerator.machine import load_preset
from analysis.cost.quantity import Quantity
from analysis.evaluation.lost_score import measured_loss_share
from analysis.evaluation.measures import Interval
from analysis.mixed_precision.choices import Rules
from analysis.mixed_precision.pareto_front import (
    Front,
    find_pareto_front,
    least_lossy_point,
    update_front,
)
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.search import BitSearch
from analysis.mixed_precision.try_configs import cheapest_tried_choice
from analysis.mixed_precision.useful_bits import restrict_to_useful_bits
from analysis.prediction.predictor import Prediction
from figures import takeaway
from figures.style.units import format_share
from figures.tradeoffs.bits_chosen import bits_by_layer
from figures.tradeoffs.front import front_chart
from figures.tradeoffs.panel import Panel
from figures.tradeoffs.wording import QualityScale, front_takeaway, quality_text
from quant.assignment import bits_by_part
from quant.config import uniform_config
from quant.progress import drain_steps
from tests.analysis.bits import WIDTHS, made_up, network_of
from tests.analysis.results import evaluation, metric_score, report, run

NAME = "plain"
ACCURACY, NOISE = (
    QualityScale(by_loss=True, float_top1=0.9),
    QualityScale(by_loss=False, float_top1=None),
)


def searched(machine: str) -> BitSearch:
    network, preset = network_of(NAME), load_preset(machine)
    return BitSearch(
        network, made_up(network), preset, restrict_to_useful_bits(preset, Rules(WIDTHS))
    )


def panel(machine: str, quantity: Quantity = Quantity.ENERGY) -> Panel:
    search = searched(machine)
    eight = {each: each.value_in(search.reference.cost) for each in Quantity}
    found = drain_steps(find_pareto_front(search, quantity, 6))
    cheapest = search.cheapest_choice(quantity, most_loss=0.01)
    near = cheapest_tried_choice(cheapest, found, 0.01)
    present = search.judge_config("now", uniform_config(6, 8))
    return Panel(found, (), present, None, eight, near_float=near)


@pytest.fixture(scope="module")
def bitfusion() -> Panel:
    return panel("bitfusion_like")


@pytest.fixture(scope="module")
def fixed() -> Panel:
    return panel("edge_systolic_8b")


def test_the_title_tells_what_the_choice_within_a_point_of_float_saves(bitfusion: Panel) -> None:
    """The same choice is measured next: the title must not tell another one."""
    near = bitfusion.near_float
    assert near is not None
    good = [p for p in bitfusion.front.proposals if (p.prediction.loss or 0) <= 0.01 + 1e-12]
    assert near.cost.energy_pj <= min(p.cost.energy_pj for p in good)
    share = 1 - near.cost.energy_pj / bitfusion.full_cost
    assert bitfusion.saved_share == pytest.approx(share)
    said = takeaway(front_chart([bitfusion], ACCURACY))
    assert said.startswith(f"Mixed bits take {format_share(share)} less energy than W8A8")


def test_the_title_of_a_front_without_a_choice_near_float_tells_the_best(bitfusion: Panel) -> None:
    def losing(loss: float) -> Panel:
        told = [
            replace(p, prediction=replace(p.prediction, loss=loss + 0.1 * number))
            for number, p in enumerate(bitfusion.front.proposals)
        ]
        front = replace(bitfusion.front, proposals=tuple(told))
        assert least_lossy_point(front) is told[0]
        return replace(bitfusion, front=front, near_float=None)

    said = takeaway(front_chart([losing(0.05)], ACCURACY))
    assert said == "No choice stays within 1 point of float: the best loses 5.0"
    said = takeaway(front_chart([losing(0.005)], ACCURACY))
    assert said == "No choice that was tried stays within 1 point of float"


def test_a_fixed_machine_saves_nothing_and_the_title_says_so(fixed: Panel) -> None:
    assert len(fixed.front.proposals) == 1
    figure = front_chart([fixed], ACCURACY)
    assert takeaway(figure).startswith("Fewer bits than 8 save no energy on this machine")
    assert takeaway(front_chart([fixed], NOISE)).startswith("Fewer bits than 8 save no energy")


def test_without_accuracy_the_title_tells_decibels(bitfusion: Panel) -> None:
    said = takeaway(front_chart([bitfusion], NOISE))
    front = bitfusion.front
    gains = [
        max(
            p.prediction.sqnr_db
            for p in front.proposals
            if p.cost.energy_pj <= one.cost.energy_pj * (1 + 1e-9)
        )
        - one.prediction.sqnr_db
        for one in front.references
        if front.proposals[0].cost.energy_pj
        <= one.cost.energy_pj
        < front.proposals[-1].cost.energy_pj
    ]
    assert f"{max(gains):.0f} dB more SQNR" in said


def test_machines_side_by_side_share_their_axis_in_percent(bitfusion: Panel, fixed: Panel) -> None:
    figure = front_chart([bitfusion, fixed], ACCURACY)
    assert any("% of W8A8" in note.text for note in figure.layout.annotations)
    (reference,) = (t for t in figure.data if t.name.startswith("Uniform") and t.xaxis == "x2")
    names = [str(data[1]) for data in reference.customdata]
    assert reference.x[names.index("W8A8")] == pytest.approx(100)
    words = front_takeaway((bitfusion, fixed), ACCURACY)
    assert (
        "BitFusion like (16 x 32 fusion units) profits most" in words
        or "on any of these machines" in words
    )


def test_a_click_names_its_machine_and_point(bitfusion: Panel) -> None:
    figure = front_chart([bitfusion], ACCURACY, ("bitfusion_like", "W4A8"))
    traces = {trace.name: trace for trace in figure.data}
    told = {tuple(data[:2]) for data in traces["Predicted front"].customdata}
    assert told == {("bitfusion_like", p.name) for p in bitfusion.front.proposals}
    ring, uniform_points = traces["Picked"], traces["Uniform, predicted"]
    place = [data[1] for data in uniform_points.customdata].index("W4A8")
    assert ring.x[0] == uniform_points.x[place]
    assert ring.y[0] == uniform_points.y[place]


def test_the_best_points_are_in_sight_however_far_below_float(bitfusion: Panel) -> None:
    """After a measurement all that is predicted may lie 50 points below float."""

    def worse(proposal: Proposal) -> Proposal:
        said = replace(proposal.prediction, loss=0.5 + (proposal.prediction.loss or 0.0) / 10)
        return replace(proposal, prediction=said)

    front = replace(
        bitfusion.front,
        proposals=tuple(map(worse, bitfusion.front.proposals)),
        references=tuple(map(worse, bitfusion.front.references)),
    )
    figure = front_chart(
        [replace(bitfusion, front=front, present=worse(bitfusion.present))], ACCURACY
    )
    low, high = figure.layout.yaxis.range
    drawn = [y for trace in figure.data if trace.name == "Predicted front" for y in trace.y]
    assert low < max(drawn) < 41
    assert high > 90, "float, at 90 %, stays in sight"


def test_axes_say_their_direction(bitfusion: Panel) -> None:
    for scale in (ACCURACY, NOISE, QualityScale(by_loss=True, float_top1=None)):
        figure = front_chart([bitfusion], scale)
        assert "higher is better" in figure.layout.yaxis.title.text
        assert "lower is better" in figure.layout.xaxis.title.text


@pytest.mark.parametrize("quantity", list(Quantity))
def test_every_quantity_has_its_unit(quantity: Quantity) -> None:
    figure = front_chart([panel("bitfusion_like", quantity)], NOISE)
    assert "(" in figure.layout.xaxis.title.text


def test_a_loss_is_turned_into_accuracy_with_its_interval_turned_too() -> None:
    said = Prediction(20.0, Interval(17, 23), 0.05, Interval(0.02, 0.2))
    assert ACCURACY.predicted_value(said) == pytest.approx(85)
    assert quality_text(ACCURACY, said) == "85.0 % (70.0 to 88.0)"
    assert quality_text(NOISE, said) == "20.0 dB (17.0 to 23.0)"
    unknown = Prediction(math.nan, Interval(math.nan, math.nan))
    assert quality_text(NOISE, unknown) == "unknown"
    assert NOISE.predicted_interval(unknown) is None


def test_a_corrected_front_keeps_costs(bitfusion: Panel) -> None:
    search = searched("bitfusion_like")
    again: Front = update_front(bitfusion.front, search.predictor)
    assert [p.cost for p in again.proposals] == [p.cost for p in bitfusion.front.proposals]


def test_bits_are_drawn_once_for_each_tensor() -> None:
    network = network_of(NAME)
    bits = bits_by_part(uniform_config(4, 8), network.graph)
    figure = bits_by_layer(bits)
    assert sum(len(trace.x) for trace in figure.data) == len(bits)
    assert {trace.name for trace in figure.data} == {"4 bit", "8 bit"}
    assert takeaway(figure) == "Every layer has the same bits"
    mixed = uniform_config(4, 8).with_layer_change(network.graph.layers[1].name)
    assert (
        takeaway(bits_by_layer(bits_by_part(mixed, network.graph)))
        == "Every layer has the same bits"
    )


def test_the_axis_and_the_values_of_a_detector_are_those_of_its_metric() -> None:
    scale = QualityScale(by_loss=True, float_top1=0.6, metric="mAP")
    assert scale.axis_title == "mAP (%), higher is better"
    assert (scale.name, scale.unit, scale.of_float) == ("mAP", "%", 60.0)
    metric = metric_score("mAP", 0.6, 0.55, (-0.07, -0.02))
    score = replace(evaluation(), float_top1=None, quantized_top1=None, metric=metric)
    measured = run("tried", report(), score)
    assert scale.measured_value(measured) == pytest.approx(55.0)
    ends = scale.measured_interval(measured)
    assert ends is not None
    assert [ends.low, ends.high] == pytest.approx([53.0, 58.0])
    expected = quality_text(scale, Prediction(20.0, Interval(18, 22), 0.02, Interval(0.01, 0.03)))
    assert expected == "58.0 % (57.0 to 59.0)"
    assert measured_loss_share(score, labelled=False) == pytest.approx(0.05)


def test_the_cost_of_a_fitted_machine_has_its_interval_on_the_axis(bitfusion: Panel) -> None:
    fitted = panel("gap9_ne16_like")
    ends = fitted.present.cost.energy_pj_ci
    assert ends is not None
    chart = front_chart([fitted], NOISE)
    (star,) = (trace for trace in chart.data if trace.name == "Present configuration")
    cost = fitted.present.cost.energy_pj
    assert star.error_x.array[0] / star.x[0] == pytest.approx(ends[1] / cost - 1)
    assert star.error_x.arrayminus[0] / star.x[0] == pytest.approx(1 - ends[0] / cost)
    for others in ([bitfusion], [fitted, bitfusion]):  # never measured; shares of W8A8
        chart = front_chart(others, NOISE)
        stars = [trace for trace in chart.data if trace.name == "Present configuration"]
        assert all(star.error_x.array is None for star in stars)
