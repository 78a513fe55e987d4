"""Figures of a difference and of a layer: they say what they show, and hold the exact numbers."""

import json
import math

import pytest

from accelerator.machine import load_preset
from analysis.cost.compare_configs import ConfigDiff, diff_configs
from analysis.evaluation.measures import Interval
from analysis.mixed_precision.layer_options import Explanation, explain_layer_bits
from analysis.network import Network, prepare_network
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep
from figures import takeaway
from figures.configure.compare import moved_energy, transition_matrix
from figures.configure.layer_options import explain_in_words, loss_text, widths_explained
from quant.config import QuantConfig, uniform_config
from quant.simulation.plan import Side
from tests.networks import CASES

MACHINE = load_preset("bitfusion_like")


@pytest.fixture(scope="module")
def network() -> Network:
    case = CASES["plain"]
    return prepare_network("plain", case.model(), case.shape, "digest")


def diff(network: Network, after: QuantConfig) -> ConfigDiff:
    return diff_configs(network, uniform_config(8, 8), after, MACHINE)


def explained(network: Network, known: Sensitivity | None = None) -> Explanation:
    layer = next(x.name for x in network.graph.layers if x.weight is not None)
    return explain_layer_bits(network, uniform_config(4, 8), layer, MACHINE, known)


def measured(network: Network, **figures: float | Interval) -> Sensitivity:
    layer = next(x.name for x in network.graph.layers if x.weight is not None)
    scores = tuple(
        CellScore(Question(layer, bits, Side.WEIGHTS), Depth.EXACT, 200, 20.0, **figures)  # type: ignore[arg-type]
        for bits in (2, 4, 8)
    )
    return Sensitivity(Sweep(uniform_config(8, 8)), Depth.EXACT, 200, 0.9, scores)


def test_the_matrix_counts_every_layer_once_a_side(network: Network) -> None:
    figure = transition_matrix(diff(network, uniform_config(4, 8)))
    counts = [int(n) for trace in figure.data if trace.type == "scatter" for n in trace.text]
    layers = network.graph.layers
    weighted = [layer for layer in layers if layer.weight is not None]
    assert sum(counts) == len(layers) + len(weighted)
    assert takeaway(figure) == f"{len(weighted)} of {len(weighted)} weights change width"


def test_without_a_change_the_matrix_says_so(network: Network) -> None:
    same = diff(network, uniform_config(8, 8))
    assert takeaway(transition_matrix(same)) == "No layer changes its width"
    assert takeaway(moved_energy(same)) == "No energy moves"


def test_bars_add_up_to_the_energy_that_moves(network: Network) -> None:
    found = diff(network, uniform_config(4, 4))
    figure = moved_energy(found)
    unit = {"p": 1.0, "n": 1e3, "µ": 1e6, "m": 1e9}
    scale = unit[figure.layout.xaxis.title.text.split("(")[1][0]]
    drawn = sum(value for trace in figure.data for value in trace.x) * scale
    assert drawn == pytest.approx(found.moved_pj, rel=1e-9)
    assert "saved per image" in takeaway(figure)
    back = diff_configs(network, uniform_config(4, 4), uniform_config(8, 8), MACHINE)
    assert "added per image" in takeaway(moved_energy(back))


def test_a_layer_without_a_sensitivity_has_one_panel(network: Network) -> None:
    figure = widths_explained(explained(network))
    assert "yaxis2" not in figure.layout
    assert "is unknown: run Sensitivity" in " ".join(explain_in_words(explained(network)))


def test_losses_stand_below_the_energies_with_their_intervals(network: Network) -> None:
    known = measured(network, accuracy_drop=0.02, accuracy_drop_ci95=Interval(0.005, 0.035))
    figure = widths_explained(explained(network, known))
    (losses,) = [t for t in figure.data if t.error_y.array]
    assert losses.y == pytest.approx((2.0, 2.0, 2.0))
    assert losses.error_y.array == pytest.approx((1.5, 1.5, 1.5))
    assert "Accuracy lost" in figure.layout.yaxis2.title.text
    words = " ".join(explain_in_words(explained(network, known)))
    assert "2.00 points of accuracy alone (95 % interval 0.50 to 3.50, n = 200)" in words


def test_without_labels_answers_that_change_are_counted(network: Network) -> None:
    known = measured(network, agreement=0.97, agreement_ci95=Interval(0.95, 0.98))
    figure = widths_explained(explained(network, known))
    assert "Answers changed" in figure.layout.yaxis2.title.text
    assert "3.00 % other answers" in loss_text(known.scores[0])


def test_a_prediction_without_accuracy_tells_its_noise(network: Network) -> None:
    text = loss_text(measured(network).scores[0])
    assert text == "output SQNR 20.0 dB alone (exact)"
    assert math.isfinite(explained(network).network.energy_pj)


@pytest.mark.parametrize("machine", ["bitfusion_like", "edge_systolic_8b"])
def test_all_are_valid_json_and_escape_names(network: Network, machine: str) -> None:
    place = load_preset(machine)
    found = diff_configs(network, uniform_config(8, 8), uniform_config(3, 6), place)
    layer = network.graph.layers[1].name
    for figure in (
        transition_matrix(found),
        moved_energy(found),
        widths_explained(explain_layer_bits(network, uniform_config(8, 8), layer, place)),
    ):
        plain = figure.to_json()
        nothing = takeaway(figure) == "No energy moves"
        assert bool(json.loads(plain)["data"]) is not nothing
        assert "NaN" not in plain
        assert 10 < len(takeaway(figure)) < 140
