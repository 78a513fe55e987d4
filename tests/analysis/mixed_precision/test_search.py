"""The search against trying every choice; budgets hold by the cost model, whatever the machine."""

import itertools
import math
from dataclasses import replace
from functools import cache

import pytest

from accelerator.machine import Machine, load_preset, preset_names
from accelerator.report import CostReport
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.choices import Pin, Rules, find_free_knobs
from analysis.mixed_precision.integer_program import GAP
from analysis.mixed_precision.pareto_front import find_pareto_front
from analysis.mixed_precision.proposal import Budget, BudgetError
from analysis.mixed_precision.search import BitSearch
from analysis.network import Network
from analysis.sensitivity.sweep import View, sweeps_of_granularities
from benchmarks.greedy import best_bargain, demote, least_sensitive
from quant.assignment import bits_by_part, cells_of_config, config_with_bits
from quant.errors import QuantError
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.spec import Granularity
from tests.analysis.bits import every_choice, made_up, network_of

RULES = Rules((8, 4, 2))
Choices = tuple[tuple[tuple[int, ...], float, CostReport], ...]


@cache
def search_of(name: str, machine: str, rules: Rules = RULES) -> BitSearch:
    network = network_of(name)
    return BitSearch(network, made_up(network), load_preset(machine), rules)


@cache
def choices_of(name: str, machine: str, rules: Rules = RULES) -> Choices:
    return tuple(every_choice(search_of(name, machine, rules)))


def tight() -> Machine:
    """Return a machine on which activations stay on chip only where they are narrow."""
    preset = load_preset("horowitz45_generic")
    return replace(preset, buffers=replace(preset.buffers, resident_activation_bytes=300))


@cache
def tight_choices() -> Choices:
    network = network_of("plain")
    return tuple(every_choice(BitSearch(network, made_up(network), tight(), RULES)))


@pytest.mark.parametrize("quantity", Quantity)
@pytest.mark.parametrize("machine", ["bitfusion_like", "horowitz45_generic"])
@pytest.mark.parametrize("way", [0.15, 0.5])
def test_within_a_budget_no_choice_has_less_noise(
    quantity: Quantity, machine: str, way: float
) -> None:
    search, choices = search_of("plain", machine), choices_of("plain", machine)
    costs = [quantity.value_in(report) for _, _, report in choices]
    most = min(costs) + way * (max(costs) - min(costs))
    found = search.least_noise_choice([Budget(quantity, most)])
    best = min(noise for _, noise, report in choices if quantity.value_in(report) <= most)
    assert quantity.value_in(found.cost) <= most * (1 + 1e-9)
    assert found.noise_energy_sum == pytest.approx(best, rel=2 * GAP)
    assert found.proven


def test_two_budgets_hold_together() -> None:
    search, choices = search_of("plain", "bitfusion_like"), choices_of("plain", "bitfusion_like")
    budgets = [
        Budget(Quantity.ENERGY, 0.6, relative=True),
        Budget(Quantity.SIZE, 0.75, relative=True),
    ]
    found = search.least_noise_choice(budgets)
    caps = {b.quantity: b.most * b.quantity.value_in(search.reference.cost) for b in budgets}
    kept = [n for _, n, r in choices if all(q.value_in(r) <= most for q, most in caps.items())]
    assert all(q.value_in(found.cost) <= most for q, most in caps.items())
    assert found.noise_energy_sum == pytest.approx(min(kept), rel=2 * GAP)


def test_ties_and_pins_hold_and_the_rest_is_best() -> None:
    rules = Rules((8, 4), (Pin("conv1", 8), Pin("cat", None, 4)))
    search = search_of("kitchen", "bitfusion_like", rules)
    choices = choices_of("kitchen", "bitfusion_like", rules)
    most = 0.7 * search.reference.cost.energy_pj
    found = search.least_noise_choice([Budget(Quantity.ENERGY, most)])
    best = min(noise for _, noise, report in choices if report.energy_pj <= most)
    assert found.noise_energy_sum == pytest.approx(best, rel=2 * GAP)
    bits = bits_by_part(found.config, search.network.graph)
    assert bits["conv1", Side.WEIGHTS] == 8
    assert bits["cat", Side.ACTIVATIONS] == bits["average_pool", Side.ACTIVATIONS] == 4
    assert bits["conv1", Side.ACTIVATIONS] == bits["conv2", Side.ACTIVATIONS]
    assert bits["left", Side.ACTIVATIONS] == bits["right.0", Side.ACTIVATIONS]


@pytest.mark.parametrize("quantity", Quantity)
def test_within_a_loss_no_choice_costs_less(quantity: Quantity) -> None:
    search, choices = search_of("plain", "bitfusion_like"), choices_of("plain", "bitfusion_like")
    noises = sorted(noise for _, noise, _ in choices)
    most = noises[len(noises) // 3]
    found = search.cheapest_choice(quantity, most_noise=most)
    kept = [(quantity.value_in(report), noise) for _, noise, report in choices if noise <= most]
    assert found.noise_energy_sum <= most * (1 + 1e-6)
    least = min(kept)
    assert quantity.value_in(found.cost) == pytest.approx(least[0], rel=2 * GAP)
    same = [noise for value, noise in kept if value <= quantity.value_in(found.cost) * (1 + 1e-9)]
    assert found.noise_energy_sum == pytest.approx(min(same), rel=2 * GAP)


def test_there_and_back_is_the_same_cost() -> None:
    search = search_of("plain", "bitfusion_like")
    there = search.least_noise_choice([Budget(Quantity.ENERGY, 0.6, relative=True)])
    back = search.cheapest_choice(Quantity.ENERGY, most_noise=there.noise_energy_sum * (1 + 1e-9))
    assert back.cost.energy_pj <= there.cost.energy_pj * (1 + 1e-9)
    assert back.noise_energy_sum == pytest.approx(there.noise_energy_sum, rel=1e-5)


@pytest.mark.parametrize("share", [0.35, 0.5, 0.65, 0.8])
def test_budgets_hold_where_what_stays_on_chip_depends_on_bits(share: float) -> None:
    network = network_of("plain")
    search = BitSearch(network, made_up(network), tight(), RULES)
    widest, narrowest = [0] * len(search.knobs), [2] * len(search.knobs)
    assert search.costs.residents_on_chip(widest) != search.costs.residents_on_chip(narrowest)
    for quantity in (Quantity.ENERGY, Quantity.LATENCY):
        least = search.least_possible_quantity(quantity)
        most = least + share * (quantity.value_in(search.reference.cost) - least)
        found = search.least_noise_choice([Budget(quantity, most)])
        assert quantity.value_in(found.cost) <= most * (1 + 1e-9)
        kept = [noise for _, noise, report in tight_choices() if quantity.value_in(report) <= most]
        assert found.noise_energy_sum >= min(kept) * (1 - 1e-9)
        if quantity is Quantity.ENERGY:  # the best has here one of the sets that are tried
            assert found.noise_energy_sum == pytest.approx(min(kept), rel=2 * GAP)


@pytest.mark.parametrize("quantity", Quantity)
@pytest.mark.parametrize("rank", [least_sensitive, best_bargain])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_greedy_is_never_better(quantity: Quantity, rank: object, share: float) -> None:
    search = search_of("kitchen", "horowitz45_generic", Rules((8, 6, 4, 3, 2)))
    least = search.least_possible_quantity(quantity)
    most = least + share * (quantity.value_in(search.reference.cost) - least)
    greedy = demote(search, quantity, most, rank)  # type: ignore[arg-type]
    assert greedy is not None
    assert quantity.value_in(greedy.cost) <= most
    assert search.least_noise_choice(
        [Budget(quantity, most)]
    ).noise_energy_sum <= greedy.noise_energy_sum * (1 + 2 * GAP)


@pytest.mark.parametrize("machine", ["bitfusion_like", "ethos_u55_128_like"])
def test_each_layer_has_the_granularity_that_serves_best(machine: str) -> None:
    network, allowed = network_of("plain"), (Granularity.PER_TENSOR, Granularity.PER_CHANNEL)
    rules = Rules((8, 4), granularities=allowed)
    known = made_up(network)
    own = replace(known.sweep, bits=(8, 4))
    (sweep,) = sweeps_of_granularities(network.graph, own, allowed)
    weights = [s for s in made_up(network, seed=1).scores if s.question.side is Side.WEIGHTS]
    other = replace(known, sweep=sweep, scores=tuple(weights))
    search = BitSearch(network, known, load_preset(machine), rules, others=(other,))
    graph, config = network.graph, known.sweep.config
    choices = []
    for options in itertools.product(
        *(
            map(knob.cells_at_option, range(len(knob.bits)))
            for knob in find_free_knobs(graph, config, rules)
        )
    ):
        cells = [cell for option in options for cell in option]
        grains = {layer: grain for (layer, side), _, grain in cells if side is Side.WEIGHTS}
        made = config_with_bits(config, graph, {part: bits for part, bits, _ in cells}, grains)
        choices.append(search.judge_config("", made))
    for quantity in (Quantity.SIZE, Quantity.ENERGY):
        costs = [quantity.value_in(one.cost) for one in choices]
        most = min(costs) + 0.4 * (max(costs) - min(costs))
        found = search.least_noise_choice([Budget(quantity, most)])
        best = min(one.noise_energy_sum for one in choices if quantity.value_in(one.cost) <= most)
        assert quantity.value_in(found.cost) <= most * (1 + 1e-9)
        assert found.noise_energy_sum == pytest.approx(best, rel=2 * GAP)
        assert found.noise_energy_sum == pytest.approx(
            search.judge_config("", found.config).noise_energy_sum
        )
    used = {cell[2] for cell in cells_of_config(search.least_noise_choice(()).config, graph)}
    assert used == {*allowed, None}
    with pytest.raises(QuantError, match="8 bits, per-tensor, must be known"):
        BitSearch(network, known, load_preset(machine), rules)


def test_a_budget_out_of_reach_says_what_is_within() -> None:
    search, choices = search_of("plain", "bitfusion_like"), choices_of("plain", "bitfusion_like")
    least = min(report.energy_pj for _, _, report in choices)
    assert search.least_possible_quantity(Quantity.ENERGY) == pytest.approx(least, rel=2 * GAP)
    share = least / search.reference.cost.energy_pj
    with pytest.raises(BudgetError, match=rf"\(0\.010 of the reference\).*\({share:.3f}\) is the"):
        search.least_noise_choice([Budget(Quantity.ENERGY, 0.01, relative=True)])
    with pytest.raises(BudgetError, match="is the least"):
        search.cheapest_choice(Quantity.ENERGY, most_noise=1e-12)


def test_the_least_itself_is_within_reach() -> None:
    search = search_of("plain", "bitfusion_like")
    for quantity in Quantity:
        least = search.least_possible_quantity(quantity)
        assert quantity.value_in(
            search.least_noise_choice([Budget(quantity, least)]).cost
        ) == pytest.approx(least)


@pytest.mark.parametrize("machine", preset_names())
def test_the_front_has_both_ends_on_every_machine(machine: str) -> None:
    search = search_of("kitchen", machine, Rules((8, 6, 4, 3, 2)))
    front = drain_steps(find_pareto_front(search, Quantity.ENERGY, 3))
    assert front.proposals[0].cost.energy_pj == pytest.approx(
        search.least_possible_quantity(Quantity.ENERGY)
    )
    assert front.proposals[-1].noise_energy_sum == pytest.approx(
        search.least_noise_choice(()).noise_energy_sum
    )


def test_a_machine_of_eight_bits_gains_nothing() -> None:
    search = search_of("plain", "edge_systolic_8b")
    assert search.least_possible_quantity(Quantity.ENERGY) == search.reference.cost.energy_pj
    with pytest.raises(BudgetError, match="fewer bits gain only what storage gives"):
        search.least_noise_choice([Budget(Quantity.ENERGY, 0.9, relative=True)])
    cheapest = search.cheapest_choice(Quantity.ENERGY, most_noise=1.0)
    quietest = sum(float(values.min()) for values in search.noise.knobs.values())
    assert cheapest.noise_energy_sum == pytest.approx(quietest, rel=2 * GAP)
    assert (
        search.least_possible_quantity(Quantity.BOPS)
        < Quantity.BOPS.value_in(search.reference.cost) / 10
    )


def test_equal_questions_have_equal_answers() -> None:
    network = network_of("kitchen")
    answers = [
        BitSearch(
            network, made_up(network), load_preset("bitfusion_like"), RULES
        ).least_noise_choice([Budget(Quantity.ENERGY, 0.6, relative=True)])
        for _ in range(2)
    ]
    assert answers[0].config == answers[1].config


def test_any_configuration_can_be_judged() -> None:
    search = search_of("plain", "bitfusion_like")
    found = search.judge_config("W4A2", search.uniform_config(4, 2))
    expected = sum(
        10 ** (-score.sqnr_db / 10)
        for score in made_up(search.network).scores
        if score.question.bits == (4 if score.question.side is Side.WEIGHTS else 2)
    )
    assert found.noise_energy_sum == pytest.approx(expected)
    assert math.isnan(search.judge_config("W5A5", search.uniform_config(5, 5)).noise_energy_sum)


def test_what_is_not_known_is_told() -> None:
    network = network_of("plain")
    known = made_up(network, (8, 4))
    machine = load_preset("bitfusion_like")
    with pytest.raises(QuantError, match="at 2 bits must be known"):
        BitSearch(network, known, machine, RULES)
    other = replace(known, sweep=replace(known.sweep, view=View.ALL_BUT))
    with pytest.raises(QuantError, match="view all-but"):
        BitSearch(network, other, machine, Rules((8, 4)))


def front_of(network: Network, machine: str) -> tuple[BitSearch, list[float], list[float]]:
    search = BitSearch(network, made_up(network), load_preset(machine), RULES)
    front = drain_steps(find_pareto_front(search, Quantity.ENERGY, 9))
    costs = [proposal.cost.energy_pj for proposal in front.proposals]
    assert [reference.name for reference in front.references] == [
        "W8A8", "W6A8", "W6A6", "W4A8", "W4A4",
    ]  # fmt: skip
    return search, costs, [proposal.noise_energy_sum for proposal in front.proposals]


def test_the_front_falls_and_no_choice_lies_below_it() -> None:
    search, costs, noises = front_of(network_of("plain"), "bitfusion_like")
    assert len(costs) >= 7
    assert costs == sorted(costs)
    assert noises == sorted(noises, reverse=True)
    assert costs[0] == pytest.approx(search.least_possible_quantity(Quantity.ENERGY))
    every = choices_of("plain", "bitfusion_like")
    assert noises[-1] == pytest.approx(min(noise for _, noise, _ in every), rel=2 * GAP)
    for cost, noise in zip(costs, noises, strict=True):
        best = min(other for _, other, report in every if report.energy_pj <= cost)
        assert noise == pytest.approx(best, rel=2 * GAP)


def test_the_front_of_a_machine_that_gains_nothing_is_a_point() -> None:
    _, costs, _ = front_of(network_of("plain"), "edge_systolic_8b")
    assert len(costs) == 1
