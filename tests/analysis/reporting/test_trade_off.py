"""A stored front beside the runs of a store, which holds runs of other networks too."""

from dataclasses import replace

from analysis.cost.quantity import Quantity
from analysis.mixed_precision.pareto_record import FrontRecord
from analysis.reporting.trade_off import trade_off_from_record
from tests.analysis.results import layer_cost, report, run


def test_the_word_for_an_inference_is_that_of_the_fronts_own_network() -> None:
    record = FrontRecord("m", "d", "bitfusion_like", Quantity.ENERGY, (), (), {})
    cost = report(layer_cost("a"))
    own = run("own", replace(cost, noun="row"))
    newest = run("newest", cost, model_digest="another", data_digest="others")
    assert trade_off_from_record(record, (newest, own)).noun == "row"
    assert trade_off_from_record(record, (newest,)).noun == "image"
