"""What each class loses between two runs: one bar a class, the largest loss on top."""

from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.runs.run_answers import ClassChange
from figures.style.error_bars import interval_bars
from figures.style.layout import (
    escape_markup,
    finish_figure,
    label_rows,
    rows_height_px,
    shorten_name,
)
from figures.style.palette import AFTER, BEFORE

MOST_CLASSES = 12
BAR_PX = 24


def class_change_bars(
    changes: Sequence[ClassChange], names: Sequence[str], noun: str = "image"
) -> go.Figure:
    """Return the points lost by class, with the 95 % interval; the classes that changed most.

    `names` holds the name of each class by its place; a class without a name shows its place.
    """
    most = sorted(changes, key=lambda one: -abs(one.lost))[:MOST_CLASSES]
    shown = sorted(most, key=lambda one: -one.lost)
    figure = go.Figure()
    values = [100 * one.lost for one in shown]
    figure.add_bar(
        orientation="h",
        x=values,
        y=list(range(len(shown))),
        marker={"color": [AFTER if value > 0 else BEFORE for value in values]},
        error_x=interval_bars(
            values, [(100 * one.interval.low, 100 * one.interval.high) for one in shown]
        ),
        customdata=[
            [
                escape_markup(class_name(one.place, names)),
                f"{one.right_before} right before, {one.right_after} after of {one.images} {noun}s",
            ]
            for one in shown
        ],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="Points of the class lost, lower is better; bars: 95 % interval")
    label_rows(figure, [class_name(one.place, names) for one in shown])
    return finish_figure(figure, _title(shown, names, noun), rows_height_px(len(shown), BAR_PX))


def class_name(place: int, names: Sequence[str]) -> str:
    """Return the name of a class, or its place where it has no name."""
    return names[place] if place < len(names) else str(place)


def _title(shown: Sequence[ClassChange], names: Sequence[str], noun: str) -> str:
    worst = shown[0]
    if worst.lost <= 0:
        return "No class loses accuracy"
    name = shorten_name(class_name(worst.place, names), 40)
    points = f"{100 * worst.lost:.1f} points"
    if worst.interval.low <= 0:
        return f"No class loses measurably; {name} loses most, {points} on {worst.images} {noun}s"
    return f"{name} loses most: {points} of its {worst.images} {noun}s"
