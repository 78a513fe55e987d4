"""--smooth becomes a pass for the bits of the experiment, and travels in the file."""

from analysis.runs.experiment import smooth_for
from analysis.runs.experiment_file import read_experiment_json, write_experiment_json
from commands.experiment.options import ExperimentOptions
from quant.passes.smooth import Smooth
from quant.spec import Granularity


def test_smooth_is_for_the_bits_that_are_named_and_survives_the_file() -> None:
    options = ExperimentOptions(
        weight_bits=4, activation_bits=6, granularity=Granularity.PER_TENSOR, smooth=True
    )
    experiment = options.read().experiment
    assert experiment.recipe == (Smooth(4, 6, per_tensor=True),)
    assert experiment.display_name == "W4A6 per-tensor · smoothed"
    again = read_experiment_json(write_experiment_json(experiment)).experiment
    assert again.recipe == experiment.recipe


def test_float_counts_as_eight_bits() -> None:
    options = ExperimentOptions(weight_bits=32, activation_bits=32)
    assert smooth_for(options.read().experiment.config) == Smooth(8, 8)
