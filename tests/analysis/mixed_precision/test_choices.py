"""Which parts share their bits, what pins and rules do, and how configurations carry bits."""

import pytest

from accelerator.machine import load_preset, preset_names
from analysis.mixed_precision.choices import Pin, Rules, Together, find_free_knobs
from analysis.mixed_precision.dependencies import find_width_origins
from analysis.mixed_precision.useful_bits import (
    directly_computed_bits,
    explain_machine_gains,
    find_useful_bits,
    restrict_to_useful_bits,
)
from quant.assignment import bits_by_part, config_with_bits, parts_of_graph
from quant.config import QuantConfig, Rule, config_from_dict, uniform_config
from quant.errors import ConfigError
from quant.simulation.plan import Side
from quant.spec import Estimator, Granularity, SpecChange
from tests.analysis.bits import network_of
from tests.networks import SMALL

A, W = Side.ACTIVATIONS, Side.WEIGHTS
PLAIN = uniform_config(8, 8)


def groups(name: str, rules: Rules | None = None) -> set[frozenset[tuple[str, Side]]]:
    knobs = find_free_knobs(network_of(name).graph, PLAIN, rules or Rules((8, 4)))
    return {frozenset(knob.parts) for knob in knobs}


def tied(name: str) -> set[frozenset[str]]:
    return {frozenset(layer for layer, _ in group) for group in groups(name) if len(group) > 1}


def test_branches_of_an_add_and_of_a_concat_and_pools_share_their_bits() -> None:
    names = [layer.name for layer in network_of("kitchen").graph.layers]
    assert names == [
        "input", "conv1", "conv2", "add", "left", "right.0", "cat", "average_pool", "linear",
    ]  # fmt: skip
    assert tied("kitchen") == {
        frozenset({"conv1", "conv2"}),
        frozenset({"left", "right.0"}),
        frozenset({"cat", "average_pool"}),
    }


def test_chains_of_adds_are_one_choice_only_where_they_share_a_branch() -> None:
    for group in tied("pre-activation"):
        assert len(group) == 2


@pytest.mark.parametrize("name", SMALL)
def test_every_part_is_in_exactly_one_choice(name: str) -> None:
    graph = network_of(name).graph
    found = [part for group in groups(name) for part in group]
    assert sorted(found) == sorted(parts_of_graph(graph))


def test_layers_of_a_kind_or_of_the_network_can_be_one_choice() -> None:
    whole = groups("plain", Rules((8, 4), together=Together.NETWORK))
    assert len(whole) == 2
    kinds = groups("padded", Rules((8, 4), together=Together.KIND))
    convolutions = {
        part for part in parts_of_graph(network_of("padded").graph) if "conv" in part[0]
    }
    assert frozenset(part for part in convolutions if part[1] is W) in kinds


def test_pins_leave_one_width_and_later_ones_win() -> None:
    rules = Rules((8, 4), (Pin("*", 6), Pin("linear", 3, 5)), edge_bits=8)
    knobs = find_free_knobs(network_of("kitchen").graph, PLAIN, rules)
    bits = {part: knob.bits for knob in knobs for part in knob.parts}
    assert bits["conv1", W] == (6,)  # the pin over the rule for edges
    assert bits["linear", W] == (3,)
    assert bits["linear", A] == (5,)
    assert bits["input", A] == (8,)
    assert bits["left", A] == (8, 4)


def test_a_pin_holds_for_all_that_share_its_bits() -> None:
    knobs = find_free_knobs(
        network_of("kitchen").graph, PLAIN, Rules((8, 4), (Pin("left", None, 4),))
    )
    assert next(knob.bits for knob in knobs if ("right.0", A) in knob.parts) == (4,)


def test_pins_that_contradict_each_other_are_told() -> None:
    pins = (Pin("left", None, 4), Pin("right.0", None, 8))
    with pytest.raises(ConfigError, match=r"pinned alike; got \[4, 8\] for left, right.0"):
        find_free_knobs(network_of("kitchen").graph, PLAIN, Rules((8, 4), pins))


def test_a_pin_that_matches_nothing_is_told() -> None:
    with pytest.raises(ConfigError, match="'nobody' matches none of 9"):
        find_free_knobs(network_of("kitchen").graph, PLAIN, Rules((8,), (Pin("nobody", 8),)))


def test_weights_choose_among_the_granularities_allowed() -> None:
    channel, tensor = Granularity.PER_CHANNEL, Granularity.PER_TENSOR
    graph = network_of("kitchen").graph
    for knob in find_free_knobs(graph, PLAIN, Rules((8, 4), granularities=(tensor, channel))):
        told = [(bits, *set(grains)) for bits, grains in zip(knob.bits, knob.grains, strict=True)]
        if knob.side is W:
            assert told == [(8, tensor), (8, channel), (4, tensor), (4, channel)]
        else:
            assert told == [(8, None), (4, None)]
    for knob in find_free_knobs(graph, PLAIN, Rules((8, 4))):
        assert knob.grains == ((channel if knob.side is W else None,) * len(knob.parts),) * 2
    with pytest.raises(ConfigError, match="need a granularity"):
        find_free_knobs(graph, PLAIN, Rules((8,), granularities=()))


def test_bits_go_in_and_come_out_and_all_else_stays() -> None:
    graph = network_of("kitchen").graph
    mse = SpecChange(bits=3, estimator=Estimator.MIN_MAX)
    config = QuantConfig(PLAIN.default, (Rule("left", mse), Rule("conv*", SpecChange(bits=5))))
    wanted = {part: 2 + i % 7 for i, part in enumerate(parts_of_graph(graph))}
    changed = config_with_bits(config, graph, wanted)
    assert bits_by_part(changed, graph) == wanted
    assert changed.resolve_layers(graph.layers)["left"].weight.estimator is Estimator.MIN_MAX
    assert bits_by_part(config_from_dict(changed.to_dict()), graph) == wanted
    assert (
        config_with_bits(config, graph, {("linear", W): 2})
        .resolve_layers(graph.layers)["conv1"]
        .weight.bits
        == 5
    )


def test_a_uniform_choice_needs_no_rule() -> None:
    graph = network_of("kitchen").graph
    found = config_with_bits(PLAIN, graph, dict.fromkeys(parts_of_graph(graph), 4))
    assert found.rules == ()


def test_wiring_tells_hundreds_of_groups_apart() -> None:
    graph = network_of("efficientnet-lite0").graph
    parts = parts_of_graph(graph)
    wiring = find_width_origins(graph, PLAIN, [(part,) for part in parts])
    assert len(parts) > 100
    numbers = {part: number for number, part in enumerate(parts)}
    for op, weight, output in zip(wiring.workload.ops, wiring.weights, wiring.outputs, strict=True):
        if op.shape_weights:
            assert weight == numbers[op.name, W]
        if (op.name, A) in numbers and graph[op.name].kind != "average-pool":
            assert output == numbers[op.name, A]


def test_widths_of_use_are_computed_or_save_room() -> None:
    edge, fusion = load_preset("edge_systolic_8b"), load_preset("bitfusion_like")
    ethos = load_preset("ethos_u55_64_like")
    offered = (2, 3, 4, 6, 8)
    assert find_useful_bits(edge, W, offered) == (8,)
    assert find_useful_bits(fusion, A, offered) == (8, 6, 4, 3, 2)
    assert find_useful_bits(ethos, W, offered) == (8, 6, 4, 3, 2)
    assert find_useful_bits(ethos, A, offered) == (8,)
    assert find_useful_bits(ethos, A, (16, *offered)) == (16, 8)
    assert directly_computed_bits(fusion, W) == (8, 4, 2)
    rules = restrict_to_useful_bits(ethos, Rules(offered))
    assert rules.offered_bits(W) == (8, 6, 4, 3, 2)
    assert rules.offered_bits(A) == (8,)


def test_what_fewer_bits_gain_is_said() -> None:
    assert "only what storage gives" in explain_machine_gains(load_preset("edge_systolic_8b"))
    assert "save arithmetic" in explain_machine_gains(load_preset("bitfusion_like"))
    gap9 = explain_machine_gains(load_preset("gap9_ne16_like"))
    assert "gain no cycles in 1 x 1 and linear layers" in gap9
    ethos = explain_machine_gains(load_preset("ethos_u55_64_like"))
    assert "weights are multiplied at 8 bits or more: fewer bits gain only" in ethos
    assert all(explain_machine_gains(load_preset(name)).endswith(".") for name in preset_names())
