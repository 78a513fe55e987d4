import json
import math
from functools import cache
from pathlib import Path

import pytest
import torch

from accelerator.machine import Machine, Storage, load_preset, preset_names
from accelerator.report import CostReport
from analysis.calibration import Calibrated, calibrate_network, config_needs_data
from analysis.cost.estimate import estimate_config_cost
from analysis.cost.workload import Entropies
from analysis.evaluation.layer_sqnr import measure_layer_sqnr
from analysis.network import Network, forward_first_output, prepare_network
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import experiment_from_plain
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run, RunStore
from analysis.study import Study
from data_io.dataset import Dataset
from quant.config import QuantConfig, Rule, config_from_dict, uniform_config
from quant.errors import CalibrationError
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from quant.spec import Estimator, SpecChange
from tests.analysis.sweeps import dataset
from tests.networks import CASES


@cache
def network(name: str = "plain") -> Network:
    case = CASES[name]
    return prepare_network(name, case.model(), case.shape, f"digest of {name}")


@cache
def data() -> Dataset:
    """Images whose labels are the float network's answers, so that it is always right."""
    inputs = CASES["plain"].inputs(40)
    answers = forward_first_output(network().graph, None, inputs).argmax(1)
    return dataset(inputs, answers, "digest of toy")


@cache
def calibrated() -> Calibrated:
    return drain_steps(calibrate_network(network(), data()))


def machine(name: str = "bitfusion_like") -> Machine:
    return load_preset(name)


def run(config: QuantConfig, name: str = "run") -> Run:
    return drain_steps(
        measure_experiment(
            Study(network(), data(), calibrated=calibrated()),
            Experiment(config, machine(), seed=7, given_name=name),
        )
    )


def test_the_whole_road_and_back_from_disk(tmp_path: Path) -> None:
    config = QuantConfig(rules=(Rule("first", weight=SpecChange(bits=4)),))
    found = run(config, "first at 4 bits")
    assert (found.name, found.model, found.model_digest) == (
        "first at 4 bits", "plain", "digest of plain",
    )  # fmt: skip
    assert (found.data, found.data_digest, found.calibration_images) == ("toy", data().digest, 40)
    assert found.experiment is not None
    recorded = experiment_from_plain(found.experiment).experiment
    assert recorded.on_model_and_data("", "") == Experiment(
        config, machine(), given_name=found.name, seed=7
    )
    assert (recorded.model_digest, recorded.data_digest) == (network().digest, data().digest)
    assert (found.evaluation.samples, found.evaluation.float_top1, found.seed) == (40, 1.0, 7)
    assert found.evaluation.sqnr_db > 5
    assert found.cost == estimate_config_cost(network(), config, machine())
    assert config_from_dict(found.config) == config
    layers = [layer.name for layer in network().graph.layers]
    assert list(found.layer_sqnr_db) == layers
    RunStore(tmp_path).save_run(found)
    assert RunStore(tmp_path).all_runs() == (found,)


def test_a_report_is_plain_json() -> None:
    report = estimate_config_cost(network(), uniform_config(8, 8), machine())
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert json.loads(text)["energy_pj"] == pytest.approx(report.energy_pj)


def test_float_is_exact() -> None:
    found = run(uniform_config(32, 32)).evaluation
    assert (found.agreement, found.sqnr_db) == (1.0, math.inf)
    assert (found.float_top1, found.quantized_top1, found.top1_drop) == (1.0, 1.0, 0.0)


def test_fewer_bits_are_noisier_and_cheaper() -> None:
    runs = [run(uniform_config(bits, bits)) for bits in (8, 4, 2)]
    noise = [found.evaluation.sqnr_db for found in runs]
    energy = [found.cost.energy_pj for found in runs]
    assert noise == sorted(noise, reverse=True)
    assert noise[0] > 25
    assert energy == sorted(energy, reverse=True)


def test_progress_grows_to_one() -> None:
    steps = measure_experiment(
        Study(network(), data(), calibrated=calibrated()),
        Experiment(uniform_config(8, 8), machine(), given_name="p"),
    )
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_calibration_is_needed_unless_ranges_follow_from_batch_norms() -> None:
    config = uniform_config(8, 8)
    assert config_needs_data(network(), config)
    assert not config_needs_data(network(), uniform_config(4, 32))
    free = SpecChange(estimator=Estimator.BATCH_NORM)
    assert not config_needs_data(network(), QuantConfig(rules=(Rule("*", activation=free),)))
    with pytest.raises(CalibrationError, match="Calibrate first"):
        drain_steps(
            measure_experiment(
                Study(network(), data(), calibrated=Calibrated()),
                Experiment(config, machine(), given_name="x"),
            )
        )


def test_bits_matter_on_a_machine_that_fuses_them() -> None:
    name = "fashion-resnet"
    eight, four, mixed = (
        estimate_config_cost(network(name), config, machine())
        for config in (
            uniform_config(8, 8),
            uniform_config(4, 4),
            QuantConfig(rules=(Rule("first", SpecChange(bits=2)),)),
        )
    )
    assert four.energy_pj < 0.7 * eight.energy_pj
    assert four.cycles < eight.cycles
    assert four.latency_s < eight.latency_s
    assert four.weight_bytes < 0.6 * eight.weight_bytes
    assert four.bops == eight.bops // 4
    assert mixed.energy_pj < eight.energy_pj
    assert four.macs == eight.macs == network(name).mac_count


def test_bits_save_no_cycles_on_an_eight_bit_machine() -> None:
    edge = machine("edge_systolic_8b")
    eight, four = (
        estimate_config_cost(network("fashion-resnet"), uniform_config(b, b), edge) for b in (8, 4)
    )
    assert four.cycles == eight.cycles
    assert four.energy_pj == eight.energy_pj
    asked = [layer for layer in four.layers if layer.kind == "conv"]
    assert asked
    for layer in asked:
        assert (layer.requested_weight_bits, layer.compute_weight_bits) == (4, 8)
        assert (layer.stored_weight_bits, layer.stored_activation_bits) == (8, 8)
    assert all(layer.warnings for layer in asked)


@pytest.mark.parametrize("name", preset_names())
def test_every_machine_prices_every_kind_of_network(name: str) -> None:
    for model in ("plain", "kitchen", "gated", "attention", "one-dimensional", "transposed"):
        report = estimate_config_cost(network(model), uniform_config(8, 8), machine(name))
        assert report.energy_pj > 0
        assert report.latency_s > 0
        assert report.macs == network(model).mac_count


def test_entropy_counts_where_weights_are_compressed() -> None:
    name = next(n for n in preset_names() if machine(n).weight_storage is Storage.ENTROPY)
    known: Entropies = {}
    reports: list[CostReport] = [
        estimate_config_cost(network(), uniform_config(bits, 8), machine(name), known)
        for bits in (8, 4)
    ]
    assert reports[1].weight_bytes < reports[0].weight_bytes
    assert len(known) == 2 * sum(layer.weight is not None for layer in network().graph.layers)


def test_a_run_takes_the_entropies_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(n for n in preset_names() if machine(n).weight_storage is Storage.ENTROPY)
    study = Study(network(), data(), calibrated=calibrated())
    report = estimate_config_cost(
        network(), uniform_config(8, 8), machine(name), study.weight_entropies
    )
    monkeypatch.setattr("analysis.cost.workload.entropy_bits", None)  # measuring again would fail
    wanted = Experiment(uniform_config(8, 8), machine(name), given_name="known")
    found = drain_steps(measure_experiment(study, wanted))
    assert found.cost == report


def test_layer_sqnr_of_one_noisy_layer() -> None:
    graph = network().graph
    noisy = next(layer.name for layer in graph.layers if layer.kind == "depthwise")
    config = QuantConfig(uniform_config(32, 32).default, (Rule(noisy, weight=SpecChange(bits=2)),))
    found = measure_layer_sqnr(
        network(), quantize_graph(graph, config), CASES["plain"].inputs(40)[:4]
    )
    names = list(found)
    at = names.index(noisy)
    assert [found[name] for name in names[:at]] == [math.inf] * at
    assert all(math.isfinite(found[name]) for name in names[at:])


def test_layer_sqnr_by_hand() -> None:
    linear = torch.nn.Linear(2, 2, bias=False)
    weight = torch.tensor([[1.0, 0.3], [0.2, 0.9]])
    linear.load_state_dict({"weight": weight})
    small = prepare_network("two", torch.nn.Sequential(linear), (2,), "d")
    config = QuantConfig(uniform_config(32, 32).default, (Rule("0", weight=SpecChange(bits=8)),))
    graph = quantize_graph(small.graph, config)
    inputs = torch.tensor([[1.0, 2.0]])
    encoding = graph.quantizers["0 weight"].encoding
    assert encoding is not None
    error = (weight - encoding.fake_quantize(weight)) @ inputs[0]
    wanted = 10 * math.log10(float((weight @ inputs[0]).square().sum() / error.square().sum()))
    assert measure_layer_sqnr(small, graph, inputs)["0"] == pytest.approx(wanted, rel=1e-4)
    assert measure_layer_sqnr(small, graph, inputs)["input"] == math.inf


def side_study() -> Study:
    return Study(network(), data(), calibrated=calibrated())


def test_the_sides_of_a_bad_run_are_those_of_runs_with_the_other_side_in_float() -> None:
    def measured(weights: int, activations: int) -> Run:
        experiment = Experiment(uniform_config(weights, activations), machine())
        return drain_steps(measure_experiment(side_study(), experiment, with_sides=True))

    both = measured(2, 3)
    weights, activations = both.sides
    for loss, alone in ((weights, measured(2, 32)), (activations, measured(32, 3))):
        assert alone.sides == (), "one side is float: there is nothing to tell apart"
        assert loss.points == pytest.approx(100 * (alone.evaluation.top1_drop or 0))
        assert (loss.unit, loss.images) == ("points of top-1", 40)
    assert weights.points > 1


def test_sides_are_scored_where_they_are_asked_for_and_where_much_is_lost() -> None:
    few = Experiment(uniform_config(2, 3), machine())
    assert drain_steps(measure_experiment(side_study(), few)).sides == ()
    many = Experiment(uniform_config(16, 16), machine())
    assert drain_steps(measure_experiment(side_study(), many, with_sides=True)).sides == ()


@pytest.mark.parametrize("bits", [3, 16])
def test_the_progress_of_a_run_with_sides_grows_to_one(bits: int) -> None:
    experiment = Experiment(uniform_config(2 if bits == 3 else bits, bits), machine())
    steps = measure_experiment(side_study(), experiment, with_sides=True)
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
