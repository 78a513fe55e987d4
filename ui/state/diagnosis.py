"""What the page Diagnose holds: the diagnosis that runs, and how the last one ended."""

from dataclasses import dataclass

from analysis.diagnosis.flow.contents import Diagnosis
from analysis.diagnosis.flow.run_diagnosis import DiagnosisTask


@dataclass(eq=False)
class DiagnosisWork:
    """The last task, whose board fills while the job runs, and the result; None before the end."""

    task: DiagnosisTask | None = None
    found: Diagnosis | None = None
