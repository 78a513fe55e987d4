"""What a report gathers, and what it says it does not know."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accelerator.machine import load_machine, load_preset
from analysis.calibration import calibrate_network
from analysis.cost.estimate import estimate_config_cost
from analysis.cost.quantity import Quantity
from analysis.network import Network
from analysis.reporting.contents import Report, ReportOrigin
from analysis.reporting.gather import Around, gather_run_report, layer_choices
from analysis.reporting.reproduce import command_for_run, repairs_beyond_command
from analysis.reporting.trade_off import read_optimize_answer, trade_point_of_run
from analysis.runs.apply_recipe import repair_float_network
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import record_of_run
from analysis.runs.repair import repair_and_measure, run_from_steps
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run, RunStore
from analysis.sensitivity.analyze import analyze_exactly
from analysis.sensitivity.exact.executors import Pool
from analysis.sensitivity.stored import output_noise_by_layer, stored_sensitivity
from analysis.sensitivity.sweep import Sweep
from analysis.split import ImageChoice, Split, choose_data_split
from analysis.study import Study
from commands.work.make_report import ReportTask, find_run, make_run_report, open_run_store
from quant.config import config_from_dict, uniform_config
from quant.errors import ConfigError
from quant.passes.methods import Method
from quant.passes.recipe import build_recipe
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.spec import Granularity
from tests.analysis.results import report as cost_report
from tests.analysis.results import run as run_of_results
from tests.sample_networks import sample_network

MODEL, MACHINE = "fashion-resnet", load_preset("bitfusion_like")
CONFIG = uniform_config(4, 8)
CHOICE = ImageChoice(samples=40, calibration=16)
NOW = Experiment(CONFIG, MACHINE, given_name="now")


@pytest.fixture(scope="module")
def network() -> Network:
    return sample_network(MODEL)


@pytest.fixture(scope="module")
def images(network: Network) -> Split:
    return choose_data_split(MODEL, network, CONFIG, CHOICE)


@pytest.fixture(scope="module")
def measured(network: Network, images: Split) -> Run:
    assert images.calibration is not None
    ranges = drain_steps(calibrate_network(network, images.calibration, images.input_range))
    what = Experiment(CONFIG, MACHINE, given_name="four")
    return drain_steps(measure_experiment(Study(network, images.score, calibrated=ranges), what))


def gathered(run: Run, **around: Any) -> Report:
    return drain_steps(gather_run_report(run, Around(**around)))


@pytest.fixture(scope="module")
def equalized() -> tuple[Study, Run]:
    """A run of the imbalanced sample at W8A8 per tensor, repaired step by step, and its study."""
    network = sample_network("fashion-mobilenet-imbalanced")
    recipe = build_recipe(equalize=True, correct_bias=Method.EMPIRICAL)
    config = uniform_config(8, 8, Granularity.PER_TENSOR)
    study = Study.of_split(network, choose_data_split(network.name, network, config, CHOICE))
    run = measure_experiment(study, Experiment(config, MACHINE, recipe), with_steps=True)
    return study, drain_steps(run)


class TestRepairedRun:
    """The report of a repaired run is of the run's own network at the run's own bits."""

    def test_the_steps_are_kept_with_the_run(
        self, equalized: tuple[Study, Run], tmp_path: Path
    ) -> None:
        study, run = equalized
        store = RunStore(tmp_path)
        store.save_run(run)
        (back,) = store.all_runs()
        assert back.steps == run.steps
        titles = ["Plain quantization", "Equalize", "Correct biases (empirical)"]
        assert [step.title for step in back.steps] == titles
        plain = Experiment(config_from_dict(run.config), MACHINE)
        first = drain_steps(measure_experiment(study, plain)).evaluation
        assert run.steps[0].score == first.quantized_top1
        assert run.steps[-1].score == run.evaluation.quantized_top1
        found = gathered(back).repairs
        assert found is not None
        assert [one.value for one in found.scores] == [step.score for step in run.steps]

    def test_sensitivity_and_suspects_are_those_of_the_repaired_network(
        self, equalized: tuple[Study, Run]
    ) -> None:
        study, run = equalized
        found = gathered(run, study=study)
        assert found.sensitivity is not None
        assert {score.question.bits for score in found.sensitivity.scores} == {8}
        assert set(found.noise) == {choice.layer for choice in found.choices}
        assert found.suspects is not None
        own = repair_float_network(study, record_of_run(run).experiment.recipe).network
        graph = study.network.graph
        moved = [
            layer.weight
            for layer in graph.layers
            if layer.weight is not None
            and not torch.equal(
                graph.stored_tensor(layer.weight), own.graph.stored_tensor(layer.weight)
            )
        ]
        assert moved
        plain = gathered(replace(run, recipe=()), study=study)
        assert plain.suspects is not None
        bits = {item.layer_name: item.bits_lost for item in found.suspects}
        before = {item.layer_name: item.bits_lost for item in plain.suspects}
        assert max(before.values()) > max(bits.values()) + 1


class TestGather:
    def test_a_run_alone_says_what_is_missing(self, measured: Run) -> None:
        found = gathered(measured)
        told = " ".join(found.missing)
        assert found.model is None
        assert found.machine == MACHINE  # a preset is known by its name
        for said in ("nothing ran on the machine", "was not loaded", "No sensitivity", "No front"):
            assert said in told

    def test_the_model_is_priced_as_float_and_at_eight_bits(
        self, network: Network, measured: Run
    ) -> None:
        facts = gathered(measured, study=Study(network)).model
        assert facts is not None
        assert facts.at_8_bits == estimate_config_cost(network, uniform_config(8, 8), MACHINE)
        assert facts.as_float.energy_pj > facts.at_8_bits.energy_pj
        assert (facts.parameters, facts.macs) == (network.parameters, network.mac_count)

    def test_another_model_is_refused(self, network: Network, measured: Run) -> None:
        with pytest.raises(ConfigError, match="must be that of the run"):
            gathered(replace(measured, model_digest="other"), study=Study(network))

    def test_another_machine_is_not_taken_for_the_runs(
        self, network: Network, measured: Run
    ) -> None:
        own = replace(measured, cost=replace(measured.cost, machine="mine"))
        found = gathered(own, study=Study(network), machine=MACHINE)
        assert found.machine is None
        assert found.model is None
        assert "sources of the numbers are unknown" in " ".join(found.missing)

    def test_choices_are_those_of_the_configuration(self, network: Network) -> None:
        rows = {row.layer: row for row in layer_choices(network, CONFIG)}
        assert list(rows) == [layer.name for layer in network.graph.layers]
        weighted = next(layer for layer in network.graph.layers if layer.weight is not None)
        assert rows[weighted.name].weight_bits == 4
        assert rows[weighted.name].weight == "per-channel, symmetric, mse"
        assert rows["input"].weight_bits is None

    def test_suspects_are_sorted_and_are_on_a_grid(self, network: Network, measured: Run) -> None:
        found = gathered(measured, study=Study(network)).suspects
        assert found is not None
        lost = [item.bits_lost for item in found]
        assert lost == sorted(lost, reverse=True)
        assert all(item.fit is not None for item in found)

    def test_only_runs_that_can_be_compared_stand_beside(
        self, measured: Run, tmp_path: Path
    ) -> None:
        store = RunStore(tmp_path)
        other = replace(measured, id="b", name="other")
        for run in (measured, other, replace(measured, id="c", data_digest="x")):
            store.save_run(run)
        assert [run.id for run in gathered(measured, store=store).others] == ["b"]

    def test_what_the_store_knows_of_layers_is_told(
        self, network: Network, images: Split, measured: Run, tmp_path: Path
    ) -> None:
        assert images.calibration is not None
        store = RunStore(tmp_path)
        study = Study.of_split(network, images, store)
        drain_steps(study.collect_statistics())
        around = {"study": study, "store": store}
        assert gathered(measured, **around).sensitivity is None
        sweep = Sweep(CONFIG, (8, 4))
        known = drain_steps(
            analyze_exactly(study.with_scored_images(images.score.first(8)), sweep, Pool())
        )
        found = gathered(measured, **around)
        assert found.sensitivity is not None
        assert len(found.sensitivity.scores) == len(known.scores)
        assert set(found.noise) == {layer.name for layer in network.graph.layers}
        assert "sensitivity" not in " ".join(found.missing).lower()

    def test_repairs_count_only_where_they_are_the_runs(
        self, network: Network, images: Split
    ) -> None:
        ranges = drain_steps(calibrate_network(network, images.calibration, images.input_range))  # type: ignore[arg-type]
        recipe = build_recipe(equalize=True)
        steps = drain_steps(
            repair_and_measure(
                Study(network, images.score, images.calibration, calibrated=ranges), CONFIG, recipe
            )
        )
        study = Study.of_split(network, images)
        repaired = run_from_steps(
            steps, study, Experiment(CONFIG, MACHINE, recipe, given_name="repaired")
        )
        found = gathered(repaired, steps=steps).repairs
        assert found is not None
        assert found.titles == ("Plain quantization", "Equalize")
        assert found.scores[-1].value == repaired.evaluation.quantized_top1
        assert len(found.verdicts) == 1
        changed = replace(repaired.evaluation, sqnr_db=1.0)
        other = replace(repaired, evaluation=changed, steps=())
        assert gathered(other, steps=steps).repairs is None
        assert "The effect of each repair was not recorded" in " ".join(
            gathered(other, steps=steps).missing
        )


class TestSensitivityKnown:
    def test_noise_is_that_of_both_sides_at_the_chosen_bits(
        self, network: Network, images: Split
    ) -> None:
        ranges = drain_steps(calibrate_network(network, images.calibration, images.input_range))  # type: ignore[arg-type]
        sweep = Sweep(CONFIG, (8, 4))
        found = drain_steps(
            analyze_exactly(Study(network, images.score.first(8), calibrated=ranges), sweep, Pool())
        )
        layer = next(x.name for x in network.graph.layers if x.weight is not None)
        at = {(s.question.layer, s.question.side, s.question.bits): s.sqnr_db for s in found.scores}
        expected = sum(
            10 ** (-at[layer, side, bits] / 10)
            for side, bits in ((Side.WEIGHTS, 4), (Side.ACTIVATIONS, 8))
        )
        assert output_noise_by_layer(found, CONFIG, network)[layer] == pytest.approx(expected)
        assert output_noise_by_layer(found, uniform_config(5, 8), network).keys() == {
            x.name for x in network.graph.layers if x.weight is None
        }

    def test_without_statistics_only_weights_are_looked_up(
        self, network: Network, images: Split, tmp_path: Path
    ) -> None:
        store = RunStore(tmp_path)
        sweep = Sweep(CONFIG, (4,), (Side.WEIGHTS,))
        drain_steps(
            analyze_exactly(
                Study(network, images.score.first(8), store=store),
                sweep,
                Pool(),
            )
        )
        found = stored_sensitivity(Study(network, images.score, store=store), CONFIG)
        assert found is not None
        assert {score.question.side for score in found.scores} == {Side.WEIGHTS}


class TestReproduce:
    def test_the_command_names_everything(self) -> None:
        run = replace(
            run_of_results("a", cost_report()),
            recipe=(
                "Equalize",
                "Correct biases (analytic)",
                "AdaRound (500 iterations)",
                "Reconstruct blocks (40 steps, 9 for the outputs)",
            ),
        )
        origin = ReportOrigin(
            "my model.pt2", "bitfusion_like", input_shape=(3, 8, 8), data="a b.npz",
            preprocess="{}", samples=10, calibration=4, seed=3,
        )  # fmt: skip
        assert command_for_run(run, origin) == (
            "python cli.py evaluate --model 'my model.pt2' --input-shape 3,8,8 --data 'a b.npz' "
            "--preprocess preprocess.json --samples 10 --calibration 4 --seed 3 "
            "--config configuration.json --machine bitfusion_like --equalize "
            "--correct-bias analytic --adaround --adaround-iterations 500 "
            "--reconstruct --reconstruct-steps 40 --output-steps 9"
        )
        assert repairs_beyond_command(run) == ()

    def test_a_name_cannot_add_a_command(self) -> None:
        origin = ReportOrigin("x; rm -rf /", "m")
        assert "'x; rm -rf /'" in command_for_run(run_of_results("a", cost_report()), origin)

    def test_passes_without_an_option_are_told(self) -> None:
        title = "Equalize, ReLU6 as ReLU"
        run = replace(run_of_results("a", cost_report()), recipe=(title,))
        assert repairs_beyond_command(run) == (title,)


def answer(run: Run, **changes: Any) -> dict[str, Any]:
    """An answer of optimize as JSON, as far as a report reads it."""

    def point(name: str, energy: float, loss: float | None) -> dict[str, Any]:
        return {
            "name": name,
            "cost": {"energy": energy, "size": 10.0},
            "predicted": {
                "sqnr_db": 20.0, "loss": loss, "loss_is_of": "top-1",
                "loss_ci95": None if loss is None else [0.0, 2 * loss],
            },
            "measured": None,
        }  # fmt: skip

    return {
        "model": run.model, "model_digest": run.model_digest, "machine": run.cost.machine,
        "least": None, "budgets": [{"quantity": "energy", "most": 0.6}],
        "choice": point("Mixed", 5.0, 0.1), "reference": point("reference", 9.0, 0.0),
        "front": [point("Mixed 9", 9.0, 0.0), point("Mixed 5", 5.0, 0.1), point("W8A8", 9.5, 0.0)],
        **changes,
    }  # fmt: skip


class TestFront:
    def test_the_answer_of_optimize_is_read(self) -> None:
        run = run_of_results("chosen", cost_report())
        found = read_optimize_answer(json.loads(json.dumps(answer(run))), run)
        assert found.quantity is Quantity.ENERGY
        assert [point.name for point in found.predicted] == ["Mixed 5", "Mixed 9"]
        assert [point.name for point in found.references] == ["W8A8"]
        assert found.chosen is not None
        assert found.chosen.cost == run.cost.energy_pj
        assert found.chosen.loss == run.evaluation.top1_drop
        assert found.measured == ()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"machine": "another"}, "must be of the run's machine"),
            ({"model_digest": "another"}, "must be of the run's model"),
            ({"front": None}, "with --front"),
            ({"front": [{}]}, "with --front"),
            ({"front": [{"name": 1}]}, "with --front"),
            ({"budgets": []}, "with --front"),
        ],
    )
    def test_anything_else_is_refused(self, change: dict[str, Any], said: str) -> None:
        run = run_of_results("chosen", cost_report())
        with pytest.raises(ValueError, match=said):
            read_optimize_answer(answer(run, **change), run)

    @pytest.mark.parametrize("raw", [None, 3, [], "text", {}])
    def test_what_is_no_answer_is_refused(self, raw: object) -> None:
        with pytest.raises(ValueError, match="optimize"):
            read_optimize_answer(raw, run_of_results("chosen", cost_report()))

    def test_without_labels_answers_count(self) -> None:
        run = run_of_results("chosen", cost_report())
        point = trade_point_of_run(run, Quantity.LATENCY, labelled=False)
        assert point.loss == pytest.approx(1 - run.evaluation.agreement)
        assert point.cost == run.cost.latency_s
        assert math.isfinite(point.sqnr_db)


class TestRoad:
    def task(self, **changes: Any) -> ReportTask:
        origin = ReportOrigin(MODEL, MACHINE.name)
        return replace(ReportTask(CHOICE, NOW, origin), **changes)

    def test_it_measures_and_keeps_where_there_is_no_run(
        self, network: Network, measured: Run, tmp_path: Path
    ) -> None:
        store = RunStore(tmp_path)
        found = drain_steps(make_run_report(network, self.task(store=store)))
        assert found.run.evaluation == measured.evaluation
        assert [run.name for run in store.all_runs()] == ["now"]
        assert found.origin is not None
        assert (found.origin.samples, found.origin.calibration) == (40, 16)

    def test_a_kept_run_is_reported_with_its_own_images(
        self, network: Network, measured: Run, tmp_path: Path
    ) -> None:
        store = RunStore(tmp_path)
        store.save_run(measured)
        task = self.task(
            run=measured,
            store=store,
            choice=ImageChoice(),
            experiment=replace(NOW, machine=load_preset("eyeriss_like")),
        )
        found = drain_steps(make_run_report(network, task))
        assert found.run == measured
        assert "not those of the run" not in " ".join(found.notes)
        assert found.machine == MACHINE
        assert found.origin is not None
        assert found.origin.machine == MACHINE.name
        assert found.origin.samples == measured.evaluation.samples

    def test_other_images_are_told_and_not_used(self, network: Network, measured: Run) -> None:
        other = replace(measured, data_digest="another")
        found = drain_steps(make_run_report(network, self.task(run=other)))
        assert "are not those of the run" in found.notes[0]
        assert "Ranges of activations were not examined" in " ".join(found.missing)

    def test_a_run_needs_no_model(self, measured: Run) -> None:
        assert drain_steps(make_run_report(None, self.task(run=measured))).run == measured

    def test_something_must_be_named(self) -> None:
        with pytest.raises(ConfigError, match="needs a model to measure, or a run"):
            drain_steps(make_run_report(None, self.task()))

    def test_a_machine_of_ones_own_is_named_by_its_file(
        self, network: Network, measured: Run, tmp_path: Path
    ) -> None:
        from accelerator.machine import MACHINES

        path = tmp_path / "mine.toml"
        text = (MACHINES / "bitfusion_like.toml").read_text()
        path.write_text(text.replace('"bitfusion_like"', '"mine"'))
        own = replace(measured, cost=replace(measured.cost, machine="mine"))
        origin = ReportOrigin(MODEL, str(path))
        experiment = replace(NOW, machine=load_machine(path))
        task = self.task(run=own, experiment=experiment, origin=origin)
        found = drain_steps(make_run_report(network, task))
        assert found.machine is not None
        assert found.machine.name == "mine"
        assert found.origin is not None
        assert found.origin.machine == str(path)

    def test_runs_are_found_by_id_by_its_start_and_by_name(
        self, measured: Run, tmp_path: Path
    ) -> None:
        store = RunStore(tmp_path)
        store.save_run(replace(measured, id="abc1", name="one"))
        store.save_run(replace(measured, id="abd2", name="two"))
        for identity in ("abc1", "abc", "one"):
            assert find_run(store, identity).name == "one"
        for identity in ("ab", "three", ""):
            with pytest.raises(ConfigError, match=r"must name one run.*abd2"):
                find_run(store, identity)

    def test_a_run_needs_its_folder(self, tmp_path: Path) -> None:
        assert open_run_store(None, None) is None
        for folder in (None, tmp_path / "nothing"):
            with pytest.raises(ConfigError, match="--runs"):
                open_run_store(folder, "x")
