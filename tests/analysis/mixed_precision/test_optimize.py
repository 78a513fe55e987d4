"""The optimizer from end to end on a small network, its words, and what it writes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accelerator.machine import load_preset
from analysis.cost.quantity import Quantity
from analysis.cost.spared_bits import find_spared_bits
from analysis.mixed_precision.choices import Pin
from analysis.mixed_precision.explain_costs import explain_handling
from analysis.mixed_precision.optimize import Answer, Task, optimize_bits, warn_of_loss
from analysis.mixed_precision.pareto_front import (
    find_pareto_front,
    measure_proposals,
    prediction_error,
    update_front,
)
from analysis.mixed_precision.proposal import Budget, BudgetError
from analysis.mixed_precision.search import BitSearch
from analysis.network import Network
from analysis.runs.apply_recipe import repair_float_network
from analysis.runs.experiment_file import experiment_from_plain
from analysis.runs.run_store import Run, RunStore
from analysis.sensitivity.analyze import analyze_sensitivity
from analysis.sensitivity.exact.executors import Pool
from analysis.sensitivity.recheck import find_loud_layers
from analysis.sensitivity.sweep import Depth, Sweep
from analysis.study import Study
from commands.bit_options import (
    read_bit_choices,
    read_budget,
    read_choice_rules,
    read_granularities,
    read_pin,
    read_uniform_bits,
)
from commands.json_answers.optimize import summarize_optimum
from quant.assignment import bits_by_part
from quant.config import config_from_dict, uniform_config
from quant.errors import ConfigError
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.recipe import Recipe
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.spec import Granularity
from tests.analysis.sweeps import case

FUSION = load_preset("bitfusion_like")
PLAIN = uniform_config(8, 8)


def task(**changes: Any) -> Task:
    rules = read_choice_rules("2,4,8", changes.pop("pins", ()), changes.pop("edge_bits", None))
    wanted = {
        "machine": FUSION,
        "config": PLAIN,
        "rules": rules,
        "budgets": (Budget(Quantity.ENERGY, 0.6, relative=True),),
        "reference": PLAIN,
    }
    return Task(**{**wanted, **changes})


def answer(name: str = "kitchen", **changes: Any) -> Answer:
    small = case(name)
    steps = optimize_bits(
        Study(small.network, small.data, small.data, calibrated=small.calibrated), task(**changes)
    )
    return drain_steps(steps)


def search_of(name: str = "kitchen") -> BitSearch:
    small = case(name)
    steps = analyze_sensitivity(small.study(), Sweep(PLAIN, (8, 4, 2)), workers=Pool(1))
    return BitSearch(
        small.network, drain_steps(steps), FUSION, read_choice_rules("2,4,8", (), None)
    )


def json_answer(found: Answer, network: Network) -> Any:
    """Return the answer of the command, as read from its JSON."""
    return json.loads(json.dumps(summarize_optimum(found, network), allow_nan=False))


def test_bits_spared_on_1x1_and_linear_layers_of_gap9_gain_no_cycles_and_it_is_said() -> None:
    """The size alone is cut, so that bits go from every kind of layer."""
    found = answer(
        machine=load_preset("gap9_ne16_like"),
        budgets=(Budget(Quantity.SIZE, 0.42, relative=True),),
    )
    spared = find_spared_bits(found.reference.cost, found.proposal.cost)
    assert [one for one in spared if not one.cycles]
    assert any("they gain no cycles, only" in note for note in found.notes)
    assert set(found.notes) <= set(json_answer(found, case("kitchen").network)["notes"])


def test_the_answer_keeps_the_budget_and_is_measured() -> None:
    found = answer(measured=True, front=4)
    assert found.proposal.cost.energy_pj <= 0.6 * found.reference.cost.energy_pj
    assert [one.proposal.name for one in found.measured] == ["Mixed", "reference"]
    for one in found.measured:
        assert one.run.cost == one.proposal.cost
        assert one.run.evaluation.samples == 12
    assert found.front is not None
    told = json_answer(found, case("kitchen").network)
    assert told == summarize_optimum(found, case("kitchen").network)
    choice = told["choice"]
    assert choice["of_reference"]["energy"] <= 0.6
    assert choice["measured"]["cost"]["energy"] == choice["cost"]["energy"]
    graph = case("kitchen").network.graph
    bits = bits_by_part(config_from_dict(choice["config"]), graph)
    for row in choice["layers"]:
        assert bits[row["layer"], Side.ACTIVATIONS] == row["activation_bits"]
        assert bits.get((row["layer"], Side.WEIGHTS)) == row["weight_bits"]
    assert told["reference"]["of_reference"] == dict.fromkeys(map(str, Quantity), 1.0)
    assert told["prediction_error"]["count"] == 2
    assert len(told["front"]) >= 4


def test_repairs_take_part_in_the_search() -> None:
    """The sweep asks the equalized network, and what is measured is the repaired choice."""
    small = case("plain")
    recipe: Recipe = (Equalize(), CorrectBias())
    plain, found = answer("plain", measured=True), answer("plain", measured=True, recipe=recipe)
    repaired = repair_float_network(Study(small.network, small.data, small.data), recipe)
    assert repaired.network.graph_digest != small.network.graph_digest
    drain_steps(repaired.collect_statistics())
    swept = drain_steps(
        analyze_sensitivity(repaired.with_scored_images(small.data), found.sensitivity.sweep)
    )
    for plainly, corrected in zip(swept.scores, found.sensitivity.scores, strict=True):
        assert corrected.question == plainly.question
        if plainly.question.side is Side.ACTIVATIONS:
            assert corrected.sqnr_db == plainly.sqnr_db
        else:  # bias correction takes noise away
            assert corrected.sqnr_db >= plainly.sqnr_db
    assert found.sensitivity.scores != plain.sensitivity.scores
    for one in found.measured:
        assert one.run.recipe == ("Equalize", "Correct biases (empirical)")
    told = json_answer(found, small.network)
    assert told["recipe"] == ["Equalize", "Correct biases (empirical)"]
    chosen = experiment_from_plain(told["choice"]["experiment"]).experiment
    assert (chosen.recipe, chosen.config) == (recipe, found.proposal.config)


def test_a_choice_far_below_float_is_warned_of() -> None:
    """Many images answer otherwise at few bits; a measured loss counts more than a guess."""
    found = answer(budgets=(Budget(Quantity.ENERGY, 0.3, relative=True),), measured=True)
    one, _ = found.measured
    bad = replace(one, run=replace(one.run, evaluation=replace(one.run.evaluation, top1_drop=0.26)))
    (sentence,) = warn_of_loss(found.proposal, [bad])
    assert "lose at most 1 point against float; it was measured to lose 26.0" in sentence
    near = replace(one.run.evaluation, top1_drop=0.005)
    kept = replace(one, run=replace(one.run, evaluation=near))
    assert warn_of_loss(found.proposal, [kept]) == ()


def test_what_is_out_of_reach_is_told_before_the_sweep() -> None:
    small = case("kitchen")
    wanted = task(budgets=(Budget(Quantity.ENERGY, 0.01, relative=True),))
    steps = optimize_bits(
        Study(small.network, small.data, small.data, calibrated=small.calibrated), wanted
    )
    assert next(steps).text == "Looking up what is within reach"
    with pytest.raises(BudgetError, match="is the least within reach"):
        next(steps)


def test_bits_of_no_use_are_not_swept_but_for_bops() -> None:
    edge = load_preset("edge_systolic_8b")
    budget = Budget(Quantity.SIZE, 1.0, relative=True)
    assert answer(machine=edge, budgets=(budget,)).sensitivity.sweep.bits == (8,)
    budget = Budget(Quantity.BOPS, 0.5, relative=True)
    found = answer(machine=edge, budgets=(budget,))
    assert found.sensitivity.sweep.bits == (8, 4, 2)
    assert found.proposal.cost.bops <= 0.5 * found.reference.cost.bops
    assert "only what storage gives" in found.notes[0]


@pytest.mark.parametrize(
    ("quantity", "sentence"),
    [
        (Quantity.LATENCY, "the slower of computing and moving data"),
        (Quantity.MEMORY, "every step is a separate limit"),
    ],
)
def test_how_costs_that_are_no_sums_are_dealt_with_is_written(
    quantity: Quantity, sentence: str
) -> None:
    found = answer(budgets=(Budget(quantity, 0.9, relative=True),))
    told = json_answer(found, case("kitchen").network)
    assert sum(sentence in note for note in told["notes"]) == 1
    assert quantity.value_in(found.proposal.cost) <= 0.9 * quantity.value_in(
        found.reference.cost
    ) * (1 + 1e-9)
    assert not any(sentence in note for note in answer().notes)


def test_what_stays_on_chip_is_explained_where_it_depends_on_bits() -> None:
    preset = load_preset("horowitz45_generic")
    room = replace(preset.buffers, resident_activation_bytes=700)
    small = case("kitchen")
    sweep = search_of().sensitivity
    search = BitSearch(
        small.network, sweep, replace(preset, buffers=room), read_choice_rules("2,4,8", (), None)
    )
    (sentence,) = explain_handling(search, [Quantity.ENERGY, Quantity.SIZE])
    assert f"{search.scene_count} sets are tried at first" in sentence
    assert explain_handling(search_of(), [Quantity.ENERGY, Quantity.BOPS]) == ()


def test_runs_in_the_store_teach_and_new_ones_are_kept(tmp_path: Path) -> None:
    store, small = RunStore(tmp_path), case("kitchen")
    allowed = read_choice_rules("2,4,8", (), None, "per-tensor,per-channel")
    wanted = task(measured=True, front=3, rules=allowed)

    def ask() -> Answer:
        data = small.data
        return drain_steps(
            optimize_bits(
                Study(small.network, data, data, store=store, calibrated=small.calibrated),
                wanted,
                store,
            )
        )

    first, second = ask(), ask()
    assert (first.taught, second.taught) == (0, 2)
    assert [run.name for run in store.all_runs()[:2]] == ["reference", "Mixed"]
    assert second.proposal.config == first.proposal.config
    before, after = first.proposal.prediction, second.proposal.prediction
    assert after.sqnr_ci95.high - after.sqnr_ci95.low < before.sqnr_ci95.high - before.sqnr_ci95.low
    told = json_answer(second, small.network)
    assert told["taught_by_runs"] == 2
    assert told["sensitivity"]["granularities"] == ["per-channel", "per-tensor"]
    grains = {row["weight_granularity"] for row in told["choice"]["layers"]}
    assert grains <= {"per-channel", "per-tensor", None}


def test_screened_answers_are_checked_where_they_are_loud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("analysis.sensitivity.recheck.LOUD_DB", 60.0)
    found = answer(depth=Depth.SCREENING)
    assert find_loud_layers(found.sensitivity) == ()
    checked = [score for score in found.sensitivity.scores if score.agreement is not None]
    exact = {score.question: score for score in answer().sensitivity.scores}
    assert checked
    assert all(one.sqnr_db == pytest.approx(exact[one.question].sqnr_db) for one in checked)


def test_pins_and_edges_hold_in_the_answer() -> None:
    budget = Budget(Quantity.ENERGY, 0.9, relative=True)
    found = answer(pins=("conv2=6/-",), edge_bits=8, budgets=(budget,))
    bits = bits_by_part(found.proposal.config, case("kitchen").network.graph)
    assert bits["conv2", Side.WEIGHTS] == 6
    assert bits["input", Side.ACTIVATIONS] == bits["conv1", Side.WEIGHTS] == 8
    assert bits["linear", Side.WEIGHTS] == bits["linear", Side.ACTIVATIONS] == 8


def test_the_cheapest_within_a_loss_is_found() -> None:
    found = answer(budgets=(), least=Quantity.ENERGY, most_loss=0.3)
    assert found.proposal.prediction.loss is not None
    assert found.proposal.prediction.loss <= 0.3
    assert found.proposal.cost.energy_pj < found.reference.cost.energy_pj


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"budgets": ()}, "needs a budget"),
        ({"most_loss": 0.1}, "A loss bounds a quantity"),
        ({"budgets": (), "least": Quantity.SIZE}, "needs a bound on the loss"),
    ],
)
def test_a_task_that_asks_for_nothing_is_told(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        task(**changes)


def test_words_are_read() -> None:
    assert read_budget("energy=0.6", relative=True) == Budget(Quantity.ENERGY, 0.6, relative=True)
    assert read_budget("bops=1e9", relative=False) == Budget(Quantity.BOPS, 1e9)
    assert read_pin("blocks.0.conv=8/4") == Pin("blocks.0.conv", 8, 4)
    assert read_pin("a=b=-/4") == Pin("a=b", None, 4)
    assert read_bit_choices("8, 2,4,2") == (8, 4, 2)
    assert read_uniform_bits("W6a8") == (6, 8)
    assert read_uniform_bits("wish.json") is None
    assert read_uniform_bits("w8") is None
    assert read_granularities("") is None
    both = (Granularity.PER_TENSOR, Granularity.PER_CHANNEL)
    assert read_granularities("per-tensor, per-channel") == both
    with pytest.raises(ConfigError, match="Granularities must be of"):
        read_granularities("per-cow")


@pytest.mark.parametrize("text", ["energy", "energy=", "energy=x", "energy=0", "power=0.5", "=1"])
def test_a_budget_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"Write energy=0\.6"):
        read_budget(text, relative=True)


@pytest.mark.parametrize("text", ["conv", "conv=8", "=8/8", "conv=8/8/8", "conv=1/8", "c=-/-"])
def test_a_pin_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"Write head\.0=8/8"):
        read_pin(text)


@pytest.mark.parametrize("text", ["", "8,", "1,8", "8,32", "x"])
def test_bits_that_are_none_are_told(text: str) -> None:
    with pytest.raises(ConfigError, match="numbers from 2 to 16"):
        read_bit_choices(text)


def test_measured_points_correct_the_predictor() -> None:
    search = search_of()
    small = case("kitchen")
    front = drain_steps(find_pareto_front(search, Quantity.ENERGY, 4))
    before = search.predictor
    kept: list[Run] = []
    steps = measure_proposals(
        search,
        Study(search.network, small.data, calibrated=small.calibrated),
        front.proposals,
        keep=kept.append,
    )
    found = drain_steps(steps)
    assert [one.run for one in found] == kept
    assert len(search.predictor.networks) == len(before.networks) + len(found)
    corrected = update_front(front, search.predictor)
    after = [replace(m, proposal=p) for m, p in zip(found, corrected.proposals, strict=True)]
    assert prediction_error(after).rms_db <= prediction_error(found).rms_db
    assert [p.config for p in corrected.proposals] == [p.config for p in front.proposals]


def test_a_cancelled_queue_loses_no_run() -> None:
    search, small = search_of(), case("kitchen")
    kept: list[Run] = []
    proposals = [
        search.judge_config(name, search.uniform_config(8, 8)) for name in ("one", "two", "three")
    ]
    steps = measure_proposals(
        search,
        Study(search.network, small.data, calibrated=small.calibrated),
        proposals,
        keep=kept.append,
    )
    while not kept:
        progress = next(steps)
    steps.close()
    assert [run.name for run in kept] == ["one"]
    assert progress.fraction < 0.7


def test_the_error_of_predictions_is_counted() -> None:
    search, small = search_of(), case("kitchen")
    found = drain_steps(
        measure_proposals(
            search,
            Study(search.network, small.data, calibrated=small.calibrated),
            [search.judge_config("a", search.uniform_config(4, 4))],
        )
    )
    error = prediction_error(found)
    off = found[0].run.evaluation.sqnr_db - found[0].proposal.prediction.sqnr_db
    assert error.bias_db == pytest.approx(off)
    assert error.rms_db == pytest.approx(abs(off))
    assert (error.count, error.intervals) == (1, 2)
