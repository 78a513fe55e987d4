"""The ranges of the channels of a tensor."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from analysis.ranges.distributions import Channels, Numbers, format_ratio
from analysis.ranges.encoding_fit import Fit
from figures.ranges.by_layer import DECADES_BELOW, LIMIT, PLOT_PX, TENSOR_COLOR
from figures.style.layout import HALF_WIDTH, finish_figure
from figures.style.palette import with_opacity


def channel_magnitudes(
    channels: Channels, fit: Fit | None, noun: str, *, by_range: bool
) -> go.Figure:
    """Return the largest magnitude of every channel on a log axis, over half a step.

    A channel under the line rounds to zero. For tensors whose channels differ by decades, where
    `channel_ranges` shows only the widest channel.
    """
    order = _channel_order(channels, by_range)
    values = channels.largest_by_channel[order]
    bottom = _log_floor(channels, fit)
    figure = go.Figure()
    figure.add_bar(
        name="Largest magnitude",
        x=list(range(len(order))),
        y=np.maximum(values, bottom),
        marker={"color": TENSOR_COLOR[noun], "line": {"width": 0}},
        customdata=np.column_stack([order, values]),
        hovertemplate="<b>Channel %{customdata[0]}</b><br>largest magnitude "
        "%{customdata[1]:.4g}<extra></extra>",
    )
    if fit is not None:
        _add_step_line(
            figure, "Half a step of the encoding", _per_channel(fit.scale / 2, order), shown=True
        )
    _label_axis(figure, order, by_range=by_range)
    figure.update_yaxes(
        title=f"Largest magnitude of the {noun} (log)",
        type="log",
        dtick=1,
        exponentformat="power",
        range=[np.log10(bottom), np.log10(max(float(values.max(initial=0.0)), bottom)) + 0.2],
    )
    return finish_figure(
        figure, _magnitude_title(channels, fit), PLOT_PX, legend_below=True, title_width=HALF_WIDTH
    )


def channel_ranges(channels: Channels, fit: Fit | None, noun: str, *, by_range: bool) -> go.Figure:
    """Return minimum, inner range and maximum of every channel, and the ends of the encoding.

    Channels stand in stored order, or from the widest to the narrowest.
    """
    order = _channel_order(channels, by_range)
    color = TENSOR_COLOR[noun]
    figure = go.Figure()
    inner = "5th to 95th percentile" if noun == "weight" else "Mean ± 2 std"
    numbers = _channel_numbers(channels, order)
    template = (
        "<b>Channel %{customdata[0]}</b><br>%{customdata[1]:.4g} to %{customdata[2]:.4g}<br>"
        f"{inner}: %{{customdata[3]:.4g}} to %{{customdata[4]:.4g}}<br>"
        "mean %{customdata[5]:.4g}<extra></extra>"
    )
    for label, low, high, shade in (
        ("Minimum to maximum", channels.low, channels.high, with_opacity(color, 0.35)),
        (inner, channels.inner_low, channels.inner_high, color),
    ):
        figure.add_bar(
            name=label,
            x=list(range(len(order))),
            base=low[order],
            y=(high - low)[order],
            marker={"color": shade, "line": {"width": 0}},
            customdata=numbers,
            hovertemplate=template,
        )
    if fit is not None:
        _add_step_line(figure, "Ends of the encoding", _per_channel(fit.low, order), shown=True)
        _add_step_line(figure, "Ends of the encoding", _per_channel(fit.high, order), shown=False)
    _label_axis(figure, order, by_range=by_range)
    figure.update_yaxes(title=f"Value of the {noun}", zeroline=True)
    return finish_figure(
        figure, _channel_title(channels), PLOT_PX, legend_below=True, title_width=HALF_WIDTH
    )


def _channel_numbers(channels: Channels, order: NDArray[np.intp]) -> Numbers:
    return np.column_stack(
        [
            order,
            channels.low[order],
            channels.high[order],
            channels.inner_low[order],
            channels.inner_high[order],
            channels.mean[order],
        ]
    )


def _channel_order(channels: Channels, by_range: bool) -> NDArray[np.intp]:
    if by_range:
        return np.argsort(-channels.largest_by_channel, kind="stable")
    return np.arange(len(channels.low))


def _label_axis(figure: go.Figure, order: NDArray[np.intp], *, by_range: bool) -> None:
    figure.update_layout(barmode="overlay", bargap=0.15 if len(order) < 150 else 0.0)
    figure.update_xaxes(
        title="Channel, widest first" if by_range else "Channel",
        range=[-0.6, len(order) - 0.4],
        showgrid=False,
        zeroline=False,
    )


def _per_channel(values: Numbers, order: NDArray[np.intp]) -> Numbers:
    """Return a value for each channel, from a single shared value or from C values."""
    return values[order] if len(values) == len(order) else np.full(len(order), values[0])


def _add_step_line(figure: go.Figure, name: str, values: Numbers, *, shown: bool) -> None:
    places = np.arange(len(values))
    figure.add_scatter(
        name=name,
        x=np.column_stack([places - 0.5, places + 0.5]).ravel(),
        y=np.repeat(values, 2),
        mode="lines",
        line={"color": LIMIT, "width": 1.5},
        showlegend=shown,
        hoverinfo="skip",
    )


def _log_floor(channels: Channels, fit: Fit | None) -> float:
    """Return the start of the log axis: under all live channels and under the half steps."""
    alive = channels.largest_by_channel[channels.alive_channels]
    if not len(alive):
        return 1e-3
    bottom = float(alive.min())
    if fit is not None:
        bottom = min(bottom, float(fit.scale.min()) / 2)
    return max(bottom, float(alive.max()) * DECADES_BELOW) / 2


def _magnitude_title(channels: Channels, fit: Fit | None) -> str:
    alive = channels.alive_channels
    if fit is None or not alive.any():
        return _channel_title(channels)
    halves = _per_channel(fit.scale / 2, np.arange(len(alive)))
    lost = int((channels.largest_by_channel[alive] < halves[alive]).sum())
    if not lost:
        return _channel_title(channels)
    word = "channel rounds" if lost == 1 else "channels round"
    return f"{lost} {word} to zero, of {int(alive.sum())} with values"


def _channel_title(channels: Channels) -> str:
    if not channels.alive_channels.any():
        return "All channels are zero"
    if len(channels.low) == 1:
        return f"One channel, from {channels.low[0]:.3g} to {channels.high[0]:.3g}"
    widest = int(np.argmax(channels.largest_by_channel))
    ratio = channels.widest_to_median_ratio
    if ratio < 1.5:
        return f"All {len(channels.low)} channels span about the same range"
    times, count = format_ratio(ratio), len(channels.low)
    return f"Channel {widest} spans {times} times the median of {count} channels"
