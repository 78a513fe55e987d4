"""A session taken from the workspace, and made the present work: to go on, or only to look."""

import tempfile
from pathlib import Path

from accelerator.machine import preset_names
from analysis.network import Network
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import (
    TRAINING,
    ExperimentRecord,
    encodings_reference,
    experiment_to_plain,
)
from analysis.runs.run_store import Run, RunStore
from analysis.session_file import (
    DataReference,
    ModelReference,
    Session,
    SessionError,
)
from analysis.split import Split
from analysis.training.stored import (
    TrainingFiles,
    read_training_files,
    write_training_files,
)
from quant.progress import drain_steps
from sample_models.registry import SAMPLES
from ui.answers.forecast import deepest_sensitivity
from ui.answers.stored_fronts import record_fronts
from ui.request_guard import paths_open
from ui.state.choices_history import History
from ui.state.model_and_data import (
    DataChoice,
    ModelChoice,
    is_bundled_data,
    load_chosen_network,
    open_chosen_data,
)
from ui.state.opened_session import OpenedSession, WorkBefore
from ui.state.snapshot import experiment_with_encodings
from ui.state.workspace import Workspace
from ui.tradeoffs.jobs import take_session_fronts

LOOK = "It is only looked at: nothing of yours changes, and nothing can be run."


def present_session(workspace: Workspace) -> Session:
    """Return the present choices with the runs and the sensitivity of the present model.

    Raises:
        SessionError: no model is loaded.
    """
    if workspace.opened is not None:
        return workspace.opened.session
    network, parts = workspace.network, workspace.parts
    if network is None:
        raise SessionError("A session needs a model; none is loaded. Choose one on Model.")
    model, data = workspace.model, workspace.data
    runs = [run for run in workspace.store.all_runs() if run.model_digest == network.digest]
    return Session(
        model=ModelReference(
            network.name,
            network.digest,
            model.source,
            model.builder,
            model.input_shape,
            model.shown,
            model.inputs,
        ),
        data=None
        if parts is None or data.source is None
        else DataReference(
            parts.score.name,
            parts.score.digest,
            data.source,
            data.preprocess,
            data.calibration,
            data.samples,
            data.seed,
            data.task,
            data.head,
            data.targets,
            held_out=data.held_out,
        ),
        record=ExperimentRecord(
            workspace.experiment, encodings_reference(workspace.experiment.encodings)
        ),
        runs=tuple(runs),
        sensitivity=deepest_sensitivity(workspace),
        found=()
        if parts is None
        else tuple(
            record_fronts(found, parts.score.digest)
            for found in workspace.tradeoffs.found.values()
            if found.network.digest == network.digest
        ),
        trainings=_used_trainings(workspace, runs),
    )


def _used_trainings(workspace: Workspace, runs: list[Run]) -> dict[str, TrainingFiles]:
    """Return the files of the trainings that the experiment and the runs use, by name."""
    recipes = [experiment_to_plain(workspace.experiment)["recipe"]]
    recipes += [run.experiment.get("recipe", []) for run in runs if run.experiment is not None]
    names = {one.get("source") for recipe in recipes for one in recipe if one["pass"] == TRAINING}
    found = {name: read_training_files(workspace.settings.runs, str(name)) for name in names}
    return {str(name): files for name, files in found.items() if files is not None}


def open_session(workspace: Workspace, session: Session, *, look: bool = False) -> str:
    """Make a session the present work; return the result in a sentence.

    A session without its model or data on the machine is only looked at, and so is a session opened
    with `look`. A session never runs code that a model names.

    Raises:
        SessionError: a job of the present work runs.
    """
    if workspace.runner.active_jobs:
        raise SessionError(
            "A session is opened when nothing runs; a job does. Wait for it, or cancel it."
        )
    close_session(workspace)
    if look:
        return _look_at_session(workspace, session, LOOK)
    try:
        choice, network = _find_model(workspace, session.model)
        data, parts = _find_data(workspace, session.data, choice, network)
        session.record.experiment.config.resolve_layers(network.graph.layers)
        experiment = experiment_with_encodings(session.record, network)
    except (ValueError, OSError) as error:
        return _look_at_session(workspace, session, f"It can only be looked at. {error}")
    return _continue_session(workspace, session, (choice, network), (data, parts), experiment)


def _continue_session(
    workspace: Workspace,
    session: Session,
    model: tuple[ModelChoice, Network],
    data: tuple[DataChoice, Split | None],
    experiment: Experiment,
) -> str:
    """Go on with a session: take over its choices, and add its runs to the present runs."""
    same = workspace.network is not None and workspace.network.digest == model[1].digest
    if not same:
        workspace.take_network(*model)
    if session.data is not None and workspace.parts is not data[1]:
        workspace.take_data(data[0])
    if experiment.machine.name not in preset_names():
        workspace.machines[experiment.machine.name] = experiment.machine
    for name, files in session.trainings.items():
        write_training_files(workspace.settings.runs, name, files)
    workspace.change(experiment)
    known = {run.id for run in workspace.store.all_runs()}
    new = [run for run in session.runs if run.id not in known]
    for run in reversed(new):
        workspace.store.save_run(run)
    take_session_fronts(workspace, session.sensitivity, session.found)
    workspace.save_choices()
    kept = len(session.runs) - len(new)
    there = f"; {kept} were here already" if kept else ""
    came = run_count_text(len(new))
    return f"The session of {session.model.name} is open. {came} came with it{there}."


def run_count_text(count: int) -> str:
    """Return a number of runs in words."""
    return "1 run" if count == 1 else f"{count} runs"


def _look_at_session(workspace: Workspace, session: Session, why: str) -> str:
    """Put the present work aside and show the session's results instead."""
    before = WorkBefore(
        workspace.model,
        workspace.study,
        workspace.data,
        workspace.parts,
        workspace.data_problem,
        workspace.experiments,
        workspace.picked,
        workspace.repaired,
    )
    folder = Path(tempfile.mkdtemp(prefix="session-", dir=workspace.folder))
    store = RunStore(folder)
    for run in reversed(session.runs):
        store.save_run(run)
    for name, files in session.trainings.items():
        write_training_files(folder, name, files)
    workspace.opened = OpenedSession(session, why, folder, before)
    workspace.repaired = None
    workspace.take_study(None, None)
    workspace.model = ModelChoice(session.model.source)
    workspace.data, workspace.data_problem = DataChoice(source=None), why
    workspace.experiments = History(session.record.experiment)
    return f"The session of {session.model.name} is open. {why}"


def close_session(workspace: Workspace) -> None:
    """Bring back the work that a looked-at session put aside."""
    opened = workspace.opened
    if opened is None:
        return
    workspace.opened, before = None, opened.before
    workspace.model, workspace.data, workspace.data_problem = (
        before.model,
        before.data,
        before.data_problem,
    )
    workspace.experiments, workspace.picked = before.experiments, before.picked
    workspace.repaired = before.repaired
    workspace.take_study(before.study, before.parts)


def _find_model(workspace: Workspace, wanted: ModelReference) -> tuple[ModelChoice, Network]:
    """Return the network with the wanted digest: the present one, a sample, or that of a file."""
    present = workspace.network
    if present is not None and present.digest == wanted.digest:
        return workspace.model, present
    if wanted.builder is not None:
        raise SessionError(
            f"Its model is made by code ({wanted.builder}), which a session never runs. Load "
            "the model on Model yourself, then open the session again."
        )
    if wanted.source not in SAMPLES:
        _check_file_path(workspace, wanted.source, f"Its model {wanted.name}")
    choice = ModelChoice(wanted.source, None, wanted.input_shape, wanted.shown, wanted.inputs)
    network = drain_steps(load_chosen_network(choice))
    if network.digest != wanted.digest:
        raise SessionError(
            f"The model at {wanted.source} is another one than the session's: its digest begins "
            f"with {network.digest[:12]}, not {wanted.digest[:12]}."
        )
    return choice, network


def _find_data(
    workspace: Workspace, wanted: DataReference | None, model: ModelChoice, network: Network
) -> tuple[DataChoice, Split | None]:
    """Return the images with the wanted digest.

    Raises:
        ValueError: the images are missing or have a different digest.
        OSError: the images cannot be read.
    """
    if wanted is None:
        return DataChoice(source=None), None
    present = workspace.parts
    same = workspace.network is not None and workspace.network.digest == network.digest
    if same and present is not None and present.score.digest == wanted.digest:
        return workspace.data, present
    if not is_bundled_data(wanted.source):
        _check_file_path(workspace, wanted.source, f"Its data {wanted.name}")
    if wanted.targets:
        _check_file_path(workspace, wanted.targets, f"The targets of {wanted.name}")
    choice = DataChoice(
        wanted.source,
        wanted.preprocess,
        wanted.calibration,
        wanted.samples,
        wanted.seed,
        wanted.task,
        wanted.head,
        wanted.targets,
        held_out=wanted.held_out,
    )
    parts = open_chosen_data(choice, model, network)
    if parts.score.digest != wanted.digest:
        raise SessionError(
            f"The data at {wanted.source} are others than the session's: their digest begins with "
            f"{parts.score.digest[:12]}, not {wanted.digest[:12]}."
        )
    return choice, parts


def _check_file_path(workspace: Workspace, source: str, what: str) -> None:
    if not paths_open(workspace.settings):
        raise SessionError(f"{what} is a file, and this server opens none by its path.")
    if not Path(source).exists():
        raise SessionError(f"{what} lay at {source}, which is not on this machine.")
