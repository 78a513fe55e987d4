"""The load of a model that was asked for last, ended or not."""

from dataclasses import dataclass

from ui.jobs import Job, JobState
from ui.state.model_and_data import ModelChoice


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """A requested model, and the job that loads the model."""

    choice: ModelChoice
    job: Job

    @property
    def failed(self) -> bool:
        """Whether the model could not be loaded."""
        return self.job.state is JobState.FAILED
