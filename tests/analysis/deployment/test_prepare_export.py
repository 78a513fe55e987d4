"""What is taken home has every range, from images or a file, or says what is missing."""

import math

import pytest
import torch

from accelerator.machine import load_preset
from analysis.cost.estimate import estimate_config_cost
from analysis.deployment.prepare_export import collect_layer_numbers, quantize_for_export
from analysis.network import Network
from analysis.runs.experiment import Experiment
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep
from analysis.study import Study
from data_io.dataset import Dataset
from quant.config import LayerConfig, QuantConfig, uniform_config
from quant.encoding import Encoding
from quant.errors import CalibrationError
from quant.file_encodings import Given
from quant.progress import drain_steps
from quant.simulation.plan import Side
from tests.analysis.sweeps import dataset
from tests.networks import CASES, graph_of

MACHINE = load_preset("edge_systolic_8b")


def network() -> Network:
    return Network("kitchen", "digest", graph_of("kitchen"), 0)


def experiment(config: QuantConfig, encodings: dict[str, Encoding] | None = None) -> Experiment:
    given = None if encodings is None else Given("f", config, encodings)
    return Experiment(config, MACHINE, encodings=given)


@pytest.fixture
def data() -> Dataset:
    return dataset(CASES["kitchen"].inputs(12))


def test_ranges_come_from_images(data: Dataset) -> None:
    study = Study(network(), calibration=data)
    stage = drain_steps(quantize_for_export(study, experiment(uniform_config(8, 8))))
    assert all(q.encoding is not None for q in stage.quantized.quantizers.values())


def test_a_file_may_have_all_of_them(data: Dataset) -> None:
    study, config = Study(network(), calibration=data), uniform_config(8, 8)
    known = drain_steps(quantize_for_export(study, experiment(config))).quantized
    encodings = {name: q.encoding for name, q in known.quantizers.items() if q.encoding is not None}
    taken = drain_steps(
        quantize_for_export(Study(network()), experiment(config, encodings))
    ).quantized
    inputs = CASES["kitchen"].inputs(4)
    with torch.inference_mode():
        assert torch.equal(taken(inputs), known(inputs))
    del encodings["conv1"]
    with pytest.raises(CalibrationError, match="'conv1'"):
        drain_steps(quantize_for_export(Study(network()), experiment(config, encodings)))


def test_without_images_or_file_it_says_what_to_do() -> None:
    with pytest.raises(CalibrationError, match="Choose data to calibrate on, or a file"):
        drain_steps(quantize_for_export(Study(network()), experiment(uniform_config(8, 8))))


def test_float_activations_need_neither() -> None:
    assert drain_steps(
        quantize_for_export(Study(network()), experiment(uniform_config(4, 32)))
    ).quantized


def test_numbers_of_layers(data: Dataset) -> None:
    config = QuantConfig(LayerConfig())
    stage = drain_steps(quantize_for_export(Study(network(), calibration=data), experiment(config)))
    report = estimate_config_cost(network(), config, MACHINE)
    question = Question("conv1", 8, Side.WEIGHTS)
    sweep = Sweep(config, (8,), (Side.WEIGHTS,))
    score = CellScore(question, Depth.EXACT, 12, sqnr_db=20.0)
    known = Sensitivity(sweep, Depth.EXACT, 12, None, (score,))
    sqnr, energy, harm = collect_layer_numbers(stage, report, config, data, known)
    assert (sqnr.name, sqnr.unit, sqnr.low_is_bad) == ("SQNR", "dB", True)
    assert set(sqnr.values) == {layer.name for layer in network().graph.layers}
    assert all(math.isfinite(value) or value > 0 for value in sqnr.values.values())
    first = report.layers[0]
    assert energy.values[first.layer] == pytest.approx(first.energy_pj / 1e3)
    assert harm.values == {"conv1": pytest.approx(1.0)}  # 20 dB are 1 % of noise
    assert [n.name for n in collect_layer_numbers(stage, report, config)] == ["Energy"]
