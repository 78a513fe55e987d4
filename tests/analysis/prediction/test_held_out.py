"""Predictions against measured networks that taught nothing: how far off, how often in the band."""

import random

import numpy as np
import pytest

from analysis.calibration import calibrate_network
from analysis.evaluation.evaluate import Evaluation, evaluate_network
from analysis.prediction.noise_table import NoiseSum, build_noise_table
from analysis.prediction.predictor import Predictor, predictor_from_sweep
from analysis.sensitivity.analyze import analyze_sensitivity
from analysis.sensitivity.recheck import find_loud_layers, recheck_loud_layers
from analysis.sensitivity.sweep import DEFAULT_BITS, Depth, Sweep
from analysis.study import Study
from data_io.bundled import fashion_test_set, fashion_train_part
from quant.assignment import cells_of_config, config_with_bits, parts_of_graph
from quant.config import uniform_config
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from tests.sample_networks import sample_network

Measured = list[tuple[NoiseSum, Evaluation]]
TAUGHT, IMAGES = 4, 300


@pytest.fixture(scope="module")
def known() -> tuple[Predictor, Measured]:
    """A screened network, and even and random bits measured on other images, shuffled."""
    network = sample_network("fashion-mobilenet")
    seen, config = fashion_train_part().sample(64), uniform_config(8, 8)
    calibrated = drain_steps(calibrate_network(network, seen))
    sweep = Sweep(config, DEFAULT_BITS)
    few = seen.first(32)
    screened = drain_steps(
        analyze_sensitivity(Study(network, few, calibrated=calibrated), sweep, Depth.SCREENING)
    )
    found = drain_steps(recheck_loud_layers(Study(network, few, calibrated=calibrated), screened))
    assert "stem.0" in find_loud_layers(screened)
    assert find_loud_layers(found) == ()
    table, graph = build_noise_table(network.graph, found), network.graph
    parts, draw = parts_of_graph(graph), random.Random(0)
    configs = [uniform_config(w, a) for w, a in ((8, 8), (6, 8), (6, 6), (4, 8), (3, 8), (8, 4))]
    for offered in ((8, 6), (8, 6, 4), (8, 8, 6, 4, 3), (6, 4)) * 2:
        bits = {part: draw.choice(offered) for part in parts}
        configs += [config_with_bits(config, graph, bits)]
    draw.shuffle(configs)
    data, measured = fashion_test_set().sample(IMAGES), []
    for wish in configs:
        score = drain_steps(
            evaluate_network(network, quantize_graph(graph, wish, calibrated.statistics), data)
        )
        measured.append((table.sum_cells(cells_of_config(wish, graph)), score))
    return predictor_from_sweep(found), measured


def taught(predictor: Predictor, measured: Measured) -> Predictor:
    for one in measured:
        predictor = predictor.learn_measurement(*one)
    return predictor


def test_bands_hold_what_is_measured_later(known: tuple[Predictor, Measured]) -> None:
    first, measured = known
    held = []
    for start in range(len(measured)):  # each four in turn teach, the others are predicted
        turned = measured[start:] + measured[:start]
        predictor = taught(first, turned[:TAUGHT])
        for summed, score in turned[TAUGHT:]:
            said = predictor.predict_network(summed)
            assert said.loss_ci95 is not None
            assert score.top1_drop is not None or not predictor.labelled
            loss = score.top1_drop if predictor.labelled else 1 - score.agreement
            held.append(said.sqnr_ci95.low <= score.sqnr_db <= said.sqnr_ci95.high)
            held.append(said.loss_ci95.low <= max(loss or 0.0, 0.0) <= said.loss_ci95.high)
    assert 0.88 <= np.mean(held) <= 1.0


def test_what_is_measured_brings_its_own_prediction_nearer_and_narrows_it(
    known: tuple[Predictor, Measured],
) -> None:
    first, measured = known
    before, after = taught(first, measured[:TAUGHT]), taught(first, measured)
    errors, widths = np.zeros(2), np.zeros(2)
    for summed, score in measured[TAUGHT:]:
        for place, predictor in enumerate((before, after)):
            said = predictor.predict_network(summed)
            errors[place] += (said.sqnr_db - score.sqnr_db) ** 2
            widths[place] += said.sqnr_ci95.high - said.sqnr_ci95.low
    assert errors[1] < 0.3 * errors[0]
    assert widths[1] < 0.7 * widths[0]
