"""The last results of the pages, as typed values in the workspace."""

from dataclasses import dataclass, field
from pathlib import Path

from analysis.calibration_size.score_sizes import ScoreCurve
from analysis.calibration_size.size_curve import SizeCurve
from analysis.deployment.device_dump.compare_dump import DumpComparison
from analysis.deployment.runtime_check import ExecutionCheck
from analysis.runs.experiment import Experiment
from analysis.runs.repair import RepairStep
from analysis.study import Study
from data_io.dataset import Dataset
from quant.config import QuantConfig


@dataclass(frozen=True, eq=False, slots=True)
class Repaired:
    """A measured recipe: the experiment with the recipe, the study, and the steps."""

    study: Study
    experiment: Experiment
    steps: tuple[RepairStep, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A finished artefact with its file; or the problem that stopped the artefact.

    `alarm` says why the file differs from the network in the file's name.
    """

    path: Path | None = None
    size_bytes: int = 0
    files: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    problem: str = ""
    alarm: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Checked:
    """A check of a file, and the layers with weights, which the file may compute in integers."""

    check: ExecutionCheck
    weighted: tuple[str, ...]


@dataclass(eq=False)
class ExportWork:
    """Artefacts by the key of their simulation and by format, and checks and dumps by the key."""

    artefacts: dict[str, dict[str, Made]] = field(default_factory=dict)
    checks: dict[str, Checked] = field(default_factory=dict)
    dumps: dict[str, DumpComparison] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class EnoughImages:
    """How the ranges of a configuration depend on the number of these calibration images."""

    images: Dataset
    config: QuantConfig
    curve: SizeCurve
    scores: ScoreCurve | None = None
