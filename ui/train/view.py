"""The settings of a training, the curves during the training, and the outcome."""

from dataclasses import replace
from pathlib import Path

import streamlit as st

from analysis.split import ImageChoice
from analysis.training.divide import divide_training_images
from analysis.training.forecast import Forecast, StepCost, forecast_training, measure_step_cost
from analysis.training.run_training import (
    TrainingOutcome,
    TrainingTask,
    loss_for_split,
    run_training_task,
)
from data_io.preprocessing import Preprocess
from figures import takeaway
from figures.training.curves import loss_curve, measure_curves, score_curve
from quant.passes.recipe import build_recipe
from quant.progress import Steps, part_of_progress
from quant.training.settings import LossKind, NormHandling, TrainingMethod, TrainingSettings
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.plain_text import plain
from ui.state.model_and_data import is_bundled_data
from ui.state.workspace import Workspace
from ui.widgets.cards import interval_text
from ui.widgets.tables import to_percent

LOOK_EVERY_S = 3.0


def is_training(workspace: Workspace) -> bool:
    """Whether a training or a forecast of a training waits or runs."""
    return workspace.runner.active_of(JobKind.TRAIN) is not None


def training_form(workspace: Workspace) -> TrainingTask | None:
    """Draw the settings; return the described training of the present experiment."""
    network = workspace.network
    if network is None:
        return None
    first, second, third = st.columns(3)
    method = first.selectbox("Method", list(TrainingMethod), key="train.method")
    loss = second.selectbox(
        "Loss",
        [None, *LossKind],
        key="train.loss",
        format_func=lambda one: "both where there are labels" if one is None else str(one),
        help="Labels, the float network's answers (distil), or both",
    )
    steps = int(
        third.number_input("Steps", 0, 100_000, 400, key="train.steps", help="Batches to train on")
    )
    with st.expander("More settings"):
        left, middle, right = st.columns(3)
        batch = int(left.number_input("Images per step", 2, 512, 32, key="train.batch"))
        rate = middle.number_input(
            "Relative rate",
            0.0001,
            0.1,
            0.003,
            format="%.4f",
            key="train.rate",
            help="Share of its own size by which a tensor moves in a step",
        )
        norms = right.selectbox("Batch norms", list(NormHandling)[::-1], key="train.norms")
        equalize = left.checkbox("Equalize first", key="train.equalize")
    chosen = method or TrainingMethod.LEARNED_STEP
    settings = TrainingSettings(method=chosen, steps=steps, batch=batch, rate=rate, norms=norms)
    choice = workspace.data
    own = choice.source is not None and not is_bundled_data(choice.source)
    images = ImageChoice(
        data=Path(str(choice.source)) if own else None,
        preprocess=Preprocess.from_json(choice.preprocess) if own and choice.preprocess else None,
        samples=choice.samples or None,
        calibration=max(1, choice.calibration),
        seed=choice.seed,
    )
    split = divide_training_images(workspace.model.source, network, images)
    settings = replace(settings, loss=loss_for_split(split, loss))
    recipe = build_recipe(equalize=equalize)
    return TrainingTask(network, workspace.config, split, settings, workspace.settings.runs, recipe)


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
    workspace.runner.submit(
        Job(JobKind.TRAIN, f"{JobKind.TRAIN}: is it worth it?", forecast_steps, keep_forecast)
    )


def start_training(workspace: Workspace, task: TrainingTask) -> None:
    """Queue the training; a stopped training with the same settings goes on."""

    def keep_outcome(outcome: TrainingOutcome) -> None:
        workspace.training.outcome = outcome

    workspace.training.task, workspace.training.outcome = task, None
    title = f"{JobKind.TRAIN} {workspace.experiment.display_name}"
    workspace.runner.submit(
        Job(JobKind.TRAIN, title, lambda: run_training_task(task), keep_outcome)
    )


def show_forecast(workspace: Workspace, steps: int) -> None:
    """Tell the cost of a training and the expected gain."""
    cost, expected = workspace.training.cost, workspace.training.forecast
    if cost is None or expected is None:
        return
    st.markdown(f"**{plain(expected.forecast_sentence)}** {cost.duration_sentence(steps)}")
    arms = {
        **expected.scores,
        "50 steps of training": expected.probe,
        "float": expected.float_score,
    }
    st.dataframe(
        [{"what": title, "right answers %": to_percent(score)} for title, score in arms.items()],
        hide_index=True,
        width="stretch",
    )


@st.fragment(run_every=LOOK_EVERY_S)
def show_live_curves(workspace: Workspace) -> None:
    """Draw the curves of the running training again and again, after a few seconds."""
    show_training_curves(workspace)
    if not is_training(workspace):
        st.rerun()


def show_training_curves(workspace: Workspace) -> None:
    """Draw score, loss and measurements over the steps so far."""
    task = workspace.training.task
    points = () if task is None else tuple(task.points)
    if task is None or not points:
        st.caption("The first look at the watched images comes soon.")
        return
    expected = workspace.training.forecast
    lines = {} if expected is None else {**expected.scores, "float": expected.float_score}
    left, right = st.columns(2, gap="large")
    figure = score_curve(points, len(task.split.watch), lines)
    left.plotly_chart(figure, key="train.score", alt=takeaway(figure))
    figure = loss_curve(points)
    right.plotly_chart(figure, key="train.losses", alt=takeaway(figure))
    with st.expander("Rate and what else changes"):
        figure = measure_curves(points)
        st.plotly_chart(figure, key="train.measures", alt=takeaway(figure))


def show_training_outcome(outcome: TrainingOutcome) -> None:
    """Show the scores on images kept out of training and watching, and the export command."""
    record, after, before = outcome.state.record, outcome.after, outcome.before
    rows: list[dict[str, str | float | None]] = []
    for title, score, interval in (
        ("float", after.float_top1, after.float_top1_ci95),
        ("quantized, before", before.quantized_top1, before.quantized_top1_ci95),
        ("quantized, trained", after.quantized_top1, after.quantized_top1_ci95),
        ("agreement with float, trained", after.agreement, after.agreement_ci95),
    ):
        if score is not None and interval is not None:
            words = interval_text(interval)
            rows.append({"what": title, "share %": to_percent(score), "interval": words})
    st.dataframe(rows, hide_index=True, width="stretch")
    changed = (
        "" if record.changed is None else f" {record.changed:.1%} of the weights' codes moved."
    )
    st.caption(
        f"{record.steps} steps saw {record.images} images, augmented ones counted each time; the "
        f"state after step {record.best_step} was the best on watched images.{changed}"
    )
    st.markdown("Take it home, checked in ONNX Runtime:")
    st.code(
        f"cli.py export --model {outcome.task.network.name} --trained {outcome.task.stored_name} "
        f"--runs {outcome.task.folder} --format onnx-qdq --out trained.onnx --check",
        language="bash",
    )
