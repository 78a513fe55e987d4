"""What the page Train shows: forecast, curves, outcome, changes, rates, arms."""

from dataclasses import replace

import streamlit as st

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.told_score import ScoreMeasure, ScoreUnit, told_scores
from analysis.training.changes import list_encoding_changes, weight_histogram
from analysis.training.forecast import PROBE_STEPS
from analysis.training.run_training import TrainingOutcome
from figures.training.changes import (
    arm_figure,
    code_histogram_figure,
    encoding_change_figure,
    layer_width_figure,
    moved_codes_figure,
    rate_curve_figure,
    width_share_figure,
)
from figures.training.curves import loss_curve, measure_curves, score_curve
from quant.simulation.plan import TENSOR_SIDES
from quant.training.settings import TrainingSettings
from ui.plain_text import plain
from ui.state.workspace import Workspace
from ui.train.jobs import continue_training, is_training, use_training
from ui.widgets.cards import interval_text
from ui.widgets.figure import show_figure
from ui.widgets.tables import to_percent

LOOK_EVERY_S = 3.0


def show_forecast(workspace: Workspace, settings: TrainingSettings) -> None:
    """Tell the cost of a training and the expected gain."""
    cost, expected = workspace.training.cost, workspace.training.forecast
    if cost is None or expected is None:
        return
    st.markdown(f"**{plain(expected.forecast_sentence)}** {cost.duration_sentence(settings)}")
    arms = {
        **expected.scores,
        f"{PROBE_STEPS} steps of training": expected.probe,
        "float": expected.float_score,
    }
    st.dataframe(
        [{"what": title, "right answers %": to_percent(score)} for title, score in arms.items()],
        hide_index=True,
        width="stretch",
    )


def show_rates(workspace: Workspace) -> None:
    """Show the loss over growing rates, and say which rate it speaks for."""
    found = workspace.training.rates
    if found is None or not found.rates:
        return
    figure = rate_curve_figure(found)
    show_figure(figure, "train.rates")
    st.caption(plain(found.sentence))


@st.fragment(run_every=LOOK_EVERY_S)
def show_live_curves(workspace: Workspace) -> None:
    """Draw the curves of the running training again and again, after a few seconds."""
    show_training_curves(workspace)
    show_arms(workspace)
    if not is_training(workspace):
        st.rerun()


def show_training_curves(workspace: Workspace) -> None:
    """Draw score, loss and measurements over the steps so far."""
    task = workspace.training.task
    points = () if task is None else tuple(task.points)
    if task is None or not points:
        st.caption("The first look at the watched data comes soon.")
        return
    expected = workspace.training.forecast
    lines = {} if expected is None else {**expected.scores, "float": expected.float_score}
    left, right = st.columns(2, gap="large")
    figure = score_curve(points, len(task.split.watch), lines)
    show_figure(figure, "train.score", left)
    figure = loss_curve(points)
    show_figure(figure, "train.losses", right)
    shares, layers = width_share_figure(points), layer_width_figure(points)
    if shares is not None and layers is not None:
        show_figure(shares, "train.shares", left)
        show_figure(layers, "train.layer_widths", right)
    with st.expander("Rate and what else changes"):
        figure = measure_curves(points)
        show_figure(figure, "train.measures")


def show_training_outcome(workspace: Workspace, outcome: TrainingOutcome) -> None:
    """Show the scores on images kept out of training and watching, and what to do next."""
    record, after, before = outcome.state.record, outcome.after, outcome.before
    rows = score_rows(before, after)
    st.dataframe(rows, hide_index=True, width="stretch")
    changed = (
        "" if record.changed is None else f" {record.changed:.1%} of the weights' codes moved."
    )
    st.caption(
        f"{record.steps} steps saw {record.images} {outcome.task.network.noun}s, "
        f"augmented ones counted each time; the state after step {record.best_step} was the best "
        f"on watched data. {after.samples} "
        f"others scored.{changed}"
    )
    _offer_next_steps(workspace, outcome)


def score_rows(before: Evaluation, after: Evaluation) -> list[dict[str, str | float]]:
    """Return a row for each score of a training, in the measure that both scores have."""
    old, new = told_scores((before, after))
    column = "share %" if new.unit is ScoreUnit.PERCENT else new.unit_label
    named = f"{new.name}, " if new.measure in (ScoreMeasure.METRIC, ScoreMeasure.SQNR) else ""
    told = [(f"{named}quantized, before", old), (f"{named}quantized, trained", new)]
    if new.measure is ScoreMeasure.AGREEMENT:
        told = [(f"{new.name}, {one}", score) for one, score in (("before", old), ("trained", new))]
    elif new.float_value is not None:
        first = replace(new, value=new.float_value, interval=new.float_interval)
        told.insert(0, (f"{named}float", first))
    if new.measure is ScoreMeasure.TOP1:
        same = replace(new, value=after.agreement, interval=after.agreement_ci95)
        told.append(("agreement with float, trained", same))
    return [
        {"what": title, column: score.scale * score.value, "95 % interval": score.interval_ends}
        for title, score in told
    ]


def _offer_next_steps(workspace: Workspace, outcome: TrainingOutcome) -> None:
    """Offer to use the trained network, and to train on."""
    name, busy = outcome.task.stored_name, is_training(workspace)
    used = any(getattr(step, "source", "") == name for step in workspace.experiment.recipe)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.button(
        "In use" if used else "Use this training",
        key="train.use",
        type="primary",
        icon=":material/check:",
        disabled=used,
        on_click=use_training,
        args=(workspace, outcome),
        help="Run, Sensitivity, Export and Report then take the trained network",
    )
    more = row.number_input("More steps", 1, 100_000, 100, key="train.more")
    row.button(
        "Train on",
        key="train.continue",
        icon=":material/fast_forward:",
        disabled=busy,
        on_click=continue_training,
        args=(workspace, outcome, int(more)),
        help="From these weights, with the rate rising and falling anew",
    )
    with st.expander("On the command line"):
        model = outcome.task.network.name
        st.code(
            f"cli.py export --model {model} --trained {name} --runs {outcome.task.folder} "
            "--format onnx-qdq --out trained.onnx --check",
            language="bash",
        )


def show_changes(outcome: TrainingOutcome) -> None:
    """Show encodings before and after, moved codes by layer, and a layer's weights in steps."""
    changes = list(list_encoding_changes(outcome.start, outcome.state))
    weighted = [one for one in changes if one.moved is not None]
    if not changes:
        st.caption("Nothing is quantized, so no encoding changed.")
        return
    left, right = st.columns(2, gap="large")
    for column, side in zip((left, right), TENSOR_SIDES, strict=True):
        if any(one.side is side for one in changes):
            figure = encoding_change_figure(changes, side)
            show_figure(figure, f"train.encodings.{side}", column)
    if not weighted:
        return
    figure = moved_codes_figure(changes)
    show_figure(figure, "train.moved", left)
    names = [one.layer for one in weighted]
    layer = right.selectbox("Layer", names, key="train.layer")
    shown = layer if layer in names else names[0]
    histogram = weight_histogram(outcome.start, outcome.state, shown)
    if histogram is not None:
        figure = code_histogram_figure(histogram)
        show_figure(figure, "train.histogram", right)


def show_arms(workspace: Workspace) -> None:
    """Show the finished arms of a comparison, with intervals and mean widths."""
    results = list(workspace.training.arms)
    if not results:
        return
    outcome = workspace.training.outcome
    before = None if outcome is None else outcome.before.quantized_top1
    figure = arm_figure(results, [] if before is None else [("before", before)])
    show_figure(figure, "train.arms.figure")
    st.dataframe(
        [
            {
                "arm": str(one.arm),
                "right answers %": to_percent(one.score),
                "interval": interval_text(one.interval) if one.interval else "",
                "agreement %": to_percent(one.agreement),
                "bits a weight": one.mean_bits,
                "training": one.stored_name,
            }
            for one in results
        ],
        hide_index=True,
        width="stretch",
    )
