"""The work of a user: the choices, the loaded model, the jobs; and the pages' way to the work."""

import copy
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import streamlit as st

from accelerator.machine import Machine, load_preset
from accelerator.report import CostReport
from analysis.cost.estimate import estimate_config_cost
from analysis.network import Network
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import TrainingFinder
from analysis.runs.run_store import RunStore
from analysis.split import Split
from analysis.study import Study
from analysis.training.stored import trainings_in_folder
from quant.config import QuantConfig, uniform_config
from quant.errors import QuantError
from quant.passes.recipe import Recipe
from ui.jobs import JobRunner
from ui.navigation import list_pages
from ui.request_guard import paths_open
from ui.run_owner import SESSION
from ui.settings import Settings
from ui.state.choices_history import History, PickedLayer
from ui.state.diagnosis import DiagnosisWork
from ui.state.fallback_store import FallbackStore
from ui.state.last_choices import write_choices
from ui.state.model_and_data import (
    DataChoice,
    ModelChoice,
    default_data,
    open_chosen_data,
)
from ui.state.model_load import ModelLoad
from ui.state.opened_session import OpenedSession
from ui.state.results import EnoughImages, ExportWork, Repaired
from ui.state.sensitivity import SensitivityWork
from ui.state.snapshot import write_snapshot
from ui.state.tradeoffs import TradeoffWork
from ui.state.training import TrainingWork

DEFAULT_MACHINE = "edge_systolic_8b"
FirstData = tuple[DataChoice, Split | None, str]
_KEY = "workspace"


def default_experiment(network: Network | None, machine: Machine | None = None) -> Experiment:
    """Return the first experiment of a model: 8 bits for all layers, no repair."""
    begun = Experiment(uniform_config(8, 8), machine or load_preset(DEFAULT_MACHINE))
    return begun if network is None else begun.on_model_and_data(network.digest, "")


@dataclass(eq=False)
class Workspace:
    """The values that outlive a rerun, a page change and a reload.

    Attributes:
        settings: the decisions of the person who started the server.
        experiments: the present experiment with the past and the undone experiments.
        earlier: the experiments of models loaded before, by the model's digest.
        machines: the user's own machines, by name.
        parts: the images to score and to calibrate on; None without images.
        metric: path.py:function of the user's own metric; used with open paths.
        table_edits: changes of the configuration made in the table of Configure.
        data_choices: the number of choices of data; gives forms a new key after a choice.
        asked: questions put to the runner, answered or not.
    """

    settings: Settings
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    owner: str = ""  # of the runs: nobody but the person at this machine, a user, or a session
    model: ModelChoice = field(default_factory=ModelChoice)
    data: DataChoice = field(default_factory=DataChoice)
    parts: Split | None = None
    data_problem: str = ""
    load: ModelLoad | None = None
    experiments: History[Experiment] = field(
        default_factory=lambda: History(default_experiment(None))
    )
    earlier: dict[str, History[Experiment]] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    metric: str = ""
    runner: JobRunner = field(default_factory=JobRunner)
    notes: list[str] = field(default_factory=list)
    repaired: Repaired | None = None
    repairing: Repaired | None = None
    sensitivity: SensitivityWork = field(default_factory=SensitivityWork)
    tradeoffs: TradeoffWork = field(default_factory=TradeoffWork)
    training: TrainingWork = field(default_factory=TrainingWork)
    diagnosis: DiagnosisWork = field(default_factory=DiagnosisWork)
    exports: ExportWork = field(default_factory=ExportWork)
    enough: EnoughImages | None = None
    picked: PickedLayer = field(default_factory=PickedLayer)
    opened: OpenedSession | None = None
    table_edits: int = 0
    data_choices: int = 0
    asked: set[str] = field(default_factory=set)
    used: float = field(default_factory=time.monotonic)
    _study: Study | None = None
    _drawn: threading.local = field(default_factory=threading.local)
    _folder: Path | None = None

    @property
    def store(self) -> RunStore:
        """The owner's runs under the folder of the settings, or of a session only looked at."""
        if self.opened is not None:
            return RunStore(self.opened.folder)
        return self.own_store

    @cached_property
    def own_store(self) -> FallbackStore:
        """The owner's runs; during a failure of the file, memory keeps runs; see `problem`."""
        return FallbackStore(self.settings.runs, self.owner)

    @property
    def folder(self) -> Path:
        """The workspace's folder for uploads; closing the workspace deletes the folder."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="quantscope-"))
        return self._folder

    @property
    def trainings(self) -> TrainingFinder:
        """The finder of finished trainings in the folder of runs."""
        return trainings_in_folder(self.settings.runs)

    @property
    def study(self) -> Study | None:
        """The present model and images, with the statistics known at the start of the page.

        A thread without a page, such as the thread of jobs, sees the newest statistics.
        """
        drawn: Study | None = getattr(self._drawn, "study", None)
        if drawn is None or self._study is None or not drawn.shares_results_with(self._study):
            return self._study
        return drawn

    @property
    def job_study(self) -> Study | None:
        """The present model and images with the newest statistics, for work beside the page."""
        return self._study

    @property
    def network(self) -> Network | None:
        """The present model; None without a model."""
        return None if self._study is None else self._study.network

    @property
    def experiment(self) -> Experiment:
        """The present experiment."""
        return self.experiments.present

    @property
    def config(self) -> QuantConfig:
        """The present configuration."""
        return self.experiment.config

    @property
    def machine(self) -> Machine:
        """The machine of the cost estimate."""
        return self.experiment.machine

    def begin_page(self) -> int:
        """Take the results of jobs since the last page; return the number of jobs that ever ended.

        Until the end of the page, jobs change nothing that the page draws.
        """
        ended = self.runner.take_results()
        self.hold_statistics()
        return ended

    def hold_statistics(self) -> None:
        """Draw with the newest statistics, and with no newer statistics until the next call."""
        self._drawn.study = None if self._study is None else self._study.with_present_statistics()

    def copy_for_job(self) -> "Workspace":
        """Return a copy with the present choices, for a job; the copy shares the results."""
        then = copy.copy(self)
        then.experiments = History(self.experiment)
        return then

    def change(self, experiment: Experiment) -> None:
        """Make an experiment the present one, with undo."""
        self.experiments.change(experiment)
        self.save_choices()

    def set_config(self, config: QuantConfig) -> None:
        """Make a configuration part of the present experiment."""
        self.change(self.experiment.with_config(config))

    def set_machine(self, machine: Machine) -> None:
        """Make a machine part of the present experiment."""
        self.change(replace(self.experiment, machine=machine))

    def set_recipe(self, recipe: Recipe) -> None:
        """Make a recipe of repairs part of the present experiment."""
        self.change(self.experiment.with_recipe(recipe))

    def step_history(self, move: Callable[[History[Experiment]], None]) -> None:
        """Undo or redo a change of the experiment, unless the result does not fit the model."""
        before = copy.copy(self.experiments)
        move(self.experiments)
        if problem := self.config_misfit():
            self.experiments = before
            self.notes.append(f"Nothing was changed. {problem}")
        self.save_choices()

    def take_network(
        self, choice: ModelChoice, network: Network, first: FirstData | None = None
    ) -> None:
        """Make a loaded model the present one, with its first data; `first` if already known.

        A new model starts with the default experiment on the present machine. A model loaded before
        in the workspace goes on with its former experiments.
        """
        data, parts, problem = first or first_data(choice, network)
        study, experiments = self._study, self.experiments
        if self.opened is not None:  # whoever loads a model is done with looking
            study, experiments = self.opened.before.study, self.opened.before.experiments
            self.opened = None
        if study is not None:
            self.earlier[study.network.digest] = experiments
        begun = History(default_experiment(network, self.machine))
        self.experiments = self.earlier.pop(network.digest, begun)
        self.model, self.picked = choice, PickedLayer()
        self._take_parts(network, data, parts, problem)
        self.save_choices()

    def take_data(self, choice: DataChoice) -> None:
        """Choose data; for data that do not fit the model, `data_problem` tells the reason."""
        parts, problem = _open_images(choice, self.model, self.network)
        self._take_parts(self.network, choice, parts, problem)
        self.save_choices()

    def take_split(self, parts: Split | None) -> None:
        """Take new images for the present model, or no images."""
        self._take_parts(self.network, self.data, parts, self.data_problem)

    def forget_model(self) -> None:
        """Drop the model and its images."""
        self._take_parts(None, self.data, None, self.data_problem)

    def _take_parts(
        self, network: Network | None, data: DataChoice, parts: Split | None, problem: str
    ) -> None:
        self.data, self.parts, self.data_problem = data, parts, problem
        study = None if network is None else Study.of_split(network, parts, self.store)
        if study is not None and self._study is not None:
            study.share_results_with(self._study)
        self._study = study
        self.hold_statistics()
        self.data_choices += 1
        self.asked = set()

    def take_study(self, study: Study | None, parts: Split | None) -> None:
        """Bring back a study that was put aside, with the results of the study."""
        self._study, self.parts = study, parts
        self.hold_statistics()

    def config_misfit(self) -> str:
        """Return why the present configuration does not fit the model; an empty text if it fits."""
        if self.network is None:
            return ""
        try:
            self.config.resolve_layers(self.network.graph.layers)
        except QuantError as error:
            return str(error)
        return ""

    def add_machine(self, machine: Machine) -> None:
        """Keep a machine of the user and make the machine the present one."""
        self.machines[machine.name] = machine
        self.set_machine(machine)

    def config_cost(self, config: QuantConfig, machine: Machine | None = None) -> CostReport:
        """Return the estimated cost of a configuration on `machine` or the present machine."""
        if (study := self.study) is None:
            raise ValueError("A cost needs a model; none is loaded. Choose one on Model.")
        place = machine or self.machine
        return estimate_config_cost(study.network, config, place, study.weight_entropies)

    def save_choices(self) -> None:
        """Write down the choices, so that a new tab or a restarted server finds the choices."""
        if not paths_open(self.settings) or self.opened is not None:
            return  # on a shared server one person's choices are no other's business
        text = write_snapshot(self.model, self.data, self.experiment, self.metric)
        write_choices(self.settings.runs, text, self.id)

    def close(self) -> None:
        """Cancel the jobs, and delete the uploads and the runs of a visitor without a name."""
        self.runner.cancel_all()
        if self.owner.startswith(SESSION):
            self.own_store.forget_owner()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def first_data(choice: ModelChoice, network: Network) -> FirstData:
    """Return the first data of a model: the choice, the images, and the problem if any."""
    data = default_data(choice, network)
    return data, *_open_images(data, choice, network)


def _open_images(
    data: DataChoice, model: ModelChoice, network: Network | None
) -> tuple[Split | None, str]:
    """Return the images of a choice, or the problem in a sentence."""
    if network is None or data.source is None:
        return None, ""
    try:
        return open_chosen_data(data, model, network), ""
    except (ValueError, OSError) as error:
        return None, str(error)


def has_workspace() -> bool:
    """Whether app.py has run in the session."""
    return _KEY in st.session_state


def present_workspace() -> Workspace:
    """Return the workspace of the session; without app.py before the page, start at app.py."""
    if not has_workspace():
        st.navigation(list_pages())  # makes Streamlit forget the pages/ convention
        st.rerun()  # and start again at app.py, on the same page
    found: Workspace = st.session_state[_KEY]
    return found


def set_workspace(found: Workspace) -> None:
    """Give the session its workspace; app.py alone calls the function."""
    st.session_state[_KEY] = found


def find_machine(workspace: Workspace, name: str) -> Machine:
    """Return a preset, or a machine of the user."""
    return workspace.machines.get(name) or load_preset(name)
