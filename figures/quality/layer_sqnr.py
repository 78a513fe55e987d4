"""Layer by layer: where the noise is, and what changed between two runs."""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from analysis.evaluation.layer_sqnr import LAYER_IMAGES
from analysis.runs.compare_runs import LayerDifference, differences_by_layer
from analysis.runs.run_store import Run
from figures.style.layout import (
    NAMED_FIRST,
    count_word,
    escape_markup,
    fewest_for_half,
    finish_figure,
    label_rows,
    mark_px,
    rows_height_px,
    shorten_name,
)
from figures.style.palette import ACTIVATION, AFTER, BEFORE, FLOAT
from figures.style.units import energy_scale, format_energy, format_share

PAIR_PX = 26


def layer_images_note(noun: str) -> str:
    """Return why the SQNR of layers is not that of the output; `noun` is the word for an input."""
    return (
        f"Layers are compared on the first {LAYER_IMAGES} {noun}s, because the activations of both "
        f"networks are held at once; the SQNR of the output is that of all {noun}s."
    )


def sqnr_by_layer(layer_sqnr_db: Mapping[str, float]) -> go.Figure:
    """Return each layer's SQNR in dB in execution order.

    Layers without error (inf) stand at the right edge as "exact"; layers without a signal (nan) at
    the left edge as "no signal".
    """
    names = list(layer_sqnr_db)
    finite = {name: db for name, db in layer_sqnr_db.items() if math.isfinite(db)}
    low, high = _plot_limits(list(finite.values()))
    figure = go.Figure()
    _add_sqnr_stems(figure, names, finite, low)
    _add_sqnr_dots(figure, "Layers", names, finite, color=ACTIVATION, symbol="circle")
    exact = {name: high for name, db in layer_sqnr_db.items() if db == math.inf}
    silent = dict.fromkeys(set(names) - set(finite) - set(exact), low)
    _add_sqnr_dots(figure, "Exact", names, exact, color=FLOAT, symbol="diamond")
    _add_sqnr_dots(figure, "No signal", names, silent, color=FLOAT, symbol="x")
    worst_first = sorted(finite, key=finite.__getitem__)
    label_rows(figure, names, first=[names.index(name) for name in worst_first[:NAMED_FIRST]])
    margin = (high - low) / 20
    figure.update_xaxes(
        title="SQNR of the layer's output (dB), higher is better",
        range=[low - margin, high + margin],
    )
    return finish_figure(figure, _sqnr_title(finite, len(exact)), rows_height_px(len(names)))


def _plot_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the edges of the plot; exact and silent layers stand on the edges."""
    if not values:
        return 0.0, 60.0
    return min(0.0, *values), max(10.0, 1.15 * max(values))


def _add_sqnr_stems(
    figure: go.Figure, names: Sequence[str], values: Mapping[str, float], left: float
) -> None:
    x: list[float | None] = []
    y: list[float | None] = []
    for row, name in enumerate(names):
        if name in values:
            x += [left, values[name], None]
            y += [row, row, None]
    line = {"color": ACTIVATION, "width": 2}
    figure.add_scatter(
        x=x, y=y, mode="lines", line=line, opacity=0.4, hoverinfo="skip", showlegend=False
    )


def _add_sqnr_dots(
    figure: go.Figure,
    title: str,
    names: Sequence[str],
    values: Mapping[str, float],
    *,
    color: str,
    symbol: str,
) -> None:
    if not values:
        return
    rows = [row for row, name in enumerate(names) if name in values]
    pinned = title != "Layers"
    figure.add_scatter(
        name=title,
        x=[values[names[row]] for row in rows],
        y=rows,
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": mark_px(len(names))},
        showlegend=pinned,
        cliponaxis=False,
        customdata=[
            [escape_markup(names[row]), title.lower() if pinned else f"{values[names[row]]:.1f} dB"]
            for row in rows
        ],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
    )


def _sqnr_title(finite: Mapping[str, float], exact: int) -> str:
    if not finite:
        return "All layers are exact" if exact else "No layer has a signal to compare"
    worst = min(finite, key=finite.__getitem__)
    return f"{shorten_name(worst, 40)} is the noisiest layer: {finite[worst]:.1f} dB"


def compare_layers(before: Run, after: Run) -> go.Figure:
    """Return the energy of the layers in both runs, matched by name.

    A layer of a single run shows a single bar, and the label tells the run.
    """
    rows = [row for row in differences_by_layer(before, after) if _has_energy(row)]
    old = [row.energy_before_pj for row in rows]
    new = [row.energy_after_pj for row in rows]
    factor, unit = energy_scale(max((known or 0.0 for known in (*old, *new)), default=0.0))
    figure = go.Figure()
    for label, run, energies, color in (
        ("Before", before, old, BEFORE),
        ("After", after, new, AFTER),
    ):
        figure.add_bar(
            name=f"{label}: {escape_markup(shorten_name(run.name, 16))}",
            orientation="h",
            x=[None if energy is None else factor * energy for energy in energies],
            y=list(range(len(rows))),
            marker={"color": color, "line": {"width": 0}},
            customdata=[[escape_markup(row.layer), _describe_energy_change(row)] for row in rows],
            hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(
        title=f"Energy per {before.cost.noun} ({unit}), lower is better", rangemode="tozero"
    )
    label_rows(figure, [row.layer for row in rows])
    return finish_figure(
        figure, _comparison_title(before, after, rows), rows_height_px(len(rows), PAIR_PX)
    )


def _has_energy(row: LayerDifference) -> bool:
    return row.energy_before_pj is not None or row.energy_after_pj is not None


def _describe_energy_change(row: LayerDifference) -> str:
    old, new = row.energy_before_pj, row.energy_after_pj
    if old is None or new is None:
        side = "after" if old is None else "before"
        return f"{format_energy((old or 0.0) + (new or 0.0))}, only {side}"
    text = f"{format_energy(old)} to {format_energy(new)}"
    if not old or old == new:
        return text
    return f"{text} ({'+' if new > old else '-'}{_change_share(old, new)})"


def _change_share(old: float, new: float) -> str:
    return format_share(abs(new - old) / old)


def _comparison_title(before: Run, after: Run, rows: Sequence[LayerDifference]) -> str:
    old, new = before.cost.energy_pj, after.cost.energy_pj
    names = shorten_name(after.name, 30), shorten_name(before.name, 30)
    if old == new or not old:
        return f"{names[0]} needs the same energy as {names[1]}"
    word, sign = ("less", -1) if new < old else ("more", 1)
    title = f"{names[0]} needs {_change_share(old, new)} {word} energy than {names[1]}"
    if before.cost.machine != after.cost.machine:
        title += " (different machines)"
    # The part of each layer in the direction of the total change; the other direction counts as
    # zero.
    steps = {
        row.layer: sign * ((row.energy_after_pj or 0.0) - (row.energy_before_pj or 0.0))
        for row in rows
    }
    half = fewest_for_half({name: max(0.0, step) for name, step in steps.items()})
    verb = "operations makes" if len(half) == 1 else "operations make"
    return f"{title}; {count_word(len(half)).lower()} of {len(rows)} {verb} half the change"
