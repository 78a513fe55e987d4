"""Noise and score against the number of calibration images."""

import plotly.graph_objects as go

from analysis.calibration_size.score_sizes import ScoreCurve
from analysis.calibration_size.size_curve import STOP_DB, SizeCurve
from figures.style.layout import finish_figure
from figures.style.palette import ACTIVATION, FLOAT

HEIGHT_PX = 300


def noise_by_images(curve: SizeCurve) -> go.Figure:
    """Return the noise beyond that of all images over the number of images, mean and worst draw."""
    images = [point.images for point in curve.points]
    figure = go.Figure()
    for name, values, dash in (
        ("worst draw", [point.worst_db for point in curve.points], "dot"),
        ("mean of draws", [point.excess_db for point in curve.points], "solid"),
    ):
        figure.add_scatter(
            x=images,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": ACTIVATION, "dash": dash},
            hovertemplate=f"%{{x}} {curve.noun}s: %{{y:.3f}} dB<extra>{name}</extra>",
        )
    figure.add_hline(y=STOP_DB, line={"color": FLOAT, "dash": "dash"})
    if curve.stop_at is not None:
        figure.add_vline(
            x=curve.stop_at, line={"color": FLOAT}, annotation_text=f"stop at {curve.stop_at}"
        )
    figure.update_xaxes(title=f"Calibration {curve.noun}s", type="log", tickvals=images)
    figure.update_yaxes(title=f"Noise beyond all {curve.noun}s' (dB),<br>lower is better")
    title = f"More {curve.noun}s would still change the ranges"
    if curve.stop_at is not None:
        title = f"{curve.stop_at} calibration {curve.noun}s are enough"
    return finish_figure(figure, title, HEIGHT_PX)


def score_by_images(curve: ScoreCurve) -> go.Figure:
    """Return the score over the number of calibration images: draws, their mean, and float."""
    factor, unit = (100.0, " %") if curve.share else (1.0, "")
    figure = go.Figure()
    figure.add_scatter(
        x=[point.images for point in curve.points for _ in point.scores],
        y=[factor * score for point in curve.points for score in point.scores],
        name="a draw",
        mode="markers",
        marker={"color": ACTIVATION, "symbol": "circle-open"},
    )
    figure.add_scatter(
        x=[point.images for point in curve.points],
        y=[factor * point.mean for point in curve.points],
        name="mean of draws",
        mode="lines",
        line={"color": ACTIVATION},
    )
    figure.add_hline(
        y=factor * curve.float_score, line={"color": FLOAT, "dash": "dash"}, annotation_text="float"
    )
    better = "higher" if curve.higher_is_better else "lower"
    figure.update_xaxes(
        title=f"Calibration {curve.noun}s",
        type="log",
        tickvals=[point.images for point in curve.points],
    )
    figure.update_yaxes(
        title=f"{curve.name}{f' ({unit.strip()})' if unit else ''},<br>{better} is better"
    )
    return finish_figure(figure, score_sentence(curve), HEIGHT_PX)


def score_sentence(curve: ScoreCurve) -> str:
    """Return in a sentence how far draws of the fewest and the most images are apart."""
    factor, unit = (100.0, "points") if curve.share else (1.0, curve.name)
    several = [point for point in curve.points if len(point.scores) > 1]
    if not several:
        return f"{curve.name} of {curve.points[-1].images} calibration {curve.noun}s"
    few, many = several[0], several[-1]
    spans = [factor * (max(one.scores) - min(one.scores)) for one in (few, many)]
    return (
        f"Draws of {few.images} {curve.noun}s differ by {spans[0]:.1f} {unit}, of {many.images} by "
        f"{spans[1]:.1f}"
    )
