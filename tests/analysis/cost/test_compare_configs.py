"""The difference of two configurations: a hand-made oracle, and laws over networks and machines."""

import math
from dataclasses import replace
from functools import cache

import pytest

from accelerator.machine import load_preset
from analysis.cost.compare_configs import ConfigDiff, describe_diff, diff_configs
from analysis.cost.estimate import estimate_config_cost
from analysis.network import Network, prepare_network
from quant.config import QuantConfig, uniform_config
from quant.simulation.plan import Side
from quant.spec import Granularity, SpecChange
from tests.networks import CASES

MACHINES = ("bitfusion_like", "edge_systolic_8b", "ethos_u55_128_like")
MIXED = replace(
    uniform_config(8, 8),
    rules=(
        *uniform_config(8, 8).with_layer_change("first", weight=SpecChange(bits=4)).rules,
        *uniform_config(8, 8)
        .with_layer_change("last", SpecChange(bits=3), SpecChange(bits=6))
        .rules,
    ),
)


@cache
def network(name: str) -> Network:
    case = CASES[name]
    return prepare_network(name, case.model(), case.shape, "digest")


@cache
def diff(name: str, after: QuantConfig, machine: str = "bitfusion_like") -> ConfigDiff:
    return diff_configs(network(name), uniform_config(8, 8), after, load_preset(machine))


def test_the_same_configuration_moves_nothing() -> None:
    found = diff("plain", uniform_config(8, 8))
    assert found.moved_pj == 0
    assert found.changed_layers == ()
    assert all(t.before == t.after for t in found.transitions)
    assert describe_diff(found) == ("Both configurations are the same for every layer.",)


def test_one_weight_of_four_bits_by_hand() -> None:
    net = network("plain")
    layer = next(item for item in net.graph.layers if item.weight is not None)
    after = uniform_config(8, 8).with_layer_change(layer.name, weight=SpecChange(bits=4))
    found = diff_configs(net, uniform_config(8, 8), after, load_preset("bitfusion_like"))
    assert [change.layer for change in found.changed_layers] == [layer.name]
    (move,) = [t for t in found.transitions if t.before != t.after]
    assert (move.side, move.before, move.after, move.layers) == (
        Side.WEIGHTS, 8, 4, (layer.name,),
    )  # fmt: skip
    assert move.values == math.prod(layer.weight_shape)
    changed = found.changed_layers[0]
    assert changed.dram_bits_before - changed.dram_bits_after == 4 * math.prod(layer.weight_shape)
    assert "8 bits to 4 bits in 1 layer" in " ".join(describe_diff(found))


def test_an_average_pool_has_the_bits_of_the_grid_it_takes_over() -> None:
    net = network("kitchen")
    pools = [layer for layer in net.graph.layers if layer.kind == "average-pool"]
    after = uniform_config(8, 8)
    for pool in pools:
        after = after.with_layer_change(pool.name, activation=SpecChange(bits=4))
    found = diff_configs(net, uniform_config(8, 8), after, load_preset("bitfusion_like"))
    names = {pool.name for pool in pools}
    own = {change.layer for change in found.changed_layers}
    assert pools
    assert not own & names  # their own wish counts for nothing


def test_changes_besides_bits_are_named() -> None:
    found = diff("plain", uniform_config(8, 8, Granularity.PER_TENSOR))
    assert found.changed_layers
    assert {name for change in found.changed_layers for name in change.also} == {
        "weight granularity"
    }
    assert all(t.before == t.after for t in found.transitions)


def test_energy_moves_in_a_layer_that_stays_where_its_input_changes() -> None:
    net = network("plain")
    weighted = [layer.name for layer in net.graph.layers if layer.weight is not None]
    after = uniform_config(8, 8).with_layer_change(weighted[0], activation=SpecChange(bits=4))
    found = diff_configs(net, uniform_config(8, 8), after, load_preset("bitfusion_like"))
    assert [change.layer for change in found.changed_layers] == [weighted[0]]
    assert found.moved_around_pj() < 0
    assert "falls on layers that stay the same" in " ".join(describe_diff(found))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["plain", "kitchen", "attention", "gated"])
class TestLaws:
    def test_layers_add_up_to_the_network(self, name: str, machine: str) -> None:
        found = diff(name, MIXED, machine)
        moved = sum(layer.moved_pj for layer in found.layers)
        assert moved == pytest.approx(found.moved_pj, rel=1e-9, abs=1e-6)
        parts = found.moved_around_pj() + sum(layer.moved_pj for layer in found.changed_layers)
        assert parts == pytest.approx(found.moved_pj, rel=1e-9, abs=1e-6)

    def test_every_layer_makes_one_transition_a_side(self, name: str, machine: str) -> None:
        found = diff(name, MIXED, machine)
        layers = network(name).graph.layers
        for side, expected in (
            (Side.WEIGHTS, [layer.name for layer in layers if layer.weight is not None]),
            (Side.ACTIVATIONS, [layer.name for layer in layers]),
        ):
            moved = [n for t in found.transition_matrix(side).values() for n in t.layers]
            assert sorted(moved) == sorted(expected)
        assert found.transition_matrix(Side.ACTIVATIONS)

    def test_there_and_back_is_nothing(self, name: str, machine: str) -> None:
        net, place = network(name), load_preset(machine)
        there = diff_configs(net, uniform_config(8, 8), MIXED, place)
        back = diff_configs(net, MIXED, uniform_config(8, 8), place)
        assert there.moved_pj == -back.moved_pj
        assert {(t.side, t.before, t.after, t.layers) for t in there.transitions} == {
            (t.side, t.after, t.before, t.layers) for t in back.transitions
        }

    def test_costs_are_those_of_the_cost_model(self, name: str, machine: str) -> None:
        net, place = network(name), load_preset(machine)
        found = diff_configs(net, uniform_config(8, 8), MIXED, place)
        assert found.before == estimate_config_cost(net, uniform_config(8, 8), place)
        assert found.after == estimate_config_cost(net, MIXED, place)
