"""What the cards of the sample models claim, measured on a part of the test set."""

from functools import cache

from accelerator.machine import load_preset
from analysis.calibration import Calibrated, calibrate_network
from analysis.evaluation.evaluate import Evaluation
from analysis.network import Network
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.split import Split
from analysis.study import Study
from quant.config import QuantConfig, Rule, uniform_config
from quant.passes.equalize import Equalize
from quant.passes.recipe import Recipe
from quant.progress import drain_steps
from quant.spec import Granularity, SpecChange
from sample_models.registry import sample_named
from ui.state.model_and_data import DataChoice, ModelChoice, load_chosen_network, open_chosen_data

IMAGES = 300


@cache
def prepared(name: str) -> tuple[Network, Split, Calibrated]:
    """Return a sample, its images, and the statistics of 64 of them."""
    choice = ModelChoice(name)
    network = drain_steps(load_chosen_network(choice))
    wish = DataChoice(
        preprocess=sample_named(choice.source).preprocess.to_json(), calibration=64, samples=IMAGES
    )
    parts = open_chosen_data(wish, choice, network)
    assert parts.calibration is not None
    return (
        network,
        parts,
        drain_steps(calibrate_network(network, parts.calibration, parts.input_range)),
    )


@cache
def measured(
    config: QuantConfig, name: str = "fashion-mobilenet", recipe: Recipe = ()
) -> Evaluation:
    network, parts, ranges = prepared(name)
    machine = load_preset("edge_systolic_8b")
    wanted = Experiment(config, machine, recipe=recipe, given_name="lesson")
    run = measure_experiment(
        Study(network, parts.score, parts.calibration, calibrated=ranges), wanted
    )
    return drain_steps(run).evaluation


def drop(config: QuantConfig, name: str = "fashion-mobilenet", recipe: Recipe = ()) -> float:
    found = measured(config, name, recipe).top1_drop
    assert found is not None
    return found


def test_mobilenet_loses_its_points_at_4_bits_in_the_first_layer() -> None:
    """17.0 and 0.5 points on 4000 images; the limits leave room for the 300 taken here."""
    eight, four = uniform_config(8, 8).default, uniform_config(4, 8).default
    assert drop(QuantConfig(eight, (Rule("first", SpecChange(bits=4)),))) > 0.12
    assert drop(QuantConfig(four, (Rule("first", SpecChange(bits=8)),))) < 0.03


def test_unequal_channels_need_a_scale_each_and_their_activations_equalization() -> None:
    """78, 23, 0 and 0 points here."""
    name = "fashion-mobilenet-imbalanced"
    assert drop(uniform_config(8, 8, Granularity.PER_TENSOR), name) > 0.7
    assert drop(uniform_config(8, 8), name) > 0.05
    assert drop(uniform_config(8, 32), name) < 0.03
    assert drop(uniform_config(8, 8, Granularity.PER_TENSOR), name, (Equalize(),)) < 0.02


def test_of_the_transformer_activations_are_the_hard_part() -> None:
    name = "fashion-vit"
    assert drop(uniform_config(32, 4), name) > 2 * max(0.01, drop(uniform_config(4, 32), name))
