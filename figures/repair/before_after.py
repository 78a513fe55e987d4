"""The effect of each repair on layer errors, channel ranges, means and rounding."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.ranges.distributions import format_ratio, widest_to_median_ratio
from figures.style.layout import (
    HALF_WIDTH,
    NAMED_FIRST,
    count_word,
    escape_markup,
    finish_figure,
    label_rows,
    mark_px,
    rows_height_px,
    shorten_name,
)
from figures.style.palette import AFTER, BEFORE, FLOAT, WEIGHT, with_opacity

WIDE_SPREAD = 30  # a channel so much wider than the median hides the rest on a linear axis
MOST_CHANNELS = 400
Ranges = Sequence[tuple[float, float]]


def sqnr_before_after(before: Mapping[str, float], after: Mapping[str, float]) -> go.Figure:
    """Return each layer's SQNR in dB before and after, in execution order, without exact layers."""
    names = [
        name for name in after if math.isfinite(after[name]) and math.isfinite(before.get(name, 0))
    ]
    figure = go.Figure()
    figure.add_scatter(
        x=[end for name in names for end in (before.get(name), after[name], None)],
        y=[row for place in range(len(names)) for row in (place, place, None)],
        mode="lines",
        line={"color": with_opacity(FLOAT), "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    for title, values, color in (("Before", before, BEFORE), ("After", after, AFTER)):
        figure.add_scatter(
            name=title,
            mode="markers",
            marker={"color": color, "size": mark_px(len(names))},
            x=[values.get(name) for name in names],
            y=list(range(len(names))),
            customdata=[escape_markup(name) for name in names],
            hovertemplate="<b>%{customdata}</b><br>%{x:.1f} dB<extra>" + title + "</extra>",
        )
    worst_first = sorted(range(len(names)), key=lambda row: after[names[row]])
    label_rows(figure, names, first=worst_first[:NAMED_FIRST])
    figure.update_xaxes(title="Output SQNR (dB),<br>higher is better")
    better = sum(1 for name in names if after[name] > before.get(name, -math.inf))
    title = f"Less error than before in {count_word(better).lower()} of {len(names)} layers"
    return finish_figure(
        figure, title, rows_height_px(len(names)), legend_below=True, title_width=HALF_WIDTH
    )


def ranges_before_after(layer: str, before: Ranges, after: Ranges) -> go.Figure:
    """Return the range (low, high) of the output channels' weights before and after.

    Channels are sorted by the range before; of more than 400 channels, only a part is drawn, at
    equal distances. For ranges of different decades, a log axis shows the lengths of the ranges.
    """
    order = sorted(range(len(before)), key=lambda c: before[c][1] - before[c][0], reverse=True)
    step = math.ceil(len(order) / MOST_CHANNELS)
    old, new = channel_spread(before), channel_spread(after)
    as_log = max(old, new) > WIDE_SPREAD
    figure = go.Figure()
    for title, ranges, color, shift in (
        ("Before", before, BEFORE, -0.2),
        ("After", after, AFTER, 0.2),
    ):
        shown = {channel: ranges[channel] for channel in order[::step]}
        if as_log:
            _add_range_lengths(figure, title, shown, color)
        else:
            _add_channel_ranges(figure, title, shown, color, shift)
    figure.update_layout(barmode="overlay")
    every = "" if step == 1 else f"; 1 in {step} is drawn"
    figure.update_xaxes(title=f"Output channels<br>by range before{every}", showticklabels=False)
    figure.update_yaxes(title="Weights of the channel")
    if as_log:
        figure.update_yaxes(
            title="Range of the weights (log)", type="log", dtick=1, exponentformat="power"
        )
    return finish_figure(
        figure,
        f"{shorten_name(layer, 40)}: widest channel {format_ratio(old)} times the median before, "
        f"{format_ratio(new)} times after",
        280,
        legend_below=True,
        title_width=HALF_WIDTH,
    )


def _add_channel_ranges(
    figure: go.Figure,
    title: str,
    ranges: Mapping[int, tuple[float, float]],
    color: str,
    shift: float,
) -> None:
    """Draw a bar from the smallest to the largest weight of every channel."""
    figure.add_bar(
        name=title,
        x=[place + shift for place in range(len(ranges))],
        width=0.4,
        y=[high - low for low, high in ranges.values()],
        base=[low for low, _ in ranges.values()],
        marker={"color": color, "line": {"width": 0}},
        customdata=[[channel, *ends] for channel, ends in ranges.items()],
        hovertemplate="channel %{customdata[0]}<br>%{customdata[1]:.4g} to %{customdata[2]:.4g}"
        "<extra>" + title + "</extra>",
    )


def _add_range_lengths(
    figure: go.Figure, title: str, ranges: Mapping[int, tuple[float, float]], color: str
) -> None:
    """Draw a point at the length of a channel's range; a log axis shows no zero."""
    figure.add_scatter(
        name=title,
        x=list(range(len(ranges))),
        mode="markers",
        y=[high - low or None for low, high in ranges.values()],
        marker={"color": color, "size": 5},
        customdata=[[channel, *ends] for channel, ends in ranges.items()],
        hovertemplate="channel %{customdata[0]}<br>%{customdata[1]:.4g} to %{customdata[2]:.4g}"
        "<extra>" + title + "</extra>",
    )


def channel_spread(ranges: Ranges) -> float:
    """Return the widest over the median channel, as Ranges and the report tell it."""
    return widest_to_median_ratio(np.abs(np.array(ranges, float).reshape(-1, 2)).max(1))


def bias_shift(layer: str, before: Sequence[float], after: Sequence[float] | None) -> go.Figure:
    """Return the shift of each channel's mean by quantization, and the rest after correction."""
    figure = go.Figure()
    series = [("Before", before, BEFORE)] + ([] if after is None else [("After", after, AFTER)])
    for title, values, color in series:
        figure.add_scatter(
            name=title,
            mode="markers",
            x=list(range(len(values))),
            y=list(values),
            marker={"color": color, "size": 7},
            hovertemplate="channel %{x}<br>%{y:.4g}<extra>" + title + "</extra>",
        )
    figure.update_xaxes(title="Output channel")
    figure.update_yaxes(title="Shift of the mean, nearer 0 is better")
    largest = max((abs(value) for value in before), default=0.0)
    title = f"{shorten_name(layer, 40)}: quantization moved a mean by up to {largest:.3g}"
    if after is not None:
        title += f", correction leaves {max((abs(value) for value in after), default=0.0):.2g}"
    return finish_figure(figure, title, 260, legend_below=True, title_width=HALF_WIDTH)


def rounding_gain(
    layers: Sequence[str],
    ratios: Sequence[float],
    before: str = "nearest rounding's error",
    rows: str = "layers",
) -> go.Figure:
    """Return the remaining error of each layer, or block, after learned rounding, shares of 1.

    `before` names the error that is 1, and `rows` what has a row.
    """
    figure = go.Figure(
        go.Bar(
            x=[100 * ratio for ratio in ratios],
            y=list(range(len(layers))),
            orientation="h",
            marker={"color": WEIGHT},
            customdata=[escape_markup(name) for name in layers],
            hovertemplate=f"<b>%{{customdata}}</b><br>%{{x:.0f}} % of {before}<extra></extra>",
        )
    )
    label_rows(figure, layers)
    figure.update_xaxes(title=f"Error left (% of {before}), lower is better")
    mean = sum(ratios) / len(ratios) if ratios else 1.0
    title = f"Learned rounding leaves {100 * mean:.0f} % of the error, on average over {rows}"
    return finish_figure(figure, title, rows_height_px(len(layers)))
