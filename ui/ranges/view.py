"""The pieces of the page Ranges: calibration, the overview, suspects, the figures of a tensor."""

import streamlit as st

from analysis.ranges.distributions import Distribution
from analysis.ranges.encoding_fit import Fit
from analysis.ranges.findings import CHANNEL_RATIO, ExaminedTensor, rank_suspect_tensors
from analysis.ranges.tensors import RangeBook
from analysis.runs.apply_recipe import title_of_pass
from figures import Figure
from figures.ranges.by_layer import ranges_along_depth
from figures.ranges.channels import channel_magnitudes, channel_ranges
from figures.ranges.histogram import small_share, value_histogram
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.passes.recipe import Recipe
from quant.passes.use_encodings import UseEncodings
from quant.simulation.plan import Side
from quant.training.state.use_training import UseTraining
from ui.answers.range_book import calibrate_experiment, float_passes
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.ranges.tables import channel_table, histogram_table, overview_table, suspect_table
from ui.state.choices_history import PickedLayer
from ui.state.workspace import Workspace
from ui.widgets.download import csv_download_button
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain
from ui.widgets.selection import clicked_name

SUSPECTS_PX = 400


def examine_tensors(book: RangeBook, config: QuantConfig, side: Side) -> list[ExaminedTensor]:
    """Return the tensors of a side under the configuration; show the error and return [] else."""
    try:
        with st.spinner("Examining every layer"):
            return book.examine_all_tensors(config, side)
    except QuantError as error:
        st.error(plain(str(error)))
        return []


def repair_note(workspace: Workspace, passes: Recipe) -> None:
    """Say after which repairs of the experiment the tensors are shown, or before which."""
    wanted = float_passes(workspace)
    if passes:
        names = " and ".join(title_of_pass(step).lower() for step in passes)
        st.caption(plain(f"Tensors after the repairs of the present experiment: {names}."))
    elif wanted:
        st.info(
            "The present experiment has repairs that learn from data: calibrate to see the "
            "tensors after them. Until then, the tensors are those before the repairs.",
            icon=":material/build:",
        )
    if any(
        isinstance(step, UseEncodings | UseTraining) for step in workspace.experiment.all_passes
    ):
        st.caption("Encodings from a file or a training count on Run, not on this page.")


def calibration_note(workspace: Workspace, side: Side, *, known: bool) -> None:
    """Name the images behind the statistics; offer to calibrate without statistics."""
    network, parts = workspace.network, workspace.parts
    if network is None:
        return
    if known:
        images = len(parts.calibration or ()) if parts else 0
        st.caption(
            f"Activations as calibrated on {images} {network.noun}s, apart from those to score."
        )
        return
    if parts is None or parts.calibration is None:
        st.info(
            f"Ranges of activations need {network.noun}s; the model has none to calibrate with. "
            "Choose data on the page Model. Weights need none.",
            icon=":material/image:",
        )
        return
    row = st.container(horizontal=True, vertical_alignment="center")
    missing = "Ranges of activations are not known yet: calibrate first."
    refined = "Judged by the weights alone; calibration adds the activations."
    row.info(missing if side is Side.ACTIVATIONS else refined, icon=":material/info:")
    row.button(
        "Calibrate",
        key="ranges.calibrate",
        type="primary",
        icon=":material/play_arrow:",
        on_click=_start_calibration,
        args=(workspace,),
        disabled=workspace.runner.active_of(JobKind.CALIBRATE) is not None,
        help=f"Run the float network on {len(parts.calibration)} {network.noun}s",
    )


def _start_calibration(workspace: Workspace) -> None:
    study = workspace.job_study
    if study is not None and study.calibration is not None:
        title, passes = f"{JobKind.CALIBRATE} {study.network.name}", float_passes(workspace)
        steps = lambda: calibrate_experiment(study, passes)  # noqa: E731
        job = Job(JobKind.CALIBRATE, title, steps, lambda _: None)
        workspace.runner.submit(job)


def ranges_overview(
    examined: list[ExaminedTensor], side: Side, picker: str, picked: str, seen: PickedLayer
) -> None:
    """Show the layers along the depth; a click writes the layer's name to `picker` and `seen`."""

    def pick_layer() -> None:
        points = st.session_state["ranges.overview"].selection.points
        if points and points[0].get("customdata"):
            st.session_state[picker] = clicked_name(points[0]["customdata"])
            seen.pick_layer(st.session_state[picker])

    figure = ranges_along_depth(examined, side.noun, picked)
    show_figure(figure, "ranges.overview", on_select=pick_layer, toolbar=False)
    csv_download_button(overview_table(examined), f"ranges-{side}", "ranges.save.overview")


def suspect_list(
    examined: list[ExaminedTensor], side: Side, picker: str, seen: PickedLayer
) -> None:
    """Show suspects with reasons; a ticked row writes the layer's name to `picker` and `seen`."""
    found = rank_suspect_tensors(examined)
    if not found:
        st.success(f"No {side.noun} is suspect: the encodings fit.", icon=":material/check:")
        return

    def pick_layer() -> None:
        rows = st.session_state["ranges.suspects"].selection.rows
        if rows:
            st.session_state[picker] = found[rows[0]].layer_name
            seen.pick_layer(found[rows[0]].layer_name)

    table = suspect_table(found)
    st.dataframe(
        table[["layer", "bits", "reason"]],
        key="ranges.suspects",
        hide_index=True,
        width="stretch",
        height=SUSPECTS_PX,
        row_height=112,
        on_select=pick_layer,
        selection_mode="single-row",
        alt=f"Suspect {side}, the worst first",
        column_config={
            "layer": st.column_config.TextColumn("Layer", width=120),
            "bits": st.column_config.NumberColumn(
                "Costs",
                format="%.1f bit",
                width=60,
                help="What the worst reason costs, in bits of width",
            ),
            "reason": st.column_config.TextColumn("Worst reason", width=150),
        },
    )
    csv_download_button(table, f"suspect-{side}", "ranges.save.suspects")


def encoding_fit_cards(fit: Fit, before: Fit | None) -> None:
    """Show the effect of an encoding on a tensor, against the effect of the configured encoding."""
    cards = st.container(horizontal=True)  # wraps in a narrow window
    delta = None
    if before is not None and before.spec != fit.spec:
        change = fit.sqnr_db - before.sqnr_db
        delta = f"{change:+.1f} dB" if abs(change) >= 0.05 else "same"
    cards.metric(
        "SQNR",
        f"{fit.sqnr_db:.1f} dB",
        delta,
        border=True,
        height="stretch",
        delta_color="off" if delta == "same" else "normal",
        help="Signal to quantization noise of this tensor alone; higher is better. "
        "The change is against the configuration.",
    )
    cards.metric(
        "Clipped",
        small_share(fit.clipped_share),
        border=True,
        height="stretch",
        help="Values more than half a step outside the encoding",
    )
    cards.metric(
        "Codes used",
        f"{fit.codes_used} of {fit.code_count}",
        border=True,
        height="stretch",
        help="Integers of the encoding that occur; of encodings per channel, in any channel",
    )
    part = round(100 * fit.clipping_part)
    cards.metric(
        "Rounding / clipping",
        f"{100 - part} / {part} %",
        border=True,
        height="stretch",
        help="Shares of the summed squared error",
    )


def suspect_reasons(item: ExaminedTensor) -> None:
    """Say why a layer is suspect under the configuration; nothing for other layers."""
    for finding in item.findings:
        st.markdown(f":material/warning: **{plain(finding.cause)}** · {plain(finding.sentence)}")


def tensor_figures(distribution: Distribution, fit: Fit | None) -> None:
    """Show the histogram with the encoding beside the ranges of the channels."""
    name, noun = f"{distribution.layer}-{distribution.side.noun}", distribution.side.noun
    left, right = st.columns(2, gap="medium")
    with left:
        _show_figure(value_histogram(distribution, fit), "ranges.histogram")
        csv_download_button(
            histogram_table(distribution), f"{name}-histogram", "ranges.save.histogram"
        )
    with right:
        channels = distribution.channels
        if channels is None:
            st.info("Ranges by channel are not known for this tensor.")
            return
        spot = st.empty()
        row = st.container(horizontal=True)
        by_range = row.toggle(
            "Widest first", value=True, key="ranges.sort", help="Off: channels in their own order"
        )
        as_log = row.toggle(
            "Log scale",
            value=channels.widest_to_median_ratio >= CHANNEL_RATIO,
            key=f"ranges.log.{name}",
            help="For channels that differ by decades",
        )
        draw = channel_magnitudes if as_log else channel_ranges
        with spot:
            _show_figure(draw(channels, fit, noun, by_range=by_range), "ranges.channels")
        csv_download_button(
            channel_table(channels, fit), f"{name}-channels", "ranges.save.channels"
        )


def _show_figure(figure: Figure, key: str) -> None:
    show_figure(figure, key, toolbar=False)
