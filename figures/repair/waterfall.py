"""The effect of each repair on the score."""

from collections.abc import Sequence
from itertools import pairwise

import plotly.graph_objects as go

from analysis.evaluation.told_score import ScoreMeasure, ScoreUnit, ToldScore
from figures.style.error_bars import interval_bars
from figures.style.layout import escape_markup, finish_figure
from figures.style.palette import AFTER, FLOAT

GAIN, LOSS = "#2E8B6F", "#C2471F"
WATERFALL_PX = 320
INTERVAL_SHIFT = 0.45  # share of the distance between two bars: inside the gap
HEADROOM = 1.12  # above the highest bar, for its number


def repair_waterfall(titles: Sequence[str], scores: Sequence[ToldScore]) -> go.Figure:
    """Return the steps from plain quantization to the repaired score; scores are of one measure.

    `titles` and `scores` start with plain quantization.
    """
    told, levels = scores[0], [score.axis_value(score.value) for score in scores]
    changes = [levels[0], *(after - before for before, after in pairwise(levels))]
    names = [*(escape_markup(title) for title in titles), "Repaired"]
    better, worse = {"marker": {"color": GAIN}}, {"marker": {"color": LOSS}}
    figure = go.Figure(
        go.Waterfall(
            x=list(range(len(names))),
            y=[*changes, 0],
            measure=["absolute", *["relative"] * (len(changes) - 1), "total"],
            text=[
                scores[0].value_text,
                *(_signed_text(told, change) for change in changes[1:]),
                scores[-1].value_text,
            ],
            textposition="outside",
            cliponaxis=False,
            increasing=better if told.higher_is_better else worse,
            decreasing=worse if told.higher_is_better else better,
            totals={"marker": {"color": AFTER}},
            connector={"line": {"color": FLOAT, "width": 1}},
            customdata=names,
            hovertemplate="%{customdata}<br>%{text}<extra></extra>",
            showlegend=False,
        )
    )
    has_intervals = _add_intervals(figure, scores)
    reference = told.float_value
    if reference is not None:
        # The label stands right of the bars, in two lines, away from the numbers.
        figure.add_hline(
            y=told.scale * reference,
            line={"color": FLOAT, "dash": "dash"},
            annotation_text=f"float<br>{told.amount_text(reference)}",
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
    if has_intervals:
        figure.update_xaxes(title="Steps; upright lines: 95 % interval")
    figure.update_yaxes(title=told.axis_title, range=_value_range(scores))
    return finish_figure(figure, _waterfall_title(titles, scores), WATERFALL_PX)


def _signed_text(told: ToldScore, change: float) -> str:
    """Return the change of a level with its sign, in the digits of the unit."""
    digits = {ScoreUnit.PERCENT: ".2f", ScoreUnit.DECIBEL: ".1f", ScoreUnit.OWN: ".4g"}
    return f"{change:+{digits[told.unit]}}"


def _value_range(scores: Sequence[ToldScore]) -> list[float] | None:
    """Return the range of the axis: all shares, or the values from 0; None decides itself."""
    told = scores[0]
    if told.unit is ScoreUnit.PERCENT:
        return [0, 100 * HEADROOM]
    ends = [one.interval.high for one in scores if one.interval is not None]
    known = [*(one.axis_value(one.value) for one in scores), *ends, told.float_value or 0.0]
    return [0, HEADROOM * max(known)] if min(known) >= 0 and max(known) > 0 else None


def _add_intervals(figure: go.Figure, scores: Sequence[ToldScore]) -> bool:
    """Draw the interval of every step's score beside the bar, away from the numbers.

    Returns whether the scores have intervals.
    """
    levels = [
        tuple(map(score.axis_value, (score.value, score.interval.low, score.interval.high)))
        for score in (*scores, scores[-1])
        if score.interval is not None
    ]
    if len(levels) <= len(scores):
        return False
    told = scores[0]
    texts = [told.amount_text(end / told.scale) for one in levels for end in one[1:]]
    figure.add_scatter(
        x=[place + INTERVAL_SHIFT for place in range(len(levels))],
        y=[level for level, _, _ in levels],
        mode="markers",
        marker={"size": 1, "color": FLOAT},
        error_y=interval_bars(
            [level for level, _, _ in levels], [(low, high) for _, low, high in levels], FLOAT
        ),
        customdata=list(zip(texts[::2], texts[1::2], strict=True)),
        hovertemplate="95 % interval: %{customdata[0]} to %{customdata[1]}<extra></extra>",
        showlegend=False,
    )
    return True


def _waterfall_title(titles: Sequence[str], scores: Sequence[ToldScore]) -> str:
    told, last = scores[0], scores[-1]
    if len(scores) == 1:
        return f"Plain quantization reaches {told.value_text}"
    gained = last.gain_over(told)
    if told.unit is ScoreUnit.PERCENT:
        points = 100 * gained
        unit = f"points of {told.name}" if told.measure is ScoreMeasure.METRIC else "points"
        what = (
            f"The recipe brings {points:.2f} {unit}"
            if points >= 0
            else f"The recipe costs {-points:.2f} {unit}"
        )
        what += _best_part(titles, scores, gained)
    elif told.is_same_value(last.value):
        what = f"The recipe leaves {told.name} at {last.value_text}"
    else:
        verb = "raises" if last.value > told.value else "lowers"
        what = f"The recipe {verb} {told.name} from {told.value_text} to {last.value_text}"
    return what if told.float_value is None else f"{what}; {_distance_to_float(last)}"


def _best_part(titles: Sequence[str], scores: Sequence[ToldScore], gained: float) -> str:
    """Return which repair brought most of the gained points; empty for one repair or a loss."""
    gains = [after.gain_over(before) for before, after in pairwise(scores)]
    if gained <= 0 or len(gains) < 2:
        return ""
    best = max(gains)
    title = titles[1 + gains.index(best)]
    # A later repair may undo a part, and then the part exceeds the total.
    part = f"{100 * best:.2f} of them" if best <= gained else "most of them"
    if scores[0].is_same_value(scores[0].value + best - gained):
        part = "all of them"
    return f", {part} by {title}"


def _distance_to_float(last: ToldScore) -> str:
    reference = last.float_value or 0.0
    if last.is_same_value(reference):
        return "float is reached"
    if last.unit is not ScoreUnit.PERCENT:
        return f"float has {last.amount_text(reference)}"
    left = 100 * (reference - last.value)
    return f"{left:.2f} are left to float" if left > 0 else f"{-left:.2f} above float"
