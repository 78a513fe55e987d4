"""Tables of the pages, by hand."""

from dataclasses import replace
from itertools import accumulate

from analysis.runs.run_store import Run
from tests.analysis.results import layer_cost, metric_score, report, run, unlabelled
from tests.figures.cost.test_figures import PARTS
from ui.runs.run_views import COLUMN_PX
from ui.widgets.tables import effective_width_table, run_table

TABLE_PX = 490
"""The width of a table beside the side bar, in a window of 820 pixels."""
TICK_PX = 34


def test_a_layer_without_weights_has_no_bits_of_weights() -> None:
    """That an addition has weights of 0 bits is no answer."""
    add = replace(
        layer_cost("add", PARTS),
        requested_weight_bits=0,
        compute_weight_bits=0,
        stored_weight_bits=0.0,
    )
    table = effective_width_table(report(layer_cost("conv", PARTS), add))
    for name in ("requested W/A", "computed W/A", "stored W/A"):
        assert table[name][0] == "8/8"
        assert table[name][1] == "-/8"


def columns_in_sight(*runs: Run) -> list[str]:
    columns = [str(name) for name in run_table(runs)]
    ends = accumulate(COLUMN_PX.get(name, 90) for name in columns)
    return [name for name, end in zip(columns, ends, strict=True) if TICK_PX + end <= TABLE_PX]


def test_score_and_cost_of_runs_are_in_sight_in_a_small_window() -> None:
    cost = report(layer_cost("conv", PARTS))
    told = columns_in_sight(run("classes", cost))
    assert told == ["name", "top-1 %", "drop", "energy", "latency"]
    no_classes = replace(unlabelled(0), classes=False, cosine=0.9)
    assert columns_in_sight(run("none", cost, no_classes))[:4] == [
        "name", "metric", "lost", "cosine",
    ]  # fmt: skip
    scored = replace(no_classes, metric=metric_score("mIoU", 0.7, 0.6, (-0.2, 0.0)))
    assert columns_in_sight(run("task", cost, scored))[:3] == ["name", "metric", "lost"]
