"""What a job does, in words: the step and the time left, or what the job waits for."""

from quant.remaining_time import time_left_text
from ui.jobs import Job, JobRunner, JobState
from ui.widgets.markdown import plain

UNDER_WAY = "Under way; progress and Cancel are in the side bar."
"""What a page says in its own place while its job runs, and no longer; a toast would stay."""


def job_line(runner: JobRunner, job: Job) -> str:
    """Return title and state of a job, as Markdown: the step and the time left, or the reason."""
    return f"**{plain(job.title)}** · {plain(job_state_text(runner, job))}"


def job_state_text(runner: JobRunner, job: Job) -> str:
    """Return the state of a job in plain text."""
    if job.state is JobState.CANCELLING:
        return f"cancelling; it stops after this step: {job.progress.text}"
    if job.state is JobState.QUEUED:
        before = runner.job_before(job)
        return "starts now" if before is None else f"waits for: {before.title}"
    left, now = job.remaining_s, job.progress
    told = "" if left is None else time_left_text(left, of_stage=now.is_of_stage)
    return ", ".join(filter(None, (now.text, told)))
