"""The points lost at each step of a diagnosis, with intervals, beside the goal."""

from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.diagnosis.flow.contents import FlowStep, StepOutcome
from analysis.diagnosis.flow.goal import points_text
from figures.style.error_bars import interval_bars
from figures.style.layout import escape_markup, finish_figure
from figures.style.palette import FLOAT

COLORS = {
    StepOutcome.PASSED: "#2E8B6F",
    StepOutcome.UNDECIDED: "#B8860B",
    StepOutcome.FAILED: "#C2471F",
    StepOutcome.TOLD: FLOAT,
}
SYMBOLS = {
    StepOutcome.PASSED: "circle",
    StepOutcome.UNDECIDED: "diamond",
    StepOutcome.FAILED: "x",
    StepOutcome.TOLD: "circle",
}
ROW_PX, FRAME_PX = 26, 110


def loss_by_step(steps: Sequence[FlowStep], goal: float) -> go.Figure:
    """Return the points lost at each measured step with the interval of 95 %; `goal` in points."""
    figure = go.Figure()
    measured = [step for step in steps if step.loss is not None]
    names = [f"{number}. {escape_markup(step.name)}" for number, step in enumerate(measured, 1)]
    for outcome in StepOutcome:
        chosen = [place for place, step in enumerate(measured) if step.outcome is outcome]
        losses = [loss for place in chosen if (loss := measured[place].loss) is not None]
        if not losses:
            continue
        figure.add_scatter(
            x=[loss.points for loss in losses],
            y=[names[place] for place in chosen],
            mode="markers",
            name=outcome.value,
            marker={"color": COLORS[outcome], "symbol": SYMBOLS[outcome], "size": 9},
            error_x=interval_bars(
                [loss.points for loss in losses],
                [(loss.interval.low, loss.interval.high) for loss in losses],
            ),
            customdata=[[loss.interval.low, loss.interval.high] for loss in losses],
            hovertemplate="%{y}<br>%{x:.2f} points lost (95 %: %{customdata[0]:.2f} to "
            "%{customdata[1]:.2f})<extra></extra>",
        )
    figure.add_vline(
        x=goal,
        line={"color": FLOAT, "dash": "dash"},
        annotation_text=f"goal {goal:g}",
        annotation_position="top right",
    )
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], title=None)
    units = [step.loss.unit for step in measured if step.loss is not None]
    unit = escape_markup(units[0]) if units else "points"
    figure.update_xaxes(
        title=f"{unit[:1].upper()}{unit[1:]} lost against float,<br>lower is better; "
        "lines: 95 % interval"
    )
    return finish_figure(
        figure, _steps_title(measured, goal), FRAME_PX + ROW_PX * max(3, len(names))
    )


def _steps_title(measured: Sequence[FlowStep], goal: float) -> str:
    kept = [step for step in measured if step.outcome is StepOutcome.PASSED and step.adopted]
    if kept:
        return f"{escape_markup(kept[-1].name)} brings the loss within {points_text(goal)}"
    return f"Where a loss of {points_text(goal)} is kept, and where not"
