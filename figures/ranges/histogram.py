"""The histogram of a tensor under the tensor's encoding, with the clipping limits."""

import numpy as np
import plotly.graph_objects as go

from analysis.ranges.distributions import Bars, Distribution, Numbers
from analysis.ranges.encoding_fit import Fit
from figures.ranges.by_layer import LIMIT, PLOT_PX, SUSPECT, TENSOR_COLOR
from figures.style.layout import HALF_WIDTH, finish_figure, shorten_name
from figures.style.palette import FLOAT, with_opacity
from figures.style.units import format_share

# More lines than this are indistinguishable: 10 pixels each on a laptop.
MOST_LINES = 70


def value_histogram(distribution: Distribution, fit: Fit | None) -> go.Figure:
    """Return the counts (log) of a tensor's values, zeros included, under the encoding.

    The lines of the encoding stand where distinguishable; otherwise a band on the axis shows the
    step in words. With one encoding per channel, the plot shows the widest channel, and the ends of
    the median channel as dots. Outliers share a bar at the side, with their number.
    """
    bars = distribution.histogram_bars()
    figure = go.Figure()
    _add_count_bars(figure, distribution, bars)
    _add_outlier_bars(figure, bars)
    top = float(bars.counts.max(initial=1.0))
    title = f"{shorten_name(distribution.layer, 40)} stays in float"
    if fit is not None:
        widest = int(np.argmax(fit.high - fit.low))
        _add_encoding_lines(figure, fit, widest)
        _add_range_limits(figure, distribution, fit, widest)
        title = fit_title(fit)
    figure.update_xaxes(
        title=f"Value of the {distribution.side.noun}", zeroline=False, showgrid=False
    )
    figure.update_yaxes(
        title="Number of values (log)",
        type="log",
        dtick=1,
        exponentformat="power",
        range=[np.log10(0.6), np.log10(top) + 0.3],
    )
    figure.update_layout(bargap=0.0)
    if bars.below or bars.above:
        figure.update_xaxes(range=list(_axis_ends(bars)))
        _mark_limits_beyond(figure, bars, fit)
    return finish_figure(figure, title, PLOT_PX, legend_below=True, title_width=HALF_WIDTH)


def fit_title(fit: Fit) -> str:
    """Return the takeaway: the parts of the error under the encoding."""
    start = f"{fit.sqnr_db:.1f} dB at {fit.spec.bits} bits"
    if not np.isfinite(fit.sqnr_db):
        return f"Exact at {fit.spec.bits} bits"
    if fit.clipped_share == 0:
        return f"{start}: nothing is clipped, all error is rounding"
    return (
        f"{start}: {small_share(fit.clipped_share)} of the values are clipped and make "
        f"{format_share(fit.clipping_part)} of the error"
    )


def small_share(share: float) -> str:
    """Return a share as text, never 0 for a positive share."""
    return "under 0.1 %" if 0 < share < 0.001 else format_share(share)


def _side_width(bars: Bars) -> float:
    """Return the width of a bar of outliers: a twelfth of the bulk."""
    low, high = bars.bulk
    return (high - low) / 12


def _axis_ends(bars: Bars) -> tuple[float, float]:
    """Return the ends of the axis: the bulk, and a place for outliers at each side."""
    low, high = bars.bulk
    return low - 1.6 * _side_width(bars), high + 1.6 * _side_width(bars)


def _add_outlier_bars(figure: go.Figure, bars: Bars) -> None:
    """Draw a bar for the outliers of each side beside the bulk, with their number above."""
    low, high = bars.bulk
    width = _side_width(bars)
    sides = (
        (bars.below, low - width, bars.outliers[0], float(bars.edges[0]), "down to"),
        (bars.above, high + width, bars.outliers[1], float(bars.edges[-1]), "up to"),
    )
    for there, place, number, end, word in sides:
        if there and number:
            figure.add_bar(
                name=f"{number:,} outliers, {word} {end:.3g}",
                x=[place],
                y=[number],
                width=[width],
                marker={"color": SUSPECT, "line": {"width": 0}},
                text=[f"{number:,}"],
                textposition="outside",
                cliponaxis=False,
                hovertemplate=f"{number:,} values {word} {end:.4g}<extra></extra>",
            )


def _mark_limits_beyond(figure: go.Figure, bars: Bars, fit: Fit | None) -> None:
    """Name the clipping limits that lie beyond the ends of the axis."""
    if fit is None:
        return
    start, stop = _axis_ends(bars)
    widest = int(np.argmax(fit.high - fit.low))
    low, high = float(fit.low[widest]), float(fit.high[widest])
    for beyond, place, value, anchor in (
        (low < start, start, f"← limit {low:.3g}", "left"),
        (high > stop, stop, f"limit {high:.3g} →", "right"),
    ):
        if beyond:
            figure.add_annotation(
                x=place, y=0.97, yref="paper", text=value, showarrow=False, xanchor=anchor
            )


def _add_count_bars(figure: go.Figure, distribution: Distribution, bars: Bars) -> None:
    inner = slice(int(bars.below), len(bars.counts) - int(bars.above))
    counts = bars.counts[inner]
    edges = bars.edges[int(bars.below) : len(bars.edges) - int(bars.above)]
    filled = counts > 0  # a log axis cannot show zero
    middles, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    widths = np.where(widths > 0, widths, 1.0)
    figure.add_bar(
        name="Values",
        x=middles[filled],
        y=counts[filled],
        width=widths[filled],
        marker={"color": TENSOR_COLOR[distribution.side.noun], "line": {"width": 0}},
        customdata=np.column_stack([edges[:-1][filled], edges[1:][filled]]),
        hovertemplate="%{customdata[0]:.4g} to %{customdata[1]:.4g}<br>%{y:,.0f} values"
        "<extra></extra>",
    )


def _add_encoding_lines(figure: go.Figure, fit: Fit, widest: int) -> None:
    low, high, scale = float(fit.low[widest]), float(fit.high[widest]), float(fit.scale[widest])
    lines = round((high - low) / scale) + 1
    own = ":" if len(fit.scale) == 1 else f" of channel {widest}, the widest:"
    if lines <= MOST_LINES:
        points = low + scale * np.arange(lines, dtype=np.float64)
        figure.add_scatter(
            name=f"Encoding{own} {lines} steps of {scale:.3g}",
            x=_upright_lines(points),
            y=[0.1, 1e12, None] * lines,
            mode="lines",
            line={"color": with_opacity(FLOAT, 0.55), "width": 1},
            hoverinfo="skip",
        )
        return
    # Too dense to draw: a band along the foot of the plot replaces the lines.
    figure.add_scatter(
        name=f"Encoding{own} {lines} steps of {scale:.3g}, too fine to draw",
        x=[low, high],
        y=[0.72, 0.72],
        mode="lines",
        line={"color": LIMIT, "width": 7},
        opacity=0.7,
        hovertemplate=f"{lines} codes, {scale:.4g} apart<extra></extra>",
    )


def _upright_lines(points: Numbers) -> list[float | None]:
    """Return each point twice and a gap behind the point: upright lines in a single trace."""
    return [value for point in points for value in (float(point), float(point), None)]


def _add_range_limits(figure: go.Figure, distribution: Distribution, fit: Fit, widest: int) -> None:
    low, high = float(fit.low[widest]), float(fit.high[widest])
    _add_end_lines(figure, "Clipping limits", (low, high), "solid")
    if len(fit.low) > 1:
        median = int(np.argsort(fit.high - fit.low)[len(fit.low) // 2])
        ends = float(fit.low[median]), float(fit.high[median])
        _add_end_lines(figure, f"Limits of channel {median}, the median", ends, "dot")
    for start, end in ((distribution.low, low), (high, distribution.high)):
        if end - start > float(fit.scale[widest]) / 2:
            figure.add_vrect(x0=start, x1=end, fillcolor=SUSPECT, opacity=0.12, line_width=0)


def _add_end_lines(figure: go.Figure, name: str, ends: tuple[float, float], dash: str) -> None:
    figure.add_scatter(
        name=name,
        x=_upright_lines(np.array(ends)),
        y=[0.1, 1e12, None] * 2,
        mode="lines",
        line={"color": LIMIT, "width": 2, "dash": dash},
        hovertemplate=f"{name}: %{{x:.4g}}<extra></extra>",
    )
