"""The content of the page Diagnose: the running diagnosis, and the end of the last diagnosis."""

from dataclasses import dataclass

from analysis.diagnosis.flow.contents import Diagnosis
from analysis.diagnosis.flow.run_diagnosis import DiagnosisTask


@dataclass(eq=False)
class DiagnosisWork:
    """The last task, with a board that fills during the job, and the result; None before."""

    task: DiagnosisTask | None = None
    found: Diagnosis | None = None
