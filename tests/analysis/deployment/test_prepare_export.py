"""What is taken home has every range, from images or a file, or says what is missing."""

import math

import pytest
import torch

from accelerator.machine import load_preset
from analysis.calibration import Calibrated, calibrate
from analysis.cost.estimate import cost
from analysis.deployment.prepare_export import layer_numbers, quantized_to_take
from analysis.network import Network
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep
from data_io.dataset import Dataset
from quant.config import LayerConfig, QuantConfig, uniform
from quant.errors import CalibrationError
from quant.passes.use_grids import UseGrids
from quant.progress import drain
from quant.simulation.plan import Side
from tests.analysis.sweeps import dataset
from tests.networks import CASES, graph_of

MACHINE = load_preset("edge_systolic_8b")


def network() -> Network:
    return Network("kitchen", "digest", graph_of("kitchen"), 0)


@pytest.fixture
def data() -> Dataset:
    return dataset(CASES["kitchen"].inputs(12))


def test_ranges_come_from_images(data: Dataset) -> None:
    ranges = drain(calibrate(network(), data))
    stage = drain(quantized_to_take(network(), uniform(8, 8), ranges))
    assert all(q.encoding is not None for q in stage.quantized.quantizers.values())


def test_a_file_may_have_all_of_them(data: Dataset) -> None:
    ranges = drain(calibrate(network(), data))
    known = drain(quantized_to_take(network(), uniform(8, 8), ranges)).quantized
    grids = {name: q.encoding for name, q in known.quantizers.items() if q.encoding is not None}
    steps = quantized_to_take(network(), uniform(8, 8), Calibrated(), (UseGrids(grids, "f"),))
    taken = drain(steps).quantized
    inputs = CASES["kitchen"].inputs(4)
    with torch.inference_mode():
        assert torch.equal(taken(inputs), known(inputs))
    del grids["conv1"]
    with pytest.raises(CalibrationError, match="'conv1'"):
        drain(quantized_to_take(network(), uniform(8, 8), Calibrated(), (UseGrids(grids, "f"),)))


def test_without_images_or_file_it_says_what_to_do() -> None:
    with pytest.raises(CalibrationError, match="Choose images to calibrate on, or a file"):
        drain(quantized_to_take(network(), uniform(8, 8), Calibrated()))


def test_float_activations_need_neither() -> None:
    assert drain(quantized_to_take(network(), uniform(4, 32), Calibrated())).quantized


def test_numbers_of_layers(data: Dataset) -> None:
    config = QuantConfig(LayerConfig())
    stage = drain(quantized_to_take(network(), config, drain(calibrate(network(), data))))
    report = cost(network(), config, MACHINE)
    question = Question("conv1", 8, Side.WEIGHTS)
    sweep = Sweep(config, (8,), (Side.WEIGHTS,))
    score = CellScore(question, Depth.EXACT, 12, sqnr_db=20.0)
    known = Sensitivity(sweep, Depth.EXACT, 12, None, (score,))
    sqnr, energy, harm = layer_numbers(stage, report, config, data, known)
    assert (sqnr.name, sqnr.unit, sqnr.low_is_bad) == ("SQNR", "dB", True)
    assert set(sqnr.values) == {layer.name for layer in network().graph.layers}
    assert all(math.isfinite(value) or value > 0 for value in sqnr.values.values())
    first = report.layers[0]
    assert energy.values[first.layer] == pytest.approx(first.energy_pj / 1e3)
    assert harm.values == {"conv1": pytest.approx(1.0)}  # 20 dB are 1 % of noise
    assert [n.name for n in layer_numbers(stage, report, config)] == ["Energy"]
