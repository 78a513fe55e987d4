"""A workspace with the choices of the last visit, or with the first sample."""

from pathlib import Path

from analysis.network import Network
from model_io.errors import ModelError
from quant.errors import QuantError
from quant.progress import drain_steps
from ui.request_guard import paths_open
from ui.run_owner import present_owner
from ui.settings import read_settings
from ui.state.choices_history import History
from ui.state.code_consent import needs_consent
from ui.state.last_choices import SNAPSHOT, tab_choices
from ui.state.model_and_data import (
    DataChoice,
    ModelChoice,
    is_bundled_data,
    load_chosen_network,
)
from ui.state.snapshot import Snapshot, experiment_with_encodings, read_snapshot
from ui.state.workspace import Workspace


def new_workspace(tab: str = "") -> Workspace:
    """Return a workspace with the choices of the tab of that key, and with the key.

    Without choices of the tab, the workspace has a new key and the last choices; without last
    choices, the first sample.
    """
    result = Workspace(read_settings())
    if paths_open(result.settings) and tab_choices(result.settings.runs, tab) is not None:
        result.id = tab
    result.owner = present_owner(result.settings, result.id)
    snapshot: Snapshot | None = None
    try:
        snapshot = _last_choices(result)
        network = drain_steps(load_chosen_network(snapshot.model))
        model = snapshot.model
    except (OSError, ValueError, KeyError, TypeError):
        # nothing saved, or saved by another version, or a file that has gone: start afresh
        model, snapshot = ModelChoice(), None
        network = drain_steps(load_chosen_network(model))
    result.take_network(model, network)
    if snapshot is not None:
        result.metric = snapshot.metric
        _continue_experiment(result, snapshot, network)
        if _data_exists(snapshot.data):
            result.take_data(snapshot.data)
    result.save_choices()
    return result


def _last_choices(workspace: Workspace) -> Snapshot:
    """Return the choices of the tab, or those written down last by the person at the machine.

    Raises:
        ValueError: a different person asks, or the model needs code without the user's consent.
        OSError: the file of the choices does not exist.
    """
    if not paths_open(workspace.settings):
        raise ValueError("The last choices are those of the person at this machine.")
    folder = workspace.settings.runs
    place = tab_choices(folder, workspace.id) or folder / SNAPSHOT
    snapshot = read_snapshot(place.read_text(encoding="utf-8"), workspace.trainings)
    if snapshot.model.builder and needs_consent(workspace.store, snapshot.model.builder):
        raise ValueError("Code must be agreed to before it runs. Load the model on Model.")
    return snapshot


def _continue_experiment(workspace: Workspace, snapshot: Snapshot, network: Network) -> None:
    """Go on with the experiment of the last visit; note encodings that cannot be found."""
    experiment = snapshot.record.experiment
    try:
        experiment.config.resolve_layers(network.graph.layers)
        experiment = experiment_with_encodings(snapshot.record, network)
    except ModelError as error:
        workspace.notes.append(str(error))
    except QuantError:
        return  # of another model
    workspace.experiments = History(experiment.on_model_and_data(network.digest, ""))


def _data_exists(data: DataChoice) -> bool:
    """Whether the images still exist; an upload is deleted together with its workspace."""
    return data.source is None or is_bundled_data(data.source) or Path(data.source).exists()
