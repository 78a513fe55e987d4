"""A looked-at session, and the work before the look."""

from dataclasses import dataclass
from pathlib import Path

from analysis.runs.experiment import Experiment
from analysis.session_file import Session
from analysis.split import Split
from analysis.study import Study
from ui.state.choices_history import History, PickedLayer
from ui.state.model_and_data import DataChoice, ModelChoice
from ui.state.results import Repaired


@dataclass(frozen=True, eq=False, slots=True)
class WorkBefore:
    """The work that a looked-at session puts aside; closing the session brings the work back."""

    model: ModelChoice
    study: Study | None
    data: DataChoice
    parts: Split | None
    data_problem: str
    experiments: History[Experiment]
    picked: PickedLayer
    repaired: Repaired | None


@dataclass(frozen=True, eq=False, slots=True)
class OpenedSession:
    """A looked-at session, the reason, the folder of the session's runs, and the work before."""

    session: Session
    why: str
    folder: Path
    before: WorkBefore
