"""A layer explained: every difference is that of two prices, every loss one that was measured."""

from dataclasses import astuple, replace

import pytest

from accelerator.machine import load_preset
from analysis.cost.estimate import estimate_config_cost
from analysis.evaluation.measures import Interval
from analysis.mixed_precision.layer_options import (
    Change,
    Explanation,
    change_from_reference,
    change_in_cost,
    explain_layer_bits,
)
from analysis.network import Network, prepare_network
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep, View
from quant.config import QuantConfig, uniform_config
from quant.errors import ConfigError
from quant.simulation.plan import Side
from quant.spec import SpecChange
from tests.networks import CASES

NOTHING = Change(0.0, 0.0, 0, 0, 0, 0)


def network(name: str = "plain") -> Network:
    case = CASES[name]
    return prepare_network(name, case.model(), case.shape, "digest")


def weighted(net: Network) -> str:
    return next(layer.name for layer in net.graph.layers if layer.weight is not None)


def explain(
    config: QuantConfig | None = None, machine: str = "bitfusion_like", **more: object
) -> Explanation:
    net = network()
    place = load_preset(machine)
    return explain_layer_bits(net, config or uniform_config(8, 8), weighted(net), place, **more)  # type: ignore[arg-type]


def sensitivity(layer: str, view: View = View.ONLY) -> Sensitivity:
    score = CellScore(
        Question(layer, 4, Side.WEIGHTS, view), Depth.EXACT, 100, 17.0, accuracy_drop=0.03,
        accuracy_drop_ci95=Interval(0.01, 0.05),
    )  # fmt: skip
    return Sensitivity(Sweep(uniform_config(8, 8), view=view), Depth.EXACT, 100, 0.9, (score,))


def test_the_present_width_changes_nothing_and_is_marked() -> None:
    found = explain(uniform_config(4, 6))
    now = {(o.side, o.bits) for o in found.options if o.present}
    assert now == {(Side.WEIGHTS, 4), (Side.ACTIVATIONS, 6)}
    assert all(o.change == NOTHING for o in found.options if o.present)


@pytest.mark.parametrize("machine", ["bitfusion_like", "edge_systolic_8b", "ethos_u55_128_like"])
def test_every_option_is_the_difference_of_two_prices(machine: str) -> None:
    net, place = network(), load_preset(machine)
    layer, config = weighted(net), uniform_config(6, 8)
    found = explain_layer_bits(net, config, layer, place)
    for option in found.options:
        change = SpecChange(bits=option.bits)
        other = (
            config.with_layer_change(layer, weight=change)
            if option.side is Side.WEIGHTS
            else config.with_layer_change(layer, activation=change)
        )
        expected = (
            estimate_config_cost(net, other, place).energy_pj
            - estimate_config_cost(net, config, place).energy_pj
        )
        assert option.change.energy_pj == pytest.approx(expected, abs=1e-9)


def test_what_is_saved_against_eight_bits_is_the_way_back_turned_around() -> None:
    net, place = network(), load_preset("bitfusion_like")
    layer = weighted(net)
    config = uniform_config(8, 8).with_layer_change(layer, weight=SpecChange(bits=4))
    saved = change_from_reference(explain_layer_bits(net, config, layer, place), Side.WEIGHTS)
    assert saved is not None
    assert saved.energy_pj < 0
    assert saved.weight_bytes < 0
    expected = change_in_cost(
        estimate_config_cost(net, uniform_config(8, 8), place),
        estimate_config_cost(net, config, place),
    )
    assert astuple(saved) == pytest.approx(astuple(expected))


def test_a_measured_loss_stands_beside_its_width_alone() -> None:
    net = network()
    layer = weighted(net)
    found = explain(sensitivity=sensitivity(layer))
    known = {(o.side, o.bits): o.score for o in found.options if o.score is not None}
    assert list(known) == [(Side.WEIGHTS, 4)]
    assert known[Side.WEIGHTS, 4].accuracy_drop == 0.03


def test_another_view_says_nothing_of_the_layer_alone() -> None:
    found = explain(sensitivity=sensitivity(weighted(network()), View.ALL_BUT))
    assert all(option.score is None for option in found.options)


def test_a_pool_is_told_whose_grid_it_has_and_its_options_move_that_grid() -> None:
    net, place = network("kitchen"), load_preset("bitfusion_like")
    pool = next(layer for layer in net.graph.layers if layer.kind == "average-pool")
    found = explain_layer_bits(net, uniform_config(8, 8), pool.name, place)
    assert found.encoding_owner not in (None, pool.name)
    assert set(found.bits) == {Side.ACTIVATIONS}
    four = found.option_of_width(Side.ACTIVATIONS, 4)
    assert four is not None
    assert four.change.energy_pj < 0


def test_the_input_has_bits_but_no_cost_of_its_own() -> None:
    net = network()
    found = explain_layer_bits(net, uniform_config(8, 8), "input", load_preset("bitfusion_like"))
    assert found.cost is None
    assert set(found.bits) == {Side.ACTIVATIONS}


def test_an_eight_bit_array_gains_only_storage() -> None:
    found = explain(machine="edge_systolic_8b")
    assert "storage" in found.gains
    four = found.option_of_width(Side.WEIGHTS, 4)
    assert four is not None
    assert four.change.latency_s == 0


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="'nowhere'"):
        explain_layer_bits(
            network(), uniform_config(8, 8), "nowhere", load_preset("bitfusion_like")
        )


def test_widths_that_are_asked_for_are_offered_beside_the_usual() -> None:
    config = replace(uniform_config(7, 8))
    found = explain(config, widths=(3,))
    assert [o.bits for o in found.options if o.side is Side.WEIGHTS] == [3, 7, 8]
