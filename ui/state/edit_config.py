"""Changes of the configuration, with undo."""

from analysis.runs.experiment import Experiment
from quant.config import QuantConfig
from quant.errors import QuantError
from ui.state.workspace import Workspace


def set_config(workspace: Workspace, config: QuantConfig) -> None:
    """Make a configuration the present one if the model allows; otherwise note the problem.

    Fitting encodings of a file stay in the experiment, and so does the recipe of repairs.
    """
    change_experiment(workspace, workspace.experiment.with_config(config))


def set_preset(workspace: Workspace, config: QuantConfig, name: str = "") -> None:
    """Make a complete configuration the present one; the ranges are calibrated."""
    experiment = workspace.experiment.with_calibrated_ranges().with_config(config)
    change_experiment(workspace, experiment.with_name(name))


def change_experiment(workspace: Workspace, experiment: Experiment) -> None:
    """Make an experiment the present one if the model allows; otherwise note the problem."""
    try:
        if workspace.network is not None:
            experiment.config.resolve_layers(workspace.network.graph.layers)
    except QuantError as error:
        workspace.notes.append(str(error))
        return
    workspace.change(experiment)


SYMMETRIES = ("symmetric", "asymmetric")
