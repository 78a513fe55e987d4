"""Sums over knobs against the cost model itself."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from torch import nn

from accelerator.estimate import OpCost, Scene, price_op
from accelerator.machine import Machine, Residency, load_preset
from accelerator.widths import Widths
from accelerator.workload import Op
from analysis.cost.quantity import Quantity
from analysis.mixed_precision import cost_tables
from analysis.mixed_precision.choices import Rules, find_free_knobs
from analysis.mixed_precision.cost_tables import BitCosts
from analysis.network import Network, prepare_network
from quant.config import uniform_config
from quant.spec import Granularity
from tests.analysis.bits import WIDTHS, network_of
from tests.networks import CASES, SMALL
from tests.task_networks import TASKS

MACHINES = (
    "bitfusion_like", "edge_systolic_8b", "horowitz45_generic", "tpu_v1_like", "ethos_u55_64_like",
    "eyeriss_like",
)  # fmt: skip


def check(costs: BitCosts, choice: list[int]) -> None:
    report = costs.cost_report(choice)
    for quantity in Quantity:
        value = max(
            total.value_at(choice)
            for total in costs.quantity_sums(quantity, costs.residents_on_chip(choice))
        )
        if quantity.is_whole_number:
            value = math.ceil(value - 1e-6)
        assert value == pytest.approx(quantity.value_in(report), rel=1e-12), quantity


def costs_of(name: str, machine: Machine) -> BitCosts:
    network, config = network_of(name), uniform_config(8, 8)
    return BitCosts(network, config, machine, find_free_knobs(network.graph, config, Rules(WIDTHS)))


# each network on two machines, each machine with five networks or more
PAIRS = [
    (name, MACHINES[(place + turn) % len(MACHINES)])
    for place, name in enumerate(SMALL)
    for turn in (0, 3)
]


@pytest.mark.parametrize(("name", "machine"), PAIRS)
def test_sums_are_what_the_cost_model_says(name: str, machine: str) -> None:
    costs = costs_of(name, load_preset(machine))
    random = np.random.default_rng(0)
    for _ in range(3):
        check(costs, [int(random.integers(len(knob.bits))) for knob in costs.knobs])


@cache
def task_network(name: str) -> Network:
    return prepare_network(name, TASKS[name].model(), TASKS[name].inputs, name)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", TASKS)
def test_inputs_of_fixed_width_are_in_the_sums(name: str, machine: str) -> None:
    config, network = uniform_config(8, 8), task_network(name)
    knobs = find_free_knobs(network.graph, config, Rules(WIDTHS))
    costs, random = BitCosts(network, config, load_preset(machine), knobs), np.random.default_rng(0)
    for _ in range(3):
        check(costs, [int(random.integers(len(knob.bits))) for knob in knobs])


def test_granularity_counts_where_weights_are_compressed() -> None:
    network, config = network_of("kitchen"), uniform_config(8, 8)
    rules = Rules((8, 4), granularities=(Granularity.PER_TENSOR, Granularity.PER_CHANNEL))
    knobs = find_free_knobs(network.graph, config, rules)
    for machine, differs in (("ethos_u55_128_like", True), ("bitfusion_like", False)):
        costs = BitCosts(network, config, load_preset(machine), knobs)
        random = np.random.default_rng(0)
        for _ in range(4):
            check(costs, [int(random.integers(len(knob.bits))) for knob in knobs])
        sizes = {costs.cost_report([option] * len(knobs)).weight_bytes for option in (0, 1)}
        assert (len(sizes) == 2) is differs


# the weights of two layers compress unequally, which the Ethos machine prices
@pytest.mark.parametrize("machine", sorted({*MACHINES} - {"ethos_u55_64_like"}))
def test_layers_of_one_shape_are_priced_once(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    priced = []

    def price(op: Op, widths: Widths, scene: Scene) -> OpCost:
        priced.append(op.name)
        return price_op(op, widths, scene)

    monkeypatch.setattr(cost_tables, "price_op", price)
    chains = {}
    for layers in (2, 6):
        blocks = [nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(layers)]
        network = prepare_network("chain", nn.Sequential(*blocks).eval(), (4, 8, 8), "x")
        knobs = find_free_knobs(network.graph, uniform_config(8, 8), Rules(WIDTHS))
        costs = BitCosts(network, uniform_config(8, 8), load_preset(machine), knobs)
        random = np.random.default_rng(0)
        for _ in range(3):
            check(costs, [int(random.integers(len(knob.bits))) for knob in knobs])
        chains[layers] = len(priced)
        priced.clear()
    # the first and the last layer may differ from those between: network inputs stay off chip
    assert chains[6] <= 2 * chains[2]


@pytest.mark.parametrize("name", ["kitchen", "gated", "pre-activation"])
def test_memory_saved_in_place_is_in_the_sums(name: str) -> None:
    costs = costs_of(name, replace(load_preset("horowitz45_generic"), eltwise_in_place=True))
    random = np.random.default_rng(1)
    for _ in range(5):
        check(costs, [int(random.integers(len(knob.bits))) for knob in costs.knobs])


def test_sums_hold_where_the_same_activations_stay_on_chip() -> None:
    preset = load_preset("horowitz45_generic")
    room = replace(preset.buffers, resident_activation_bytes=700)
    costs = costs_of("kitchen", replace(preset, buffers=room))
    widest, narrowest = [0] * len(costs.knobs), [len(WIDTHS) - 1] * len(costs.knobs)
    assert costs.residents_on_chip(widest) != costs.residents_on_chip(narrowest)
    check(costs, widest)
    check(costs, narrowest)
    wrong = costs.quantity_sums(Quantity.ENERGY, costs.residents_on_chip(widest))[0].value_at(
        narrowest
    )
    assert wrong > Quantity.ENERGY.value_in(costs.cost_report(narrowest))


def test_weights_that_fit_only_when_narrow_are_in_the_scene() -> None:
    preset = load_preset("horowitz45_generic")
    case = CASES["perceptron"]
    network = prepare_network("perceptron", case.model(), case.shape, "x")
    machine = replace(
        preset, weights_resident=Residency.AUTO, buffers=replace(preset.buffers, weight_bytes=100)
    )
    knobs = find_free_knobs(network.graph, uniform_config(8, 8), Rules((8, 2)))
    costs = BitCosts(network, uniform_config(8, 8), machine, knobs)
    layers = {op.name for op in costs.wiring.workload.ops if op.shape_weights}
    assert costs.residents_on_chip([0] * len(knobs))[1] & layers < layers
    assert costs.residents_on_chip([1] * len(knobs))[1] >= layers
    check(costs, [1] * len(knobs))


def test_a_choice_is_a_configuration_and_back() -> None:
    costs = costs_of("kitchen", load_preset("bitfusion_like"))
    choice = [i % len(WIDTHS) for i in range(len(costs.knobs))]
    chosen = costs.config_of_choice(choice).resolve_layers(costs.network.graph.layers)
    for knob, option in zip(costs.knobs, choice, strict=True):
        for layer, side in knob.parts:
            spec = chosen[layer].weight if side == "weights" else chosen[layer].activation
            assert spec.bits == knob.bits[option]
