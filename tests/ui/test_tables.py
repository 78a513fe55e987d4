"""Tables of the pages, by hand."""

from dataclasses import replace

from tests.analysis.results import layer_cost, report
from tests.figures.cost.test_figures import PARTS
from ui.widgets.tables import effective_width_table


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
