"""Change the configuration, so that the change can be undone."""

from analysis.runs.experiment import Experiment
from quant.config import QuantConfig
from quant.errors import QuantError
from ui.state.workspace import Workspace


def set_config(workspace: Workspace, config: QuantConfig) -> None:
    """Make a configuration the present one if it fits the model, or say why it does not.

    Encodings of a file stay wherever they still fit, and so does the recipe of repairs.
    """
    change_experiment(workspace, workspace.experiment.with_config(config))


def set_preset(workspace: Workspace, config: QuantConfig, name: str = "") -> None:
    """Make a configuration that says all by itself the present one: ranges are calibrated."""
    experiment = workspace.experiment.calibrating().with_config(config)
    change_experiment(workspace, experiment.named(name))


def change_experiment(workspace: Workspace, experiment: Experiment) -> None:
    """Make an experiment the present one if it fits the model, or say why it does not."""
    try:
        if workspace.network is not None:
            experiment.config.resolve(workspace.network.graph.layers)
    except QuantError as error:
        workspace.notes.append(str(error))
        return
    workspace.change(experiment)


SYMMETRIES = ("symmetric", "asymmetric")
