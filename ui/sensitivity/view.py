"""The answers of the page Sensitivity: the list, the charts, and the effect of a click."""

from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.elements.lib.column_config_utils import ColumnConfigMappingInput

from analysis.sensitivity.ranking import (
    HarmMetric,
    available_metrics,
    describes_return_to_float,
    rank_agreement,
    rank_scores,
    score_of_whole,
    value_in_metric,
)
from analysis.sensitivity.sweep import Depth, Question, Sensitivity, View
from figures import Figure
from figures.sensitivity.heat_map import harm_map
from figures.sensitivity.metrics_compared import noise_against_harm, views_against
from figures.sensitivity.ranking import along_depth, worst_layers
from figures.sensitivity.wording import cell_text, format_metric, metric_name, shown_title
from quant.simulation.plan import Side
from ui.answers.sensitivity import explain_judged_network
from ui.sensitivity.form import ROLES
from ui.sensitivity.lens import Lens, scores_by_harm, side_key, width_key
from ui.sensitivity.tables import answer_table, layer_list_table
from ui.state.workspace import Workspace
from ui.widgets.download import csv_download_button
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain

LIST_PX = 460


def answers_note(workspace: Workspace, found: Sensitivity, asked_depth: Depth) -> None:
    """Describe the numbers: their network, depth, images, and the substitute for accuracy."""
    if judged := explain_judged_network(workspace):
        st.caption(plain(f"{judged}."))
    if found.depth is Depth.INSTANT:
        st.caption(
            "Instant: the noise of each weight and activation by itself. It says where an encoding "
            "does not fit, not what that costs at the output"
            + (". Screen to measure the harm." if asked_depth is not Depth.INSTANT else ".")
        )
        return
    depth = "Screened" if found.depth is Depth.SCREENING else "Exact"
    words = [f"{depth} on {_image_count_text(found)} {found.noun}s"]
    if found.float_top1 is not None:
        words.append(f"float top-1 on these {100 * found.float_top1:.2f} %")
    if any(score.depth is Depth.SCREENING for score in found.scores) and depth == "Exact":
        words.append("cells not reached yet are screened")
    parts = workspace.parts
    if workspace.network is not None and not workspace.network.is_classifier:
        metric = None if parts is None else parts.metric
        if metric is None:
            words.append("the output is no row of classes: SQNR stands for accuracy")
        elif HarmMetric.TASK not in available_metrics(found):
            words.append(f"SQNR stands for {plain(metric.name)}, which an exact sweep measures")
    elif parts is not None and not parts.score.labelled:
        words.append(
            f"the {found.noun}s have no labels: agreement with float and SQNR stand for accuracy"
        )
    st.caption(" · ".join(words))


def _image_count_text(found: Sensitivity) -> str:
    """Return the number of images behind the cells of the sensitivity's depth."""
    counts = {s.images for s in found.scores if s.depth is found.depth and s.images}
    counts = counts or {found.images}
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def screening_agreement_note(quick: Sensitivity | None, found: Sensitivity) -> None:
    """Say how well screening agreed with the exact answers so far."""
    if quick is None or found.depth is not Depth.EXACT:
        return
    exact = [score for score in found.scores if score.depth is Depth.EXACT]
    parts = []
    for side in found.sweep.sides:
        rho = rank_agreement(quick, found, side)
        count = sum(score.question.side is side for score in exact)
        if rho is not None:
            parts.append(f"{ROLES[side].lower()} {rho:.2f} ({count} cells)")
    if parts:
        st.caption(f"Screening ranked as the exact SQNR does: Spearman {', '.join(parts)}.")


def layer_list(workspace: Workspace, found: Sensitivity, lens: Lens) -> None:
    """Show the layers, the most harmful first; a ticked row picks the layer."""
    scores = scores_by_harm(found, lens.metric, lens.side, lens.bits)

    def pick_layer() -> None:
        rows = st.session_state["sensitivity.list"].selection.rows
        if rows and rows[0] < len(scores):
            workspace.picked.pick_layer(scores[rows[0]].question.layer)

    if not scores:
        st.info(
            f"Nothing is known yet of {cell_text(lens.side, lens.bits)}.",
            icon=":material/info:",
        )
        return
    st.markdown(
        f"**{len(scores)} layers with {cell_text(lens.side, lens.bits)}, most harmful first**"
    )
    whole = score_of_whole(found, lens.side, lens.bits)
    if whole is not None and describes_return_to_float(found):
        all_of_it = format_metric(value_in_metric(whole, lens.metric), lens.metric)
        st.caption(f"With all layers quantized: {plain(lens.metric)} {all_of_it}")
    table = layer_list_table(found, scores, lens.metric)
    st.dataframe(
        table,
        key="sensitivity.list",
        hide_index=True,
        width="stretch",
        height=LIST_PX,
        on_select=pick_layer,
        selection_mode="single-row",
        column_config=_list_columns(found, lens),
        alt=f"Layers with {cell_text(lens.side, lens.bits)}, the most harmful first",
    )
    csv_download_button(answer_table(found), "sensitivity", "sensitivity.save")


def _list_columns(found: Sensitivity, lens: Lens) -> ColumnConfigMappingInput:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "layer": text("Layer", width=136, pinned=True),
        "value": number(
            "Given back"
            if describes_return_to_float(found)
            else metric_name(lens.metric, found.depth),
            format="%.3g" if lens.metric is HarmMetric.KL else "%.1f",
            help=shown_title(found, lens.metric),
            width=88,
        ),
        "interval": text("95 %", width=95, help="Interval, in the same unit"),
        "sqnr": number("SQNR dB", format="%.1f", width=75, help="Higher is better"),
        "kl": number("KL", format="%.3g", width=75, help="In nats; lower is better"),
        "agreement": number("Agreement %", format="%.1f", width=95, help="Higher is better"),
        "known": text("Method"),
        f"{found.noun}s": number(f"{found.noun.capitalize()}s"),
    }


def show_worst_layers(workspace: Workspace, found: Sensitivity, lens: Lens) -> None:
    """Show the most harmful layers of the side and width in sight with their intervals."""
    if not rank_scores(found, lens.metric, lens.side, lens.bits):
        if scores_by_harm(found, lens.metric, lens.side, lens.bits):
            name = metric_name(lens.metric, found.depth)
            st.caption(f"{plain(name)} is known of none of them yet: they are ordered by SQNR.")
        return
    figure = worst_layers(found, lens.metric, lens.side, lens.bits, lens.picked)
    _clickable_chart(
        figure, "sensitivity.worst", _click_handler(workspace, found, "sensitivity.worst")
    )


def depth_charts(
    workspace: Workspace, found: Sensitivity, asked: Sequence[Question], lens: Lens
) -> None:
    """Show a heat map of the widths along the depth, and the width in sight with intervals."""
    figure = harm_map(found, lens.metric, asked, lens.picked)
    _clickable_chart(figure, "sensitivity.map", _click_handler(workspace, found, "sensitivity.map"))
    if not rank_scores(found, lens.metric, lens.side, lens.bits):
        return
    order = tuple(dict.fromkeys(question.layer for question in asked))
    figure = along_depth(found, lens.metric, lens.side, lens.bits, lens.layers, lens.picked, order)
    _clickable_chart(
        figure, "sensitivity.along", _click_handler(workspace, found, "sensitivity.along")
    )


def metric_comparisons(
    workspace: Workspace, found: Sensitivity, other: Sensitivity | None, lens: Lens
) -> None:
    """Show where metrics disagree: SQNR against accuracy, only-one against all-but-one."""
    st.subheader("Do the measures agree?", anchor=False)
    if found.depth is not Depth.EXACT:
        st.caption("Both comparisons need exact answers: choose Exact above and start.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        known = available_metrics(found)
        against = HarmMetric.ACCURACY if HarmMetric.ACCURACY in known else HarmMetric.AGREEMENT
        figure = noise_against_harm(found, against, lens.bits)
        _clickable_chart(
            figure, "sensitivity.noise", _click_handler(workspace, found, "sensitivity.noise")
        )
    with right:
        if other is None:
            missing = "All but this layer" if found.sweep.view is View.ONLY else "Only this layer"
            st.info(
                f"To compare the two views, run the other one as well: choose **{missing}** above "
                "and start.",
                icon=":material/compare_arrows:",
            )
            return
        only, all_but = (found, other) if found.sweep.view is View.ONLY else (other, found)
        figure = views_against(only, all_but, lens.metric, lens.side, lens.bits)
        _clickable_chart(
            figure, "sensitivity.views", _click_handler(workspace, found, "sensitivity.views")
        )


def _clickable_chart(figure: Figure, key: str, take: Callable[[], None]) -> None:
    show_figure(figure, key, on_select=take, toolbar=False)


def _click_handler(workspace: Workspace, found: Sensitivity, key: str) -> Callable[[], None]:
    """Return the handler of a click in a chart, which brings layer, side and width into sight."""

    def handle_click() -> None:
        points = st.session_state[key].selection.points
        data = points[0].get("customdata") if points else None
        if not data:
            return
        values = list(data.values()) if isinstance(data, dict) else list(data)
        side = Side(values[2])
        workspace.picked.pick_layer(str(values[0]))
        st.session_state[side_key(found.sweep.sides)] = side
        st.session_state[width_key(workspace, found.sweep.bits, side)] = int(values[1])

    return handle_click


def say_if_empty(found: Sensitivity | None, *, preparing: bool) -> bool:
    """Say that there is nothing to show yet, and return True; False with scores."""
    if found is not None and found.scores:
        return False
    coming = "Measuring the noise of every tensor; it needs no click."
    st.info(coming if preparing else "Nothing is known yet.", icon=":material/hourglass_empty:")
    return True
