"""The remaining accuracy, with the uncertainty of the sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from accelerator.machine import machine_title
from analysis.evaluation.measures import Interval
from analysis.runs.run_store import Run
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
ACCURACY = "Top-1 accuracy (%), higher is better"
AGREEMENT = "Same answer as the float network (%), higher is better"


@dataclass(frozen=True, slots=True)
class _Point:
    """A share in percent with interval and hover text."""

    value: float
    low: float
    high: float
    text: str


def accuracy_with_interval(runs: Sequence[Run]) -> go.Figure:
    """Return a point with 95 % interval for each run, the float network in grey.

    For runs without labels, the chart shows the agreement with the float network.

    Raises:
        ValueError: `runs` is empty.
    """
    _check_runs(runs)
    labelled = _all_labelled(runs)
    figure = go.Figure()
    if labelled:
        _add_rows(figure, "Float", [_float_point(run) for run in runs], FLOAT, 0.16)
    points = [_quantized_point(run, labelled) for run in runs]
    _add_rows(figure, "Quantized", points, AFTER, -0.08 if labelled else 0.0)
    label_rows(figure, [run.name for run in runs])
    figure.update_xaxes(title=f"{ACCURACY if labelled else AGREEMENT}; bars: 95 % interval")
    title = _accuracy_title(runs) if labelled else _agreement_title(runs)
    return finish_figure(figure, title, rows_height_px(len(runs), RUN_PX), legend_below=True)


def accuracy_against_energy(runs: Sequence[Run]) -> go.Figure:
    """Return accuracy (or agreement, without labels) over energy, with a named point for each run.

    Raises:
        ValueError: `runs` is empty.
    """
    _check_runs(runs)
    labelled = _all_labelled(runs)
    factor, unit = energy_scale(max(run.cost.energy_pj for run in runs))
    points = [_quantized_point(run, labelled) for run in runs]
    energies = [factor * run.cost.energy_pj for run in runs]
    figure = go.Figure()
    figure.add_scatter(
        name="Runs",
        x=energies,
        y=[point.value for point in points],
        error_y=_interval_bars(points, BEFORE),
        mode="markers+text",
        marker={"color": AFTER, "size": 11},
        text=_labels_of_points(runs, energies, [point.value for point in points]),
        textposition=[_name_position(energy, energies) for energy in energies],
        cliponaxis=False,
        showlegend=False,
        customdata=[
            [
                point.text,
                format_energy(run.cost.energy_pj),
                escape_markup(machine_title(run.cost.machine)),
            ]
            for point, run in zip(points, runs, strict=True)
        ],
        hovertemplate=(
            "%{customdata[0]}<br>%{customdata[1]} per image on %{customdata[2]}<extra></extra>"
        ),
    )
    figure.update_xaxes(title=f"Energy per image ({unit}), lower is better")
    figure.update_yaxes(title=ACCURACY if labelled else AGREEMENT)
    if labelled and len({_float_point(run).value for run in runs}) == 1:
        _add_float_line(figure, _float_point(runs[0]))
    return finish_figure(figure, _trade_title(runs, labelled), SCATTER_PX)


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


def _check_runs(runs: Sequence[Run]) -> None:
    if not runs:
        raise ValueError("A figure of runs needs a run; got none. Make one first.")


def _all_labelled(runs: Sequence[Run]) -> bool:
    return all(run.evaluation.quantized_top1 is not None for run in runs)


def _quantized_point(run: Run, labelled: bool) -> _Point:
    found = run.evaluation
    if labelled:
        return _share_point(run, "quantized", found.quantized_top1, found.quantized_top1_ci95)
    return _share_point(run, "agreement with float", found.agreement, found.agreement_ci95)


def _float_point(run: Run) -> _Point:
    found = run.evaluation
    return _share_point(run, "float", found.float_top1, found.float_top1_ci95)


def _share_point(run: Run, what: str, share: float | None, interval: Interval | None) -> _Point:
    value = 100 * (share or 0.0)
    low, high = (100 * interval.low, 100 * interval.high) if interval else (value, value)
    text = (
        f"<b>{escape_markup(run.name)}</b><br>{what}: {value:.1f} % (95 % interval {low:.1f} to "
        f"{high:.1f})<br>{format_count(run.evaluation.samples)} images of {escape_markup(run.data)}"
    )
    return _Point(value, low, high, text)


def _interval_bars(points: Sequence[_Point], color: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [point.high - point.value for point in points],
        "arrayminus": [point.value - point.low for point in points],
        "color": color,
        "thickness": 2,
        "width": 5,
    }


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


def loses_measurably(run: Run) -> bool:
    """Whether the 95 % interval of the lost accuracy lies above zero."""
    interval = run.evaluation.top1_drop_ci95
    return interval is not None and interval.low > 0


def _accuracy_title(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return _single_title(runs[0])
    losing = sum(loses_measurably(run) for run in runs)
    both = len(runs) == 2
    if not losing:
        none = "Neither run" if both else f"None of {len(runs)} runs"
        return f"{none} loses accuracy measurably"
    if losing == len(runs):
        return f"{'Both' if both else f'All {len(runs)}'} runs lose accuracy measurably"
    verb = "loses" if losing == 1 else "lose"
    return f"{count_word(losing)} of {len(runs)} runs {verb} accuracy measurably"


def _single_title(run: Run) -> str:
    drop, interval = run.evaluation.top1_drop, run.evaluation.top1_drop_ci95
    name = shorten_name(run.name, 40)
    if drop is None or interval is None or interval.low <= 0 <= interval.high:
        return f"{name}: no measurable difference from float"
    low, high = sorted((100 * abs(interval.low), 100 * abs(interval.high)))
    verb = "loses" if interval.low > 0 else "gains"
    return (
        f"{name} {verb} {abs(100 * drop):.1f} points of accuracy "
        f"(95 % interval {low:.1f} to {high:.1f})"
    )


def _agreement_title(runs: Sequence[Run]) -> str:
    worst = min(runs, key=lambda run: run.evaluation.agreement)
    share = format_share(worst.evaluation.agreement)
    name = shorten_name(worst.name, 30)
    if len(runs) == 1:
        return f"No labels: {name} agrees with float on {share} of the images"
    return f"No labels: agreement with float is lowest in {name}, {share} of the images"


def _trade_title(runs: Sequence[Run], labelled: bool) -> str:
    if not labelled:
        return _agreement_title(runs)
    good = [run for run in runs if not loses_measurably(run)]
    if good:
        cheapest = min(good, key=lambda run: run.cost.energy_pj)
        energy = format_energy(cheapest.cost.energy_pj)
        name = shorten_name(cheapest.name, 30)
        return f"{name} is the cheapest run without a measurable loss: {energy} per image"
    best = max(runs, key=lambda run: run.evaluation.quantized_top1 or 0.0)
    return f"Every run loses accuracy measurably; {shorten_name(best.name, 30)} keeps the most"
