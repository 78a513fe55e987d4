"""The pieces of the page Ranges: calibration, the overview, suspects, one tensor's figures."""

from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.calibration import Calibrated, calibrate
from analysis.distributions import Channels, Distribution
from analysis.grid_fit import Fit
from analysis.range_book import RangeBook, open_book
from analysis.suspects import Examined, suspects
from figures import takeaway
from figures.channels import channel_ranges
from figures.histogram import histogram
from figures.ranges import half_step, ranges_along_depth
from figures.units import format_share
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.simulation import Role
from ui.jobs import Job
from ui.workspace import Workspace

SUSPECTS_PX = 330


def book_of(workspace: Workspace) -> RangeBook | None:
    """Return the distributions of the present model, with activations once calibrated."""
    network, parts = workspace.network, workspace.parts
    if network is None:
        return None
    found = workspace.calibrated(network, parts) if parts is not None else None
    images = parts.calibration.digest if found and parts and parts.calibration else ""
    return _book(f"{network.digest} {images}", workspace, found)


@st.cache_resource(max_entries=6, show_spinner="Reading the weights")
def _book(key: str, _workspace: Workspace, _calibrated: Calibrated | None) -> RangeBook | None:
    del key  # it is the key of the cache
    network = _workspace.network
    return None if network is None else open_book(network.graph, _calibrated)


def examine_all(book: RangeBook, config: QuantConfig, role: Role) -> list[Examined]:
    """Return every tensor of one role under the configuration, or say why that cannot be."""
    try:
        return book.examine_all(config, role)
    except QuantError as error:
        st.error(str(error))
        return []


def calibration_note(workspace: Workspace, role: Role, *, known: bool) -> None:
    """Say what the statistics rest on; offer to calibrate where they are missing."""
    network, parts = workspace.network, workspace.parts
    if network is None:
        return
    if known:
        images = len(parts.calibration or ()) if parts else 0
        st.caption(f"Activations as calibrated on {images} images, apart from those to score.")
        return
    if parts is None or parts.calibration is None:
        st.info(
            "Ranges of activations need images; the model has none to calibrate with. "
            "Choose data on the page Model. Weights need none.",
            icon=":material/image:",
        )
        return
    text, button = st.columns([4, 1], vertical_alignment="center")
    missing = "Ranges of activations are not known yet: calibrate first."
    refined = "Judged by the weights alone; calibration adds the activations."
    text.info(missing if role is Role.ACTIVATION else refined, icon=":material/info:")
    button.button(
        "Calibrate", key="ranges.calibrate", type="primary", icon=":material/play_arrow:",
        width="stretch", on_click=_calibrate, args=(workspace,),
        disabled=bool(workspace.runner.active),
        help=f"Run the float network on {len(parts.calibration)} images",
    )  # fmt: skip


def _calibrate(workspace: Workspace) -> None:
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None or parts.calibration is None:
        return
    images, limits = parts.calibration, parts.input_range
    workspace.runner.submit(
        Job(
            f"Calibrate {network.name}",
            lambda: calibrate(network, images, limits),
            lambda found: workspace.keep_calibrated(network, parts, found),
        )
    )


def overview(examined: list[Examined], role: Role, picker: str) -> None:
    """Show all layers along the depth; a click writes the layer's name to `picker`."""

    def take() -> None:
        points = st.session_state["ranges.overview"].selection.points
        if points and points[0].get("customdata"):
            st.session_state[picker] = _first(points[0]["customdata"])

    figure = ranges_along_depth(examined, role, st.session_state.get(picker))
    st.plotly_chart(
        figure, key="ranges.overview", alt=takeaway(figure), on_select=take,
        selection_mode="points", config={"displayModeBar": False},
    )  # fmt: skip
    save(overview_table(examined), f"ranges-{role}s", "ranges.save.overview")


def _first(value: object) -> str:
    """Return the name in a point's custom data, which comes as a list or as a mapping."""
    if isinstance(value, dict):
        return str(next(iter(value.values())))
    return str(value[0]) if isinstance(value, list | tuple) else str(value)


def suspect_list(examined: list[Examined], role: Role, picker: str) -> None:
    """Show the suspects with the reasons; ticking a row writes the layer's name to `picker`."""
    found = suspects(examined)
    if not found:
        st.success(f"No {role} is suspect: the grids fit.", icon=":material/check:")
        return

    def take() -> None:
        rows = st.session_state["ranges.suspects"].selection.rows
        if rows:
            st.session_state[picker] = found[rows[0]].layer

    table = suspect_table(found)
    st.dataframe(
        table, key="ranges.suspects", hide_index=True, width="stretch", height=SUSPECTS_PX,
        on_select=take, selection_mode="single-row", alt=f"Suspect {role}s, the worst first",
        column_config={
            "layer": st.column_config.TextColumn("Layer", width=150),
            "bits": st.column_config.NumberColumn(
                "Costs", format="%.1f bit", width=70,
                help="What the worst reason costs, in bits of width",
            ),
            "reasons": st.column_config.TextColumn("Reasons", width=420),
        },
    )  # fmt: skip
    save(table, f"suspect-{role}s", "ranges.save.suspects")


def fit_cards(fit: Fit, before: Fit | None) -> None:
    """Show what a grid does to a tensor, with the change against the configured grid."""
    cards = st.columns(4)
    delta = None
    if before is not None and before.spec != fit.spec:
        change = fit.sqnr_db - before.sqnr_db
        delta = f"{change:+.1f} dB" if abs(change) >= 0.05 else "same"
    cards[0].metric(
        "SQNR", f"{fit.sqnr_db:.1f} dB", delta, border=True,
        delta_color="off" if delta == "same" else "normal",
        help="Signal to quantization noise of this tensor alone; higher is better. "
        "The change is against the configuration.",
    )  # fmt: skip
    cards[1].metric(
        "Clipped", format_share(fit.clipped_share), border=True,
        help="Values more than half a step outside the grid",
    )  # fmt: skip
    cards[2].metric(
        "Codes used", f"{fit.codes_used} of {fit.levels}", border=True,
        help="Integers of the grid that occur; of grids per channel, in any channel",
    )  # fmt: skip
    part = fit.clipping_part
    cards[3].metric(
        "Error", f"{format_share(1 - part)} rounding", f"{format_share(part)} clipping",
        delta_color="off", delta_arrow="off", border=True,
        help="Shares of the summed squared error",
    )  # fmt: skip


def tensor_figures(distribution: Distribution, fit: Fit | None) -> None:
    """Show the histogram under the grid beside the range of every channel."""
    name, role = f"{distribution.layer}-{distribution.role}", distribution.role
    left, right = st.columns(2, gap="medium")
    with left:
        _plot(histogram(distribution, fit), "ranges.histogram")
        save(histogram_table(distribution), f"{name}-histogram", "ranges.save.histogram")
    with right:
        channels = distribution.channels
        if channels is None:
            st.info("Ranges by channel are not known for this tensor.")
            return
        spot = st.empty()
        by_range = st.toggle(
            "Widest first", value=True, key="ranges.sort", help="Off: channels in their own order"
        )
        figure = channel_ranges(channels, fit, role, by_range=by_range)
        with spot:
            _plot(figure, "ranges.channels")
        save(channel_table(channels, fit), f"{name}-channels", "ranges.save.channels")


def _plot(figure: go.Figure, key: str) -> None:
    st.plotly_chart(figure, key=key, alt=takeaway(figure), config={"displayModeBar": False})


def save(table: pd.DataFrame, name: str, key: str) -> None:
    """Offer the numbers behind a figure as CSV; they are written only once asked for."""
    write: Callable[[], str] = lambda: table.to_csv(index=False)  # noqa: E731
    st.download_button(
        "CSV", write, f"{name}.csv", "text/csv", key=key, type="tertiary",
        icon=":material/download:", help="The numbers of this figure", on_click="ignore",
    )  # fmt: skip


def overview_table(examined: list[Examined]) -> pd.DataFrame:
    """Return a row a tensor: range, channels, moments, and what its grid does."""
    rows = []
    for item in examined:
        found, channels, fit = item.distribution, item.distribution.channels, item.fit
        rows.append(
            {
                "layer": item.layer,
                "role": str(found.role),
                "values": found.count,
                "zeros": found.zeros,
                "min": found.low,
                "max": found.high,
                "std": found.std,
                "kurtosis": found.kurtosis,
                "channels": len(channels.low) if channels else None,
                "widest_over_median": channels.ratio if channels else None,
                "half_step_of_one_grid": half_step(item),
                "bits": fit.spec.bits if fit else 32,
                "sqnr_db": fit.sqnr_db if fit else None,
                "clipped_share": fit.clipped_share if fit else None,
                "codes_used": fit.codes_used if fit else None,
                "bits_lost": item.bits_lost,
                "reasons": " ".join(finding.sentence for finding in item.findings),
            }
        )
    return pd.DataFrame(rows)


def suspect_table(found: list[Examined]) -> pd.DataFrame:
    """Return a row a suspect: layer, what the worst reason costs in bits, all reasons."""
    return pd.DataFrame(
        {
            "layer": [item.layer for item in found],
            "bits": [item.bits_lost for item in found],
            "reasons": [" ".join(finding.sentence for finding in item.findings) for item in found],
        }
    )


def histogram_table(distribution: Distribution) -> pd.DataFrame:
    """Return a row a bar: from, to, number of values."""
    counts, edges = distribution.bars()
    return pd.DataFrame({"from": edges[:-1], "to": edges[1:], "values": counts})


def channel_table(channels: Channels, fit: Fit | None) -> pd.DataFrame:
    """Return a row a channel: its range, and the ends and SQNR of its grid."""
    table = pd.DataFrame(
        {
            "channel": range(len(channels.low)),
            "min": channels.low,
            "inner_low": channels.inner_low,
            "mean": channels.mean,
            "inner_high": channels.inner_high,
            "max": channels.high,
        }
    )
    if fit is None:
        return table
    one = len(fit.low) == 1
    table["grid_low"] = fit.low[0] if one else fit.low
    table["grid_high"] = fit.high[0] if one else fit.high
    table["step"] = fit.scale[0] if one else fit.scale
    if fit.channel_sqnr_db is not None:
        table["sqnr_db"] = fit.channel_sqnr_db
    return table
