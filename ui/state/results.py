"""What pages measured and made last, as typed values that the workspace holds."""

from dataclasses import dataclass, field
from pathlib import Path

from analysis.deployment.runtime_check import ExecutionCheck
from analysis.runs.experiment import Experiment
from analysis.runs.repair import RepairStep
from analysis.study import Study


@dataclass(frozen=True, eq=False, slots=True)
class Repaired:
    """A measured recipe: the experiment with the recipe, what it was measured on, and each step."""

    study: Study
    experiment: Experiment
    steps: tuple[RepairStep, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """An artefact that was made and lies in a file; or why it could not be made."""

    path: Path | None = None
    size_bytes: int = 0
    files: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    problem: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Checked:
    """A check of a file, and the layers that could be computed in whole numbers."""

    check: ExecutionCheck
    weighted: tuple[str, ...]


@dataclass(eq=False)
class ExportWork:
    """Artefacts by the key of their simulation and by format, and checks by the same key."""

    artefacts: dict[str, dict[str, Made]] = field(default_factory=dict)
    checks: dict[str, Checked] = field(default_factory=dict)
