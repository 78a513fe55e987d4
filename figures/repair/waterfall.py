"""The effect of each repair on the score."""

from collections.abc import Sequence
from itertools import pairwise

import plotly.graph_objects as go

from figures.style.layout import escape_markup, finish_figure
from figures.style.palette import AFTER, FLOAT

GAIN, LOSS = "#2E8B6F", "#C2471F"
WATERFALL_PX = 320
INTERVAL_SHIFT = 0.45  # share of the distance between two bars: inside the gap
SMALLEST_POINTS = 0.005  # rounds to 0.00


def repair_waterfall(
    titles: Sequence[str],
    scores: Sequence[float],
    reference: float | None,
    unit: str,
    intervals: Sequence[tuple[float, float]] = (),
) -> go.Figure:
    """Return the steps from plain quantization to the repaired score; scores are shares of 1.

    `titles` and `scores` start with plain quantization; `reference` is the float score; `intervals`
    are the 95 % intervals (low, high) of the scores.
    """
    percent = [100 * score for score in scores]
    changes = [percent[0], *(b - a for a, b in pairwise(percent))]
    names = [*(escape_markup(title) for title in titles), "Repaired"]
    figure = go.Figure(
        go.Waterfall(
            x=list(range(len(names))),
            y=[*changes, 0],
            measure=["absolute", *["relative"] * (len(changes) - 1), "total"],
            text=[
                f"{percent[0]:.2f} %",
                *(f"{c:+.2f}" for c in changes[1:]),
                f"{percent[-1]:.2f} %",
            ],
            textposition="outside",
            cliponaxis=False,
            increasing={"marker": {"color": GAIN}},
            decreasing={"marker": {"color": LOSS}},
            totals={"marker": {"color": AFTER}},
            connector={"line": {"color": FLOAT, "width": 1}},
            customdata=names,
            hovertemplate="%{customdata}<br>%{text}<extra></extra>",
            showlegend=False,
        )
    )
    _add_intervals(figure, percent, intervals)
    if reference is not None:
        # The label stands right of the bars, away from the numbers.
        figure.add_hline(
            y=100 * reference,
            line={"color": FLOAT, "dash": "dash"},
            annotation_text=f"float {100 * reference:.2f} %",
            annotation_position="top right",
        )
    figure.update_xaxes(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=names,
        showgrid=False,
        range=[-0.55, len(names) + (0.1 if reference is not None else -0.45)],
        zeroline=False,
    )
    if intervals:
        figure.update_xaxes(title="Steps; upright lines: 95 % interval")
    figure.update_yaxes(title=f"{unit} (%), higher is better", range=[0, 112])
    return finish_figure(figure, _waterfall_title(titles, percent, reference), WATERFALL_PX)


def _add_intervals(
    figure: go.Figure, percent: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> None:
    """Draw the interval of every step's score beside the bar, away from the numbers."""
    if not intervals:
        return
    levels = [*zip(percent, intervals, strict=True), (percent[-1], intervals[-1])]
    figure.add_scatter(
        x=[place + INTERVAL_SHIFT for place in range(len(levels))],
        y=[level for level, _ in levels],
        mode="markers",
        marker={"size": 1, "color": FLOAT},
        error_y={
            "type": "data",
            "symmetric": False,
            "color": FLOAT,
            "thickness": 1.5,
            "width": 4,
            "array": [100 * high - level for level, (_, high) in levels],
            "arrayminus": [level - 100 * low for level, (low, _) in levels],
        },
        customdata=[[100 * low, 100 * high] for _, (low, high) in levels],
        hovertemplate="95 % interval: %{customdata[0]:.2f} to %{customdata[1]:.2f} %"
        "<extra></extra>",
        showlegend=False,
    )


def _waterfall_title(
    titles: Sequence[str], percent: Sequence[float], reference: float | None
) -> str:
    gained = percent[-1] - percent[0]
    changes = {t: b - a for t, a, b in zip(titles[1:], percent, percent[1:], strict=False)}
    if not changes:
        return f"Plain quantization reaches {percent[0]:.2f} %"
    best = max(changes, key=changes.__getitem__)
    what = (
        f"The recipe brings {gained:.2f} points"
        if gained >= 0
        else (f"The recipe costs {-gained:.2f} points")
    )
    if gained > 0 and len(changes) > 1:
        # A later repair may undo a part, and then the part exceeds the total.
        part = f"{changes[best]:.2f} of them" if changes[best] <= gained else "most of them"
        part = "all of them" if abs(changes[best] - gained) < SMALLEST_POINTS else part
        what += f", {part} by {best}"
    return (
        what
        if reference is None
        else f"{what}; {_distance_to_float(100 * reference - percent[-1])}"
    )


def _distance_to_float(left: float) -> str:
    if abs(left) < SMALLEST_POINTS:
        return "float is reached"
    return f"{left:.2f} are left to float" if left > 0 else f"{-left:.2f} above float"
