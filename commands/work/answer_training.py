"""The work of the command train: the training, or what it would cost and gain."""

from analysis.training.forecast import forecast_training, measure_step_cost
from analysis.training.run_training import TrainingTask, run_training_task, train_task
from commands.json_answers.training import summarize_forecast, summarize_training
from commands.output import print_line, watch_steps
from quant.progress import drain_steps
from quant.training.workers import WorkerProcesses


def answer_training(
    task: TrainingTask, workers: WorkerProcesses, *, ask: bool
) -> dict[str, object] | None:
    """Train and return the answer; with `ask` the cost and the forecast instead.

    Of several processes the first answers; the others train along and return None.
    """
    if not workers.is_first:
        drain_steps(train_task(task))
        return None
    print_line(task.split.counts_sentence)
    if ask:
        cost = watch_steps(measure_step_cost(task))
        return summarize_forecast(task, cost, watch_steps(forecast_training(task)))
    if workers.count > 1:
        print_line(
            f"{workers.count} processes train {task.settings.batch} {task.network.noun}s each"
        )
    print_line(f"Training {task.stored_name}: the same call again goes on if it is stopped")
    return summarize_training(watch_steps(run_training_task(task)))
