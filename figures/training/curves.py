"""The course of a training: score and loss over the steps, beside scores without training."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from figures.style.layout import escape_markup, finish_figure
from figures.style.palette import ACTIVATION, AFTER, BEFORE, FLOAT, WEIGHT, with_opacity
from quant.training.state.trained_state import CurvePoint

HEIGHT_PX = 320
Z95 = 1.96
COLORS = (WEIGHT, ACTIVATION, AFTER, BEFORE, FLOAT)


def score_curve(points: Sequence[CurvePoint], images: int, lines: Mapping[str, float]) -> go.Figure:
    """Return the share of right answers on watched images, with its 95 % interval.

    `images` are watched; `lines` are scores of 1 that stand without training, by title.
    """
    seen = [point for point in points if point.watch_score is not None]
    steps = [point.step for point in seen]
    scores = [100 * (point.watch_score or 0.0) for point in seen]
    halves = [Z95 * (s * (100 - s) / max(1, images)) ** 0.5 for s in scores]
    figure = go.Figure()
    figure.add_scatter(
        x=[*steps, *reversed(steps)],
        y=[
            *(s + h for s, h in zip(scores, halves, strict=True)),
            *reversed([s - h for s, h in zip(scores, halves, strict=True)]),
        ],
        mode="lines",
        fill="toself",
        fillcolor=with_opacity(AFTER, 0.2),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=steps,
        y=scores,
        mode="lines+markers",
        line={"color": AFTER},
        name="trained",
        hovertemplate="step %{x}: %{y:.2f} %<extra></extra>",
        showlegend=False,
    )
    for title, score in lines.items():
        figure.add_hline(
            y=100 * score,
            line={"color": FLOAT, "dash": "dash", "width": 1},
            annotation_text=f"{escape_markup(title)} {100 * score:.1f} %",
            annotation_position="bottom right",
        )
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="right answers, watched data, % (higher is better)")
    best = max(scores, default=0.0)
    title = f"{best:.1f} % of the watched data at best, {scores[0] if scores else 0:.1f} % before"
    return finish_figure(figure, title, HEIGHT_PX)


def loss_curve(points: Sequence[CurvePoint]) -> go.Figure:
    """Return the loss of data that train and of data that watch, over the steps."""
    figure = go.Figure()
    for name, color, values in (
        ("data that train", WEIGHT, [point.loss for point in points]),
        ("data that watch", AFTER, [point.watch_loss for point in points]),
    ):
        figure.add_scatter(
            x=[point.step for point in points],
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": color},
            hovertemplate="step %{x}: %{y:.3f}<extra></extra>",
        )
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="loss (lower is better)", type="log")
    watched = [point.watch_loss for point in points if point.watch_loss is not None]
    falls = bool(watched) and watched[-1] <= min(watched) * 1.05
    title = "The watched loss still falls" if falls else "The watched loss has been lower before"
    return finish_figure(figure, title, HEIGHT_PX)


def measure_curves(points: Sequence[CurvePoint]) -> go.Figure:
    """Return the relative rate and the method's measures, as shares of their largest values."""
    series = {"rate": [point.rate for point in points]}
    for name in points[-1].measures if points else ():
        series[name] = [point.measures.get(name, 0.0) for point in points]
    figure = go.Figure()
    for number, (name, values) in enumerate(series.items()):
        largest = max((abs(value) for value in values), default=0.0) or 1.0
        figure.add_scatter(
            x=[point.step for point in points],
            y=[value / largest for value in values],
            name=f"{escape_markup(name)} (largest {largest:.3g})",
            line={"color": COLORS[number % len(COLORS)]},
            customdata=values,
            hovertemplate="step %{x}: %{customdata:.4g}<extra></extra>",
        )
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="share of its largest value", range=[0, 1.05])
    return finish_figure(figure, "What changes with the steps: " + ", ".join(series), HEIGHT_PX)
