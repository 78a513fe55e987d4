import math
from dataclasses import replace

import pytest

from accelerator.workload import OpKind
from analysis.runs.compare_runs import (
    LayerDifference,
    describe_run_change,
    differences_by_layer,
    lost_accuracy_share,
    merge_layer_order,
)
from analysis.runs.run_store import Run
from quant.config import QuantConfig, Rule, uniform_config
from quant.spec import Granularity, SpecChange
from tests.analysis.results import evaluation, layer_cost, report, run, unlabelled

EIGHT = report(layer_cost("a", 100.0), layer_cost("b", 100.0), layer_cost("c", 100.0))
FOUR = report(
    layer_cost("a", 50.0, requested_weight_bits=4),
    layer_cost("b", 57.0, requested_weight_bits=4),
    layer_cost("c", 100.0),
)


def float_run() -> Run:
    return run("float", EIGHT, replace(evaluation(), sqnr_db=math.inf))


def test_the_example_of_the_screens() -> None:
    found = describe_run_change(float_run(), run("W4", FOUR, evaluation(14, 6)))
    # 207 of 300 pJ; 8 in 1000 images, the interval exactly that of the pairs
    assert found[0] == (
        "W4 in 2 layers saves 31 % of the energy and makes no measurable difference in accuracy "
        "(95 % interval of the loss -0.1 to 1.8 points)."
    )


def test_a_measurable_loss() -> None:
    found = describe_run_change(float_run(), run("W4", FOUR, evaluation(30, 6)))
    assert found[0] == (
        "W4 in 2 layers saves 31 % of the energy and costs 2.4 points (95 % interval 1.2 to 3.7)."
    )


def test_the_way_back_gains() -> None:
    found = describe_run_change(run("W4", FOUR, evaluation(30, 6)), float_run())
    assert found[0] == (
        "W8 in 2 layers adds 45 % to the energy and gains 2.4 points (95 % interval 1.2 to 3.7)."
    )


def test_overlapping_intervals_are_no_difference() -> None:
    before, after = run("x", EIGHT, evaluation(20, 6)), run("y", FOUR, evaluation(34, 6))
    assert "no measurable difference in accuracy" in describe_run_change(before, after)[0]
    before, after = run("x", EIGHT, evaluation(20, 6)), run("y", FOUR, evaluation(120, 6))
    assert "costs 10.0 points" in describe_run_change(before, after)[0]


def test_the_interval_of_two_runs_is_the_widest_possible() -> None:
    before, after = run("x", EIGHT, evaluation(20, 6)), run("y", FOUR, evaluation(120, 6))
    lost = lost_accuracy_share(before, after)
    back = lost_accuracy_share(after, before)
    assert lost is not None
    assert back is not None
    old, new = before.evaluation.top1_drop_ci95, after.evaluation.top1_drop_ci95
    assert old is not None
    assert new is not None
    assert lost[0] == pytest.approx(0.1)
    assert (lost[1].low, lost[1].high) == (new.low - old.high, new.high - old.low)
    assert (back[0], back[1].low, back[1].high) == pytest.approx(
        (-lost[0], -lost[1].high, -lost[1].low)
    )


def test_a_run_against_itself() -> None:
    same = run("x", EIGHT, evaluation(20, 6))
    found = describe_run_change(same, same)
    assert len(found) == 1
    assert found[0].startswith("The same configuration leaves the energy as it is and makes no ")


def test_a_change_of_other_settings() -> None:
    found = describe_run_change(
        run("x", EIGHT), run("y", EIGHT, config={"default": {"estimator": "mse"}})
    )
    assert found[0].startswith("Another setting leaves the energy as it is")


def test_what_else_changed_is_named_beside_the_widths() -> None:
    four = uniform_config(8, 8, Granularity.PER_TENSOR).to_dict()
    wide = run("x", EIGHT, config=uniform_config(8, 8).to_dict())
    narrow = run("y", FOUR, config=four, recipe=("Equalize",))
    found = describe_run_change(wide, narrow)[0]
    assert found.startswith("W4 in 2 layers with another setting and another recipe saves 31 %")
    assert describe_run_change(narrow, wide)[0].startswith(
        "W8 in 2 layers with another setting and no recipe"
    )
    rules = QuantConfig(
        uniform_config(8, 8).default, (Rule("first", SpecChange(bits=4)),)
    ).to_dict()
    assert describe_run_change(wide, run("y", FOUR, config=rules))[0].startswith(
        "W4 in 2 layers saves 31 %"
    )
    repaired = run("y", EIGHT, config=wide.config, recipe=("Equalize",))
    assert describe_run_change(wide, repaired)[0].startswith(
        "Another recipe leaves the energy as it is"
    )


def test_several_widths_are_named_weights_first() -> None:
    after = report(
        layer_cost("a", requested_weight_bits=4, requested_activation_bits=4),
        layer_cost("b", requested_weight_bits=2, requested_activation_bits=4),
        layer_cost("c", requested_weight_bits=4, requested_activation_bits=4),
    )
    found = describe_run_change(run("x", EIGHT), run("y", after))
    assert found[0].startswith("W4 in 2 layers with W2 in 1 layer and A4 in 3 layers saves 90 %")


def test_too_many_widths_are_a_mix() -> None:
    after = report(
        layer_cost("a", requested_weight_bits=4, requested_activation_bits=4),
        layer_cost("b", requested_weight_bits=2, requested_activation_bits=32),
        layer_cost("c"),
    )
    assert describe_run_change(run("x", EIGHT), run("y", after))[0].startswith(
        "Another mix of widths in 2 layers"
    )


def test_without_labels_agreement_speaks() -> None:
    before = run("x", EIGHT, unlabelled(990))
    worse = describe_run_change(before, run("y", FOUR, unlabelled(900)))[0]
    assert worse.endswith(
        "and agrees less often with the float network (99.0 % and 90.0 % of the answers)."
    )
    same = describe_run_change(before, run("y", FOUR, unlabelled(985)))[0]
    assert "no measurable difference in agreement with the float network" in same
    better = describe_run_change(run("y", FOUR, unlabelled(900)), before)[0]
    assert "agrees more often" in better


def test_other_data_forbid_a_verdict_on_accuracy() -> None:
    found = describe_run_change(run("x", EIGHT), run("y", FOUR, evaluation(300), data_digest="e"))
    assert found[0] == "W4 in 2 layers saves 31 % of the energy."
    assert found[1] == "The data differ (both called images): accuracy cannot be compared."
    assert lost_accuracy_share(run("x", EIGHT), run("y", FOUR, data_digest="e")) is None


def test_another_machine_forbids_a_verdict_on_cost() -> None:
    other = report(*FOUR.layers, machine="other")
    found = describe_run_change(float_run(), run("y", other, evaluation(100)))
    assert found[0].startswith("W4 in 2 layers costs 10.0 points")
    assert "The machines differ (toy and other): energy and latency cannot be compared." in found
    assert not any("latency." in sentence for sentence in found if "saves" in sentence)


def test_another_network_forbids_all_but_cost() -> None:
    found = describe_run_change(run("x", EIGHT), run("y", FOUR, model="net2", model_digest="n"))
    assert found == (
        "y instead of x saves 31 % of the energy.",
        "The networks differ (net and net2): accuracy and layers cannot be compared.",
    )


def test_nothing_in_common_says_only_that() -> None:
    found = describe_run_change(
        run("x", EIGHT),
        run(
            "y", report(*FOUR.layers, machine="z"), model_digest="n", data="other", data_digest="e"
        ),
    )
    assert len(found) == 3
    assert all("differ" in sentence for sentence in found)


def test_costs_and_the_noisiest_change_follow() -> None:
    cheaper = report(*FOUR.layers, latency_s=1e-6, weight_bytes=1024, peak_activation_bytes=1536)
    noise = {"a": 30.0, "b": 12.25, "c": 29.8}
    found = describe_run_change(run("x", EIGHT), run("y", cheaper, layer_sqnr_db=noise))
    assert found[1:] == (
        "It saves 67 % of the latency.",
        "It saves 50 % of the weight memory.",
        "It adds 50 % to the peak activation memory.",
        "The SQNR of b falls most, from 30.0 to 12.2 dB.",
    )


def test_large_and_small_changes_read_well() -> None:
    tiny = report(layer_cost("a", 300.01))
    huge = report(layer_cost("a", 3000.0))
    start = run("x", report(layer_cost("a", 300.0)))
    assert "changes the energy by less than 0.1 %" in describe_run_change(start, run("y", tiny))[0]
    assert "takes 10.0 times the energy" in describe_run_change(start, run("y", huge))[0]


def test_rows_hold_both_runs() -> None:
    pool = layer_cost("pool", 5.0, kind=OpKind.POOL, latency_s=2e-6)
    before = run("x", report(layer_cost("a", 10.0), pool), layer_sqnr_db={"input": 50.0, "a": 40.0})
    after = run(
        "y",
        report(layer_cost("a", 6.0, requested_weight_bits=4), layer_cost("new", 1.0)),
        layer_sqnr_db={"input": 50.0, "a": 20.0},
    )
    rows = differences_by_layer(before, after)
    assert [row.layer for row in rows] == ["input", "a", "new", "pool"]
    assert rows[0] == LayerDifference(layer="input", sqnr_before_db=50.0, sqnr_after_db=50.0)
    assert rows[1] == LayerDifference(
        layer="a", weight_bits_before=8, weight_bits_after=4, activation_bits_before=8,
        activation_bits_after=8, energy_before_pj=10.0, energy_after_pj=6.0,
        latency_before_s=1e-6, latency_after_s=1e-6, sqnr_before_db=40.0, sqnr_after_db=20.0,
    )  # fmt: skip
    assert (rows[2].energy_before_pj, rows[2].energy_after_pj) == (None, 1.0)
    assert (rows[3].weight_bits_before, rows[3].energy_before_pj, rows[3].energy_after_pj) == (
        None, 5.0, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "merged"),
    [
        ("abc", "abc", "abc"),
        ("abc", "axbc", "axbc"),
        ("abc", "xy", "xyabc"),
        ("ac", "abcd", "abcd"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
        ("ab", "ba", "ab"),
    ],
)
def test_orders_merge(before: str, after: str, merged: str) -> None:
    assert "".join(merge_layer_order(before, after)) == merged
