"""What a training changed: ranges of encodings, codes of weights, widths, arms, rates."""

from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.training.arms import ArmResult
from analysis.training.changes import CodeHistogram, EncodingChange
from analysis.training.rate_finder import RateCurve
from figures.style.error_bars import interval_bars
from figures.style.layout import (
    HALF_WIDTH,
    escape_markup,
    finish_figure,
    label_rows,
    rows_height_px,
    shorten_names,
)
from figures.style.palette import AFTER, BEFORE, WEIGHT, bits_color
from quant.simulation.plan import Side
from quant.training.state.trained_state import CurvePoint

HEIGHT_PX = 320
BITS_OF = "bits of "


def encoding_change_figure(changes: Sequence[EncodingChange], side: Side) -> go.Figure:
    """Return an arrow by layer from the encoding's range before to the range after."""
    own = [one for one in changes if one.side is side]
    figure = go.Figure()
    for title, color, symbol in (("before", BEFORE, "line-ns-open"), ("after", AFTER, "diamond")):
        ranges = [one.before if title == "before" else one.after for one in own]
        figure.add_scatter(
            x=[end for low, high in ranges for end in (low, high)],
            y=[row for row in range(len(own)) for _ in (0, 1)],
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 9},
            name=title,
            customdata=[one.layer for one in own for _ in (0, 1)],
            hovertemplate="%{customdata}: %{x:.4g}<extra>" + title + "</extra>",
        )
    for row, one in enumerate(own):
        for old, new in zip(one.before, one.after, strict=True):
            figure.add_annotation(
                x=new,
                y=row,
                ax=old,
                ay=row,
                axref="x",
                ayref="y",
                text="",
                showarrow=True,
                arrowhead=2,
                arrowwidth=1.2,
                arrowcolor=AFTER,
            )
    label_rows(figure, [one.layer for one in own])
    figure.update_xaxes(title=f"range of the encoding of {side}")
    narrower = sum(one.growth < 1 for one in own)
    title = f"{narrower} of {len(own)} encodings of {side} are narrower after training"
    return finish_figure(figure, title, rows_height_px(len(own)), title_width=HALF_WIDTH)


def moved_codes_figure(changes: Sequence[EncodingChange]) -> go.Figure:
    """Return the share of weights with another whole number, by layer."""
    own = [one for one in changes if one.moved is not None]
    shares = [100 * (one.moved or 0.0) for one in own]
    figure = go.Figure()
    figure.add_bar(
        x=shares,
        y=list(range(len(own))),
        orientation="h",
        marker={"color": WEIGHT},
        customdata=[one.layer for one in own],
        hovertemplate="%{customdata}: %{x:.1f} %<extra></extra>",
    )
    label_rows(figure, [one.layer for one in own])
    figure.update_xaxes(title="weights with another whole number, %")
    most = max(own, key=lambda one: one.moved or 0.0, default=None)
    title = "No weight has an encoding"
    if most is not None:
        title = f"Most moved: {100 * (most.moved or 0.0):.0f} % of the weights of {most.layer}"
    return finish_figure(figure, title, rows_height_px(len(own)), title_width=HALF_WIDTH)


def code_histogram_figure(histogram: CodeHistogram) -> go.Figure:
    """Return a layer's weights in steps of the encoding, before and after training."""
    middles = [
        (low + high) / 2
        for low, high in zip(histogram.edges[:-1], histogram.edges[1:], strict=True)
    ]
    figure = go.Figure()
    for name, color, shares in (
        ("before", BEFORE, histogram.before),
        ("after", AFTER, histogram.after),
    ):
        figure.add_scatter(
            x=middles,
            y=[100 * share for share in shares],
            name=name,
            mode="lines",
            line={"color": color, "shape": "hvh"},
            hovertemplate="%{x:.2f} steps: %{y:.1f} % of the weights<extra>" + name + "</extra>",
        )
    figure.update_xaxes(title="weight in steps of its encoding")
    figure.update_yaxes(title="share of weights, %")
    title = f"{histogram.layer}: weights in steps, before and after"
    return finish_figure(figure, title, HEIGHT_PX, title_width=HALF_WIDTH)


def width_share_figure(points: Sequence[CurvePoint]) -> go.Figure | None:
    """Return the share of channels at each width as areas over the steps; None without widths."""
    last = points[-1].measures if points else {}
    names = [name for name in last if name.startswith("share_")]
    if not names:
        return None
    steps = [point.step for point in points]
    figure = go.Figure()
    for name in names:
        bits = int(name.split("_")[1])
        figure.add_scatter(
            x=steps,
            y=[100 * point.measures.get(name, 0.0) for point in points],
            name=f"{bits} bit" if bits == 1 else f"{bits} bits",
            stackgroup="widths",
            line={"width": 0.5, "color": bits_color(bits)},
            hovertemplate="step %{x}: %{y:.1f} % of the channels<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="channels, %", range=[0, 100])
    mean = last.get("mean_bits", 0.0)
    return finish_figure(figure, f"{mean:.2f} bits a weight on average at the end", HEIGHT_PX)


def layer_width_figure(points: Sequence[CurvePoint]) -> go.Figure | None:
    """Return the mean width of each layer's channels over the steps; None without widths."""
    names = [name for name in (points[-1].measures if points else {}) if name.startswith(BITS_OF)]
    if not names:
        return None
    figure = go.Figure(
        go.Heatmap(
            x=[point.step for point in points],
            y=shorten_names(name.removeprefix(BITS_OF) for name in names),
            z=[[point.measures.get(name) for point in points] for name in names],
            colorscale="Viridis",
            colorbar={"title": "bits"},
            hovertemplate="%{y}, step %{x}: %{z:.2f} bits<extra></extra>",
        )
    )
    figure.update_xaxes(title="step")
    figure.update_yaxes(autorange="reversed")
    widest = max(names, key=lambda name: points[-1].measures[name]).removeprefix(BITS_OF)
    title = f"{widest} keeps the widest channels"
    return finish_figure(figure, title, max(HEIGHT_PX, rows_height_px(len(names))))


def rate_curve_figure(curve: RateCurve) -> go.Figure:
    """Return the loss over growing rates, with the rate of the steepest fall."""
    figure = go.Figure()
    figure.add_scatter(
        x=list(curve.rates),
        y=list(curve.losses),
        mode="lines+markers",
        line={"color": WEIGHT},
        hovertemplate="rate %{x:.2g}: loss %{y:.3f}<extra></extra>",
        showlegend=False,
    )
    if curve.steepest is not None:
        figure.add_vline(x=curve.steepest, line={"color": AFTER, "dash": "dash"})
    figure.update_xaxes(title="relative rate", type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(title="loss, running mean (lower is better)")
    found = "no rate" if curve.steepest is None else f"a rate of {curve.steepest:.2g}"
    return finish_figure(figure, f"The loss falls most steeply at {found}", HEIGHT_PX)


def arm_figure(results: Sequence[ArmResult], lines: Sequence[tuple[str, float]]) -> go.Figure:
    """Return the score of each arm with its 95 % interval; `lines` are scores without training."""
    figure = go.Figure()
    scores = [100 * one.score for one in results]
    ends = [
        (100 * one.interval.low, 100 * one.interval.high) if one.interval else None
        for one in results
    ]
    figure.add_scatter(
        x=scores,
        y=list(range(len(results))),
        mode="markers",
        marker={"color": AFTER, "size": 10},
        error_x=interval_bars(scores, ends),
        customdata=[str(one.arm) for one in results],
        hovertemplate="%{customdata}: %{x:.2f} %<extra></extra>",
        showlegend=False,
    )
    for title, score in lines:
        figure.add_vline(
            x=100 * score,
            line={"color": BEFORE, "dash": "dash", "width": 1},
            annotation_text=escape_markup(title),
            annotation_position="top",
        )
    label_rows(figure, [str(one.arm) for one in results])
    figure.update_xaxes(title="right answers on data that neither trained nor watched, %")
    best = max(results, key=lambda one: one.score)
    return finish_figure(figure, f"Best: {best.arm}", max(240, rows_height_px(len(results), 34)))
