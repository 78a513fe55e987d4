"""The range of every channel of one tensor."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.distributions import Channels, Numbers
from analysis.grid_fit import Fit
from figures.layout import finish
from figures.palette import faded
from figures.ranges import LIMIT, PLOT_PX, ROLE_COLOR


def channel_ranges(channels: Channels, fit: Fit | None, role: str, *, by_range: bool) -> go.Figure:
    """Return minimum, inner range and maximum of every channel, and the ends of the grid.

    Channels stand in their own order, or from the widest to the narrowest.
    """
    order = (
        np.argsort(-channels.largest, kind="stable") if by_range else np.arange(len(channels.low))
    )
    color = ROLE_COLOR[role]
    figure = go.Figure()
    inner = "5th to 95th percentile" if role == "weight" else "Mean ± 2 std"
    numbers = _channel_numbers(channels, order)
    template = (
        "<b>Channel %{customdata[0]}</b><br>%{customdata[1]:.4g} to %{customdata[2]:.4g}<br>"
        f"{inner}: %{{customdata[3]:.4g}} to %{{customdata[4]:.4g}}<br>"
        "mean %{customdata[5]:.4g}<extra></extra>"
    )
    for label, low, high, shade in (
        ("Minimum to maximum", channels.low, channels.high, faded(color, 0.35)),
        (inner, channels.inner_low, channels.inner_high, color),
    ):
        figure.add_bar(
            name=label, x=list(range(len(order))), base=low[order], y=(high - low)[order],
            marker={"color": shade, "line": {"width": 0}}, customdata=numbers,
            hovertemplate=template,
        )  # fmt: skip
    if fit is not None:
        _add_grid_ends(figure, fit, order)
    figure.update_layout(barmode="overlay", bargap=0.15 if len(order) < 150 else 0.0)
    figure.update_xaxes(
        title="Channel, widest first" if by_range else "Channel",
        range=[-0.6, len(order) - 0.4], showgrid=False, zeroline=False,
    )  # fmt: skip
    figure.update_yaxes(title=f"Value of the {role}", zeroline=True)
    return finish(figure, _channel_title(channels), PLOT_PX, legend_below=True)


def _channel_numbers(channels: Channels, order: NDArray[Any]) -> Numbers:
    return np.column_stack(
        [
            order,
            channels.low[order], channels.high[order],
            channels.inner_low[order], channels.inner_high[order], channels.mean[order],
        ]
    )  # fmt: skip


def _add_grid_ends(figure: go.Figure, fit: Fit, order: NDArray[Any]) -> None:
    places = np.arange(len(order))
    x = np.column_stack([places - 0.5, places + 0.5]).ravel()
    for ends, shown in ((fit.low, True), (fit.high, False)):
        by_channel = ends[order] if len(ends) == len(order) else np.full(len(order), ends[0])
        figure.add_scatter(
            name="Ends of the grid", x=x, y=np.repeat(by_channel, 2), mode="lines",
            line={"color": LIMIT, "width": 1.5}, showlegend=shown, hoverinfo="skip",
        )  # fmt: skip


def _channel_title(channels: Channels) -> str:
    if not channels.alive.any():
        return "All channels are zero"
    widest = int(np.argmax(channels.largest))
    ratio = channels.ratio
    if ratio < 1.5:
        return f"All {len(channels.low)} channels span about the same range"
    return f"Channel {widest} spans {ratio:.3g} times the median of {len(channels.low)} channels"
