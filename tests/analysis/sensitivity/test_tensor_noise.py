"""Instant answers against tensors quantized directly."""

import math
from dataclasses import replace

import pytest
from scipy.stats import kurtosis
from torch import Tensor, nn

from analysis.calibration import Calibrated
from analysis.evaluation.measures import sqnr_db
from analysis.ranges.distributions import weight_distributions
from analysis.sensitivity.questions import questions_of_sweep
from analysis.sensitivity.sweep import Depth, Question, Sweep, View
from analysis.sensitivity.tensor_noise import tensor_noise_sensitivity
from analysis.study import Study
from quant.config import uniform_config
from quant.errors import ConfigError
from quant.inputs import first_output_of
from quant.ranges.estimators import encode_weight
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.simulation.quantizer import Quantizer
from quant.spec import Granularity
from tests.analysis.sweeps import case

BITS = (8, 4, 2)
SWEEP = Sweep(uniform_config(8, 8), bits=BITS, sides=tuple(Side))
NETWORKS = ["kitchen", "attention", "one-dimensional", "transposed-grouped", "perceptron"]


@pytest.mark.parametrize("granularity", list(Granularity))
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_have_the_noise_of_their_grids(name: str, granularity: Granularity) -> None:
    it = case(name)
    sweep = replace(SWEEP, config=uniform_config(8, 8, granularity), sides=(Side.WEIGHTS,))
    found = tensor_noise_sensitivity(Study(it.network, calibrated=Calibrated()), sweep)
    weighted = [layer for layer in it.network.graph.layers if layer.weight is not None]
    assert [(s.question.layer, s.question.bits) for s in found.scores] == [
        (layer.name, bits) for layer in weighted for bits in BITS
    ]
    for score in found.scores:
        layer = it.network.graph[score.question.layer]
        weight = it.network.graph.stored_tensor(str(layer.weight))
        spec = uniform_config(score.question.bits, 8, granularity).default.weight
        rounded = encode_weight(weight, spec, layer.channel_axis).fake_quantize(weight)
        assert score.sqnr_db == pytest.approx(sqnr_db(weight, rounded))
        assert score.depth is Depth.INSTANT


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_have_about_the_noise_of_the_images_they_were_calibrated_on(name: str) -> None:
    it = case(name)
    found = tensor_noise_sensitivity(it.study(), replace(SWEEP, sides=(Side.ACTIVATIONS,)))
    inputs = first_output_of(next(it.data.batches(len(it.data))).inputs)
    for bits in (4, 2):
        graph = quantize_graph(
            it.network.graph, uniform_config(bits, bits), it.calibrated.statistics
        )
        seen = measured(graph, inputs)
        predicted = {s.question.layer: s.sqnr_db for s in found.scores if s.question.bits == bits}
        assert set(predicted) == set(seen)
        for layer, wanted in seen.items():
            assert predicted[layer] == pytest.approx(wanted, abs=0.7), (layer, bits)


def measured(graph: QuantGraph, inputs: Tensor) -> dict[str, float]:
    """Return the SQNR of every activation of the float network on its grid."""
    seen: dict[str, float] = {}

    def measure(module: nn.Module, given: tuple[Tensor], _: object) -> None:
        assert isinstance(module, Quantizer)
        assert module.encoding is not None
        value = module._clip_values(given[0])
        seen[module.site.layer] = sqnr_db(value, module.encoding.fake_quantize(value))

    for site in graph.sites:
        if site.side is Side.ACTIVATIONS:
            graph.quantizers[site.name].register_forward_hook(measure)
    with graph.as_float_network():
        graph(inputs)
    return seen


def test_both_adds_the_noise_of_weight_and_activation() -> None:
    it = case("kitchen")
    found = {s.question: s.sqnr_db for s in tensor_noise_sensitivity(it.study(), SWEEP).scores}
    assert list(found) == list(
        questions_of_sweep(it.network, SWEEP, it.study().site_encodings(SWEEP.config))
    )

    def noise(layer: str, side: Side) -> float:
        return 10 ** (-found[Question(layer, 4, side)] / 10)

    both = noise("conv1", Side.WEIGHTS) + noise("conv1", Side.ACTIVATIONS)
    assert found[Question("conv1", 4, Side.BOTH)] == pytest.approx(-10 * math.log10(both))
    # no weight of its own
    assert noise("input", Side.BOTH) == pytest.approx(noise("input", Side.ACTIVATIONS))


def test_without_statistics_weights_are_answered_alone() -> None:
    it = case("kitchen")
    found = tensor_noise_sensitivity(Study(it.network, calibrated=Calibrated()), SWEEP)
    assert {score.question.side for score in found.scores} == {Side.WEIGHTS}


def test_a_view_changes_nothing_and_layers_are_chosen() -> None:
    it = case("kitchen")
    sweep = replace(SWEEP, layers=("conv2",))
    only = tensor_noise_sensitivity(it.study(), sweep)
    rest = tensor_noise_sensitivity(it.study(), replace(sweep, view=View.ALL_BUT))
    assert {score.question.layer for score in only.scores} == {"conv2"}
    assert [s.sqnr_db for s in only.scores] == [s.sqnr_db for s in rest.scores]
    with pytest.raises(ConfigError, match="nowhere"):
        tensor_noise_sensitivity(it.study(), replace(sweep, layers=("nowhere",)))


def test_distributions_of_weights_are_those_of_the_tensors() -> None:
    it = case("kitchen")
    distributions = weight_distributions(it.network.graph)
    for layer in ("conv1", "left"):
        weight = it.network.graph.stored_tensor(f"{layer}.weight")
        held = distributions[layer]
        assert held.kurtosis == pytest.approx(kurtosis(weight.flatten().double(), fisher=False))
        largest = weight.flatten(1).abs().amax(1)
        ordered = largest.sort().values
        middle = (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2
        assert held.channels is not None
        assert held.channels.widest_to_median_ratio == pytest.approx(
            float(largest.max() / middle), rel=1e-5
        )
