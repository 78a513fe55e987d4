"""The work of one person: what is chosen, what is loaded, what runs; and how pages reach it."""

import copy
import json
import shutil
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from accelerator.machine import Machine, load_preset
from accelerator.report import CostReport
from analysis.calibration import Calibrated
from analysis.cost.estimate import cost
from analysis.cost.workload import Entropies
from analysis.network import Network
from analysis.runs.json_values import from_plain, to_plain
from analysis.runs.run_store import RunStore
from analysis.session_file import GridsReference
from analysis.split import Split
from model_io.errors import ModelError
from quant.config import QuantConfig, config_from_dict, uniform
from quant.errors import QuantError
from quant.progress import drain
from ui.jobs import JobRunner
from ui.navigation import pages
from ui.request_guard import paths_open
from ui.settings import Settings, read_settings
from ui.state.choices_history import History, Picked
from ui.state.code_consent import needs_consent
from ui.state.file_encodings import OWN, FileGrids, found_again
from ui.state.model_and_data import (
    DataChoice,
    ModelChoice,
    default_data,
    is_bundled,
    load_network,
    open_data,
)
from ui.state.sensitivity import SensitivityWork
from ui.state.tradeoffs import TradeoffWork

DEFAULT_MACHINE = "edge_systolic_8b"
FirstData = tuple[DataChoice, Split | None, str]
_KEY = "workspace"
SNAPSHOT = "workspace.json"


@dataclass(eq=False)
class HeldCalibration:
    """The statistics that a job found last, and those that each thread that draws holds on to."""

    newest: tuple[str, Calibrated | None] = ("", None)
    drawn: threading.local = field(default_factory=threading.local)

    def hold(self) -> None:
        """Let this thread see the newest until it calls again."""
        self.drawn.seen = self.newest

    @property
    def seen(self) -> tuple[str, Calibrated | None]:
        """What this thread holds on to; one that never did, as that of jobs, sees the newest."""
        found: tuple[str, Calibrated | None] = getattr(self.drawn, "seen", self.newest)
        return found


@dataclass(eq=False)
class Workspace:
    """Everything that must outlive a rerun, a page change and a reload."""

    settings: Settings
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    model: ModelChoice = field(default_factory=ModelChoice)
    network: Network | None = None
    data: DataChoice = field(default_factory=DataChoice)
    parts: Split | None = None
    data_problem: str = ""
    machine: Machine = field(default_factory=lambda: load_preset(DEFAULT_MACHINE))
    machines: dict[str, Machine] = field(default_factory=dict)
    config: History[QuantConfig] = field(default_factory=lambda: History(uniform(8, 8)))
    config_name: str = "W8A8 per-channel"
    metric: str = ""  # path.py:function of the user's own; used where paths are open
    file_grids: FileGrids = field(default_factory=FileGrids)
    entropies: Entropies = field(default_factory=dict)
    runner: JobRunner = field(default_factory=JobRunner)
    notes: list[str] = field(default_factory=list)
    repaired: Any = None  # the last measured recipe, ui.repair.view.Repaired
    sensitivity: SensitivityWork = field(default_factory=SensitivityWork)
    tradeoffs: TradeoffWork = field(default_factory=TradeoffWork)
    picked: Picked = field(default_factory=Picked)
    exports: dict[str, Any] = field(default_factory=dict)  # artefacts, ui.export.jobs.Made by key
    checks: dict[str, Any] = field(
        default_factory=dict
    )  # executions, ui.export.runtime_check.Checked
    opened: Any = None  # a session that is only looked at, ui.session.open_session.Opened
    table_edits: int = 0  # changes of the configuration made in the table of Configure
    data_choices: int = 0  # how often data were chosen, so that forms start from the present ones
    asked: set[str] = field(default_factory=set)  # questions put to the runner, answered or not
    used: float = field(default_factory=time.monotonic)
    _calibrated: HeldCalibration = field(default_factory=HeldCalibration)
    _folder: Path | None = None

    @property
    def store(self) -> RunStore:
        """The runs under the folder that the settings name, or of a session only looked at."""
        return RunStore(self.settings.runs if self.opened is None else self.opened.folder)

    @property
    def folder(self) -> Path:
        """This workspace's own folder for uploads; it goes when the workspace goes."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="quantscope-"))
        return self._folder

    def begin_page(self) -> int:
        """Take in what jobs brought since the last page; return how many jobs ever ended.

        Nothing that jobs bring changes between here and the end of the page.
        """
        ended = self.runner.take()
        self.hold_statistics()
        return ended

    def hold_statistics(self) -> None:
        """Draw with the newest statistics, and with these alone, until this is called again."""
        self._calibrated.hold()

    def as_now(self) -> "Workspace":
        """Return the choices as they are now, for a job; what is kept is kept for this one too."""
        then = copy.copy(self)
        then.config = History(self.config.present)
        return then

    def take_network(
        self, choice: ModelChoice, network: Network, first: FirstData | None = None
    ) -> None:
        """Make a loaded model the current one, with the data it starts with, `first` if known.

        Raises nothing: rules of the configuration that do not fit the new model are dropped, and
        a note says so.
        """
        self.opened = None  # whoever loads a model is done with looking
        data, parts, problem = first or first_data(choice, network)
        rules = self.config.present.rules
        fitting = tuple(rule for rule in rules if rule.matches(network.graph.layers))
        self.model, self.network, self.entropies = choice, network, {}
        self.calibrate_instead()
        self.picked, self.file_grids = Picked(), FileGrids()
        self._take_parts(data, parts, problem)
        if fitting != rules:
            self.notes.append(
                f"{len(rules) - len(fitting)} rules named layers that {network.name} does not "
                "have; they were dropped. Load the earlier model and undo to have them back."
            )
            self.config.change(QuantConfig(self.config.present.default, fitting))
        self.save()

    def calibrate_instead(self) -> None:
        """Do without the grids of a file, where they are in use; the configuration stays."""
        present = self.config.present
        if self.file_grids.of(present) is not None:
            self.file_grids.stop(present)
            self.config_name = self.config_name.replace(OWN, "")

    def use_grids(self, grids: FileGrids) -> None:
        """Use the grids of a file; the configuration is called after them only if it has them."""
        self.file_grids = grids
        if grids.of(self.config.present) is None:
            self.config_name = self.config_name.replace(OWN, "")

    def take_data(self, choice: DataChoice) -> None:
        """Make other data the current one; where it does not fit, `data_problem` says why."""
        parts, problem = _opened(choice, self.model, self.network)
        self._take_parts(choice, parts, problem)
        self.save()

    def _take_parts(self, data: DataChoice, parts: Split | None, problem: str) -> None:
        self.data, self.parts, self.data_problem = data, parts, problem
        self.data_choices += 1
        self.asked = set()

    def misfit(self) -> str:
        """Return why the present configuration does not fit the model, or nothing if it does."""
        if self.network is None:
            return ""
        try:
            self.config.present.resolve(self.network.graph.layers)
        except QuantError as error:
            return str(error)
        return ""

    def calibrated(self, network: Network, parts: Split) -> Calibrated | None:
        """Return the statistics of a model on calibration images, if they were the last kept."""
        key, found = self._calibrated.seen
        return found if key == _calibration_key(network, parts) else None

    def keep_calibrated(self, network: Network, parts: Split, calibrated: Calibrated) -> None:
        """Keep the statistics of a model on calibration images, in place of the last ones."""
        self._calibrated.newest = (_calibration_key(network, parts), calibrated)

    def add_machine(self, machine: Machine) -> None:
        """Keep a machine of the user's own and make it the current one."""
        self.machines[machine.name] = machine
        self.machine = machine

    def cost_of(self, config: QuantConfig, machine: Machine | None = None) -> CostReport:
        """Return the estimated cost of a configuration on the present, or another, machine."""
        if self.network is None:
            raise ValueError("A cost needs a model; none is loaded. Choose one on Model.")
        return cost(self.network, config, machine or self.machine, self.entropies)

    def save(self) -> None:
        """Write down the choices, so that a new tab or a restarted server finds them."""
        if not paths_open(self.settings) or self.opened is not None:
            return  # on a shared server one person's choices are no other's business
        choices = {
            "model": to_plain(self.model),
            "data": to_plain(self.data),
            "machine": self.machine.name,
            "config": self.config.present.to_dict(),
            "config_name": self.config_name,
            "metric": self.metric,
            "grids": to_plain(self.file_grids.reference(self.config.present)),
        }
        self.settings.runs.mkdir(parents=True, exist_ok=True)
        (self.settings.runs / SNAPSHOT).write_text(json.dumps(choices))

    def close(self) -> None:
        """Cancel its jobs and remove its uploads."""
        self.runner.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def first_data(choice: ModelChoice, network: Network) -> FirstData:
    """Return the data that a model starts with: the choice, the images, what is in the way."""
    data = default_data(choice, network)
    return data, *_opened(data, choice, network)


def _opened(
    data: DataChoice, model: ModelChoice, network: Network | None
) -> tuple[Split | None, str]:
    """Return the images of a choice, or what stands in their way."""
    if network is None or data.source is None:
        return None, ""
    try:
        return open_data(data, model, network), ""
    except (ValueError, OSError) as error:
        return None, str(error)


def _calibration_key(network: Network, parts: Split) -> str:
    return f"{network.digest} {parts.calibration.digest if parts.calibration else ''}"


def new_workspace() -> Workspace:
    """Return a workspace with the last choices, or with the first sample where there are none."""
    result = Workspace(read_settings())
    data: DataChoice | None = None
    grids: GridsReference | None = None
    try:
        saved = _last_choices(result)
        result.config = History(config_from_dict(saved["config"]))
        result.config_name = str(saved["config_name"])
        result.machine = load_preset(saved["machine"])
        result.metric = str(saved.get("metric", ""))
        model = from_plain(ModelChoice, saved["model"])
        data = from_plain(DataChoice, saved["data"])
        network = drain(load_network(model))
        if saved.get("grids") is not None:
            grids = from_plain(GridsReference, saved["grids"])
    except (OSError, ValueError, KeyError, TypeError):
        # nothing saved, or saved by another version, or a file that has gone: start afresh
        model, data = ModelChoice(), None
        network = drain(load_network(model))
    result.take_network(model, network)
    try:
        result.use_grids(found_again(grids, network, result.config.present))
    except ModelError as error:
        result.use_grids(FileGrids())
        result.notes.append(str(error))
    result.save()
    if data is not None and _is_there(data):
        result.take_data(data)
    return result


def _last_choices(workspace: Workspace) -> dict[str, Any]:
    """Return the choices that were written down last, by the person at this machine.

    Raises:
        ValueError: somebody else asks, or nobody agreed to the code that makes the model.
        OSError: there are none.
    """
    if not paths_open(workspace.settings):
        raise ValueError("The last choices are those of the person at this machine.")
    found: dict[str, Any] = json.loads((workspace.settings.runs / SNAPSHOT).read_text())
    builder = found["model"].get("builder")
    if builder and needs_consent(workspace.store, str(builder)):
        raise ValueError("Code must be agreed to before it runs. Load the model on Model.")
    return found


def _is_there(data: DataChoice) -> bool:
    """Whether the images can still be there: an upload goes with the workspace it came to."""
    return data.source is None or is_bundled(data.source) or Path(data.source).exists()


def has_workspace() -> bool:
    """Whether app.py has run in this session."""
    return _KEY in st.session_state


def workspace() -> Workspace:
    """Return this session's work; a page opened by its own address first goes through app.py."""
    if not has_workspace():
        st.navigation(pages())  # makes Streamlit forget the pages/ convention
        st.rerun()  # and start again at app.py, on the same page
    found: Workspace = st.session_state[_KEY]
    return found


def set_workspace(found: Workspace) -> None:
    """Give this session its workspace; called by app.py alone."""
    st.session_state[_KEY] = found


def machine_named(workspace: Workspace, name: str) -> Machine:
    """Return a preset or one of the user's own machines."""
    return workspace.machines.get(name) or load_preset(name)
