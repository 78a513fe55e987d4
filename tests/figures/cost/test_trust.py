"""Estimates with their intervals in words, and beside measured chips."""

from accelerator import estimate_workload, load_preset
from accelerator.validation.compare import check_measured_rows
from accelerator.validation.networks import network_table
from figures import takeaway
from figures.cost.measured import measured_scatter
from figures.cost.wording import energy_text, latency_interval


def test_an_estimate_has_its_interval_and_the_error_of_its_machine() -> None:
    report = estimate_workload(network_table("ic", 7), load_preset("gap9_ne16_like"))
    text = energy_text(report)
    assert text.startswith("27.8 µJ, ")
    assert "this machine's error on 4 measured networks, leave one out" in text
    assert latency_interval(report).endswith("(90 %)")


def test_a_machine_that_was_never_measured_says_so() -> None:
    report = estimate_workload(network_table("ic"), load_preset("edge_systolic_8b"))
    assert energy_text(report).endswith("never measured: compare choices only")
    assert latency_interval(report) == ""


def test_the_plot_has_every_row_and_names_the_worst() -> None:
    checks = check_measured_rows()
    figure = measured_scatter(checks, "gap9_ne16_like")
    points = [len(trace.x) for trace in figure.data if trace.mode == "markers"]
    assert sorted(points) == [8, len(checks) - 8]
    assert takeaway(figure).startswith("8 measurements, at worst")
    assert "No chip" in takeaway(measured_scatter(checks, "edge_systolic_8b"))
