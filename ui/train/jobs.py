"""The work of the page Train, beside the page: forecast, training, rates, arms."""

from dataclasses import replace

from analysis.training.arms import Arm, ArmResult, compare_arms
from analysis.training.forecast import Forecast, StepCost, forecast_training, measure_step_cost
from analysis.training.rate_finder import RateCurve, find_learning_rate
from analysis.training.run_training import TrainingOutcome, TrainingTask, run_training_task
from quant.passes.equalize import Equalize
from quant.passes.recipe import Recipe
from quant.progress import Steps, part_of_progress
from quant.training.state.use_training import UseTraining
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.workspace import Workspace
from ui.train.form import has_own_images


def is_training(workspace: Workspace) -> bool:
    """Whether a training or a forecast of a training waits or runs."""
    return workspace.runner.active_of(JobKind.TRAIN) is not None


def start_forecast(workspace: Workspace, task: TrainingTask) -> None:
    """Queue the measurement of a step and the forecast."""

    def forecast_steps() -> Steps[tuple[StepCost, Forecast]]:
        cost = yield from part_of_progress(measure_step_cost(replace(task, points=[])), 0.0, 0.1)
        return cost, (
            yield from part_of_progress(forecast_training(replace(task, points=[])), 0.1, 1.0)
        )

    def keep_forecast(found: tuple[StepCost, Forecast]) -> None:
        workspace.training.cost, workspace.training.forecast = found

    workspace.training.cost = workspace.training.forecast = None
    title = f"{JobKind.TRAIN}: is it worth it?"
    workspace.runner.submit(Job(JobKind.TRAIN, title, forecast_steps, keep_forecast))


def start_training(workspace: Workspace, task: TrainingTask) -> None:
    """Queue the training; a stopped training with the same settings goes on."""

    def keep_outcome(outcome: TrainingOutcome) -> None:
        workspace.training.outcome = outcome

    workspace.training.task, workspace.training.outcome = task, None
    title = f"{JobKind.TRAIN} {workspace.experiment.display_name}"
    workspace.runner.submit(
        Job(JobKind.TRAIN, title, lambda: run_training_task(task), keep_outcome)
    )


def continue_training(workspace: Workspace, outcome: TrainingOutcome, steps: int) -> None:
    """Queue a training of `steps` more steps from the outcome's weights."""
    task = outcome.task
    begun = UseTraining(outcome.state, task.stored_name)
    recipe = (*_equalization_of(task.recipe), begun)
    settings = replace(task.settings, steps=steps)
    start_training(workspace, replace(task, recipe=recipe, settings=settings, points=[]))


def start_rate_finder(workspace: Workspace, task: TrainingTask) -> None:
    """Queue the search for a learning rate."""

    def keep_rates(found: RateCurve) -> None:
        workspace.training.rates = found

    workspace.training.rates = None
    title = f"{JobKind.TRAIN}: which rate?"
    workspace.runner.submit(Job(JobKind.TRAIN, title, lambda: find_learning_rate(task), keep_rates))


def start_arms(workspace: Workspace, task: TrainingTask, arms: tuple[Arm, ...]) -> None:
    """Queue trainings side by side; finished arms appear at once."""
    results: list[ArmResult] = []
    workspace.training.arms = results
    title = f"{JobKind.TRAIN}: {len(arms)} arms side by side"
    workspace.runner.submit(
        Job(
            JobKind.TRAIN,
            title,
            lambda: compare_arms(task, arms, results.append),
            lambda _: None,
        )
    )


def _equalization_of(recipe: Recipe) -> Recipe:
    """Return the passes that gave the network the form of the training."""
    return tuple(step for step in recipe if isinstance(step, Equalize))


def use_training(workspace: Workspace, outcome: TrainingOutcome) -> None:
    """Make the trained network the present experiment, scored on images that did not train it."""
    task = outcome.task
    if has_own_images(workspace) and not workspace.data.held_out:
        workspace.take_data(replace(workspace.data, held_out=True))
    trained = UseTraining(outcome.state, task.stored_name)
    recipe = (*_equalization_of(task.recipe), trained)
    experiment = replace(workspace.experiment, config=outcome.config, recipe=recipe)
    workspace.change(replace(experiment, encodings=None, given_name=""))
    workspace.notes.append(
        "The trained network is the present experiment: Run, Sensitivity, Export and Report take "
        "it, with its weights and encodings."
    )
