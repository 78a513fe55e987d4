"""The remaining accuracy, with the uncertainty of the sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from accelerator.machine import machine_title
from analysis.evaluation.measures import Interval
from analysis.evaluation.told_score import ScoreMeasure, ScoreUnit, ToldScore, told_scores
from analysis.runs.run_store import Run
from figures.cost.energy import common_noun
from figures.style.error_bars import interval_bars, scaled_ends
from figures.style.layout import (
    count_word,
    escape_markup,
    finish_figure,
    label_rows,
    rows_height_px,
    shorten_name,
    shorten_names,
)
from figures.style.palette import AFTER, BEFORE, FLOAT
from figures.style.units import energy_scale, format_count, format_energy, format_share

RUN_PX = 36
SCATTER_PX = 400
ONE_PLACE = 0.04
"""Runs nearer than this share of the plot have one label."""
MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class _Point:
    """A score on the axis with interval and hover text."""

    value: float
    low: float
    high: float
    text: str


def accuracy_with_interval(runs: Sequence[Run]) -> go.Figure:
    """Return a point with 95 % interval for each run, the float network in grey.

    The chart shows the measure that all runs have, such as mAP, top-1, or agreement with float.

    Raises:
        ValueError: `runs` is empty.
    """
    scores = _told_scores(runs)
    known = _has_float_points(scores)
    figure = go.Figure()
    if known:
        points = [_float_point(run, told) for run, told in zip(runs, scores, strict=True)]
        _add_rows(figure, "Float", points, FLOAT, 0.16)
    points = [_quantized_point(run, told) for run, told in zip(runs, scores, strict=True)]
    _add_rows(figure, "Quantized", points, AFTER, -0.08 if known else 0.0)
    label_rows(figure, [run.name for run in runs])
    figure.update_xaxes(title=f"{scores[0].axis_title}; bars: 95 % interval")
    title = _loss_title(runs, scores) if known else _lowest_title(runs, scores)
    return finish_figure(figure, title, rows_height_px(len(runs), RUN_PX), legend_below=True)


def accuracy_against_energy(runs: Sequence[Run]) -> go.Figure:
    """Return the measure that all runs have over energy, with a named point for each run.

    Raises:
        ValueError: `runs` is empty.
    """
    scores = _told_scores(runs)
    factor, unit = energy_scale(max(run.cost.energy_pj for run in runs))
    points = [_quantized_point(run, told) for run, told in zip(runs, scores, strict=True)]
    energies = [factor * run.cost.energy_pj for run in runs]
    figure = go.Figure()
    figure.add_scatter(
        name="Runs",
        x=energies,
        y=[point.value for point in points],
        error_y=_interval_bars(points, BEFORE),
        error_x=interval_bars(
            energies, [scaled_ends(run.cost.energy_pj_ci, factor) for run in runs], BEFORE
        ),
        mode="markers+text",
        marker={"color": AFTER, "size": 11},
        text=_labels_of_points(runs, energies, [point.value for point in points]),
        textposition=[_name_position(energy, energies) for energy in energies],
        cliponaxis=False,
        showlegend=False,
        customdata=[
            [
                point.text,
                f"{format_energy(run.cost.energy_pj)} per {run.cost.noun}",
                escape_markup(machine_title(run.cost.machine)),
            ]
            for point, run in zip(points, runs, strict=True)
        ],
        hovertemplate=("%{customdata[0]}<br>%{customdata[1]} on %{customdata[2]}<extra></extra>"),
    )
    figure.update_xaxes(
        title=f"Energy per {common_noun(run.cost for run in runs)} ({unit}), lower is better"
    )
    figure.update_yaxes(title=scores[0].axis_title)
    if _has_float_points(scores) and len({told.float_value for told in scores}) == 1:
        _add_float_line(figure, _float_point(runs[0], scores[0]))
    return finish_figure(figure, _trade_title(runs, scores), SCATTER_PX)


def _labels_of_points(
    runs: Sequence[Run], energies: Sequence[float], values: Sequence[float]
) -> list[str]:
    """Return a label for each run; runs at one place have one label, a line for each name."""
    short = [escape_markup(name) for name in shorten_names((run.name for run in runs), 22)]
    wide = ONE_PLACE * (max(energies) - min(energies))
    high = ONE_PLACE * (max(values) - min(values))
    labels: list[list[str]] = []
    for place, name in enumerate(short):
        labels.append([])
        first = next(
            other
            for other in range(place + 1)
            if abs(energies[other] - energies[place]) <= wide
            and abs(values[other] - values[place]) <= high
            and (labels[other] or other == place)
        )
        labels[first].append(name)
    more = [f"and {len(names) - MOST_NAMES} more" for names in labels]
    return [
        "<br>".join([*names[:MOST_NAMES], *([rest] if len(names) > MOST_NAMES else [])])
        for names, rest in zip(labels, more, strict=True)
    ]


def _told_scores(runs: Sequence[Run]) -> tuple[ToldScore, ...]:
    """Return the scores of runs in the measure that all of them have.

    Raises:
        ValueError: `runs` is empty.
    """
    if not runs:
        raise ValueError("A figure of runs needs a run; got none. Make one first.")
    return told_scores([run.evaluation for run in runs])


def _has_float_points(scores: Sequence[ToldScore]) -> bool:
    """Whether the float network was scored too: agreement of float with itself is no score."""
    known = all(told.float_value is not None for told in scores)
    return known and scores[0].measure is not ScoreMeasure.AGREEMENT


def _quantized_point(run: Run, told: ToldScore) -> _Point:
    what = ScoreMeasure.AGREEMENT.value if told.measure is ScoreMeasure.AGREEMENT else "quantized"
    return _told_point(run, told, what, told.value, told.interval)


def _float_point(run: Run, told: ToldScore) -> _Point:
    return _told_point(run, told, "float", told.float_value or 0.0, told.float_interval)


def _told_point(
    run: Run, told: ToldScore, what: str, value: float, interval: Interval | None
) -> _Point:
    ends = interval or Interval(value, value)
    spread = ""
    if interval is not None:
        low, high = (told.amount_text(end, 1) for end in (ends.low, ends.high))
        spread = f" (95 % interval {low.removesuffix(' %')} to {high.removesuffix(' %')})"
    text = (
        f"<b>{escape_markup(run.name)}</b><br>{what}: {told.amount_text(value, 1)}{spread}"
        f"<br>{format_count(run.evaluation.samples)} {run.cost.noun}s of {escape_markup(run.data)}"
    )
    places = [told.axis_value(amount) for amount in (value, ends.low, ends.high)]
    return _Point(places[0], places[1], places[2], text)


def _interval_bars(points: Sequence[_Point], color: str) -> dict[str, object]:
    ends = [(point.low, point.high) for point in points]
    return interval_bars([point.value for point in points], ends, color, thickness=2)


def _add_rows(
    figure: go.Figure, name: str, points: Sequence[_Point], color: str, offset: float
) -> None:
    """Add one point per row; an offset separates two series on a row."""
    figure.add_scatter(
        name=name,
        x=[point.value for point in points],
        y=[row + offset for row in range(len(points))],
        error_x=_interval_bars(points, color),
        mode="markers",
        marker={"color": color, "size": 10},
        customdata=[[point.text] for point in points],
        hovertemplate="%{customdata[0]}<extra></extra>",
    )


def _add_float_line(figure: go.Figure, point: _Point) -> None:
    figure.add_hrect(y0=point.low, y1=point.high, fillcolor=FLOAT, opacity=0.15, line_width=0)
    figure.add_hline(
        y=point.value,
        line={"color": FLOAT, "dash": "dash"},
        annotation={"text": "Float", "font": {"color": FLOAT}},
        annotation_position="bottom left",
    )


def _name_position(energy: float, energies: Sequence[float]) -> str:
    """Return a text position towards the middle of the plot, so that the edge cuts no name."""
    middle = (min(energies) + max(energies)) / 2
    if min(energies) == max(energies):
        return "top center"
    return "top right" if energy <= middle else "top left"


def _loss_words(told: ToldScore) -> tuple[str, str, str]:
    """Return the words of a loss: verb for one run, verb for several, and what is lost."""
    if not told.higher_is_better:
        return "raises", "raise", escape_markup(told.name)
    what = "accuracy" if told.measure is ScoreMeasure.TOP1 else escape_markup(told.name)
    return "loses", "lose", what


def _loss_title(runs: Sequence[Run], scores: Sequence[ToldScore]) -> str:
    if len(runs) == 1:
        return _single_title(runs[0], scores[0])
    losing = sum(told.loses_measurably for told in scores)
    one, several, what = _loss_words(scores[0])
    both = len(runs) == 2
    if not losing:
        none = "Neither run" if both else f"None of {len(runs)} runs"
        return f"{none} {one} {what} measurably"
    if losing == len(runs):
        return f"{'Both' if both else f'All {len(runs)}'} runs {several} {what} measurably"
    verb = one if losing == 1 else several
    return f"{count_word(losing)} of {len(runs)} runs {verb} {what} measurably"


def _single_title(run: Run, told: ToldScore) -> str:
    ends, name = told.loss_interval, shorten_name(run.name, 40)
    if ends is None or ends.low <= 0 <= ends.high:
        return f"{name}: no measurable difference from float"
    low, high = sorted((abs(ends.low), abs(ends.high)))
    change = told.value - (told.float_value or 0.0)
    *_, what = _loss_words(told)
    if told.unit is ScoreUnit.PERCENT:
        size = f"{100 * abs(change):.1f} points of {what}"
        spread = f"{100 * low:.1f} to {100 * high:.1f}"
    else:
        size = f"{told.amount_text(abs(change))} of {what}"
        spread = f"{told.amount_text(low)} to {told.amount_text(high)}"
    worse, better = ("loses", "gains") if told.higher_is_better else ("adds", "saves")
    return f"{name} {worse if ends.low > 0 else better} {size} (95 % interval {spread})"


def _lowest_title(runs: Sequence[Run], scores: Sequence[ToldScore]) -> str:
    place = min(range(len(runs)), key=lambda number: scores[number].value)
    told, name = scores[place], shorten_name(runs[place].name, 30)
    if told.measure is not ScoreMeasure.AGREEMENT:
        what = escape_markup(told.axis_title.partition(" (")[0])
        return f"{what} is lowest in {name}, {told.value_text}"
    share = format_share(told.value)
    if len(runs) == 1:
        return f"No labels: {name} agrees with float on {share} of the data"
    return f"No labels: agreement with float is lowest in {name}, {share} of the data"


def _trade_title(runs: Sequence[Run], scores: Sequence[ToldScore]) -> str:
    if not _has_float_points(scores):
        return _lowest_title(runs, scores)
    good = [run for run, told in zip(runs, scores, strict=True) if not told.loses_measurably]
    if good:
        cheapest = min(good, key=lambda run: run.cost.energy_pj)
        energy = f"{format_energy(cheapest.cost.energy_pj)} per {cheapest.cost.noun}"
        name = shorten_name(cheapest.name, 30)
        return f"{name} is the cheapest run without a measurable loss: {energy}"
    best = max(range(len(runs)), key=lambda number: scores[number].gain_over(scores[0]))
    verb, _, what = _loss_words(scores[0])
    kept = "keeps the most" if scores[0].higher_is_better else "adds the least"
    return f"Every run {verb} {what} measurably; {shorten_name(runs[best].name, 30)} {kept}"
