"""A file beside the simulation and beside the run of its name."""

from dataclasses import replace

import pytest

from analysis.deployment.file_answers import check_answers, find_mismatch, run_named
from quant.config import uniform_config
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from tests.analysis.results import evaluation, layer_cost, report, run
from tests.analysis.sweeps import case


def test_answers_are_counted_on_the_same_images() -> None:
    small = case("plain")
    graph, known = small.network.graph, small.calibrated
    fine, coarse = (
        quantize_graph(graph, uniform_config(bits, bits), known.statistics, known.input_range)
        for bits in (8, 2)
    )
    same = drain_steps(check_answers(small.network, fine, fine, small.data))
    assert (same.samples, same.agreement, same.top1) == (12, 1.0, same.simulated_top1)
    assert find_mismatch(same) == ""
    other = drain_steps(check_answers(small.network, fine, coarse, small.data))
    assert other.sqnr_db < 20
    wrong = replace(other, agreement=0.5, top1=0.1, simulated_top1=0.9)
    assert "must answer as the simulation does" in find_mismatch(wrong)
    broken = replace(wrong, simulated_top1=0.12)  # both answer by chance
    assert find_mismatch(broken) == ""


@pytest.mark.parametrize(("lost", "apart"), [(10, False), (30, False), (780, True)])
def test_a_run_far_from_its_file_is_named(lost: int, *, apart: bool) -> None:
    small = case("plain")
    found = drain_steps(
        check_answers(small.network, small.network.graph, small.network.graph, small.data)
    )
    assert found.top1 == pytest.approx(8 / 12)
    good = evaluation(lost=lost, hits=800)  # of 1000
    told = find_mismatch(found, run("mine", report(layer_cost("a")), good))
    assert bool(told) == apart
    assert ("'mine'" in told) == apart


def test_the_newest_run_of_a_name_on_the_same_model_and_images_counts() -> None:
    cost = report(layer_cost("a"))
    runs = [run("mine", cost, data_digest="other"), run("mine", cost, seed=1), run("mine", cost)]
    found = run_named(runs, "mine", "m", "d")
    assert found is runs[1]
    assert run_named(runs, "yours", "m", "d") is None
