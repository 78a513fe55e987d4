"""The simulation beside a real runtime: accuracy with interval, and the differing layers."""

import math
from collections.abc import Mapping

import plotly.graph_objects as go

from analysis.deployment.runtime_check import ExecutionCheck
from analysis.evaluation.measures import Interval
from figures.style.error_bars import interval_bars
from figures.style.layout import (
    NAMED_FIRST,
    count_word,
    escape_markup,
    finish_figure,
    label_rows,
    mark_px,
    rows_height_px,
    shorten_name,
)
from figures.style.palette import ACTIVATION, AFTER, BEFORE, FLOAT
from figures.style.units import format_count, format_share

ROW_PX = 36
NAMES = {
    "float": "Float",
    "simulated": "Simulated",
    "executed": "Executed in integers",
    "plain": "Executed node by node",
}
_COLORS = {"float": FLOAT, "simulated": BEFORE, "executed": AFTER, "plain": AFTER}
_SAME_DB = 300.0


def scores_side_by_side(check: ExecutionCheck, noun: str = "image") -> go.Figure:
    """Return top-1 with interval of the networks; without labels, agreement with the simulation.

    Raises:
        ValueError: the network is no classifier, so the score is missing.
    """
    rows = _top1_shares(check)
    if not rows:
        raise ValueError("Only a classifier has a score to show; compare outputs by their SQNR.")
    figure = go.Figure()
    for row, (name, (share, interval)) in enumerate(rows.items()):
        low, high = 100 * interval.low, 100 * interval.high
        text = (
            f"<b>{NAMES[name]}</b><br>{100 * share:.2f} % (95 % interval {low:.2f} to {high:.2f})"
            f"<br>{format_count(check.samples)} {noun}s"
        )
        figure.add_scatter(
            name=NAMES[name],
            x=[100 * share],
            y=[row],
            mode="markers",
            showlegend=False,
            marker={
                "color": _COLORS[name],
                "size": 10,
                "symbol": "circle-open" if name == "plain" else "circle",
            },
            error_x=interval_bars([100 * share], [(low, high)], _COLORS[name], thickness=2),
            customdata=[[text]],
            hovertemplate="%{customdata[0]}<extra></extra>",
        )
    label_rows(figure, [NAMES[name] for name in rows])
    what = "Top-1 accuracy" if check.scores else "Same answer as the simulation"
    figure.update_xaxes(title=f"{what} (%), higher is better; bars: 95 % interval")
    return finish_figure(figure, score_title(check, noun), rows_height_px(len(rows), ROW_PX))


def _top1_shares(check: ExecutionCheck) -> dict[str, tuple[float, Interval]]:
    if check.scores:
        return {name: (score.top1, score.top1_ci95) for name, score in check.scores.items()}
    both = {"executed": check.executed, "plain": check.plain}
    return {
        name: (found.top1, found.top1_ci95)
        for name, found in both.items()
        if found.top1 is not None and found.top1_ci95 is not None
    }


def score_title(check: ExecutionCheck, noun: str = "image") -> str:
    """Return a sentence about the answers of the executed file against the simulation."""
    top1 = check.executed.top1
    if top1 is None:
        return f"Execution lies {_format_distance(check.executed.sqnr_db)} beside the simulation"
    if top1 == 1:
        return f"Execution answers as the simulation does on all {check.samples} {noun}s"
    parted = round((1 - top1) * check.samples)
    counted = noun if check.samples == 1 else f"{noun}s"
    return (
        f"Execution answers otherwise than the simulation on {parted} of {check.samples} {counted}"
    )


def partings_by_layer(layer_sqnr_db: Mapping[str, float]) -> go.Figure:
    """Return the distance of each layer's output in the file from the simulation, in dB.

    Layers without a difference stand at the right edge.
    """
    names = list(layer_sqnr_db)
    finite = [db for db in layer_sqnr_db.values() if math.isfinite(db)]
    edge = max(60.0, 1.15 * max(finite, default=0.0))
    same = [row for row, name in enumerate(names) if layer_sqnr_db[name] >= _SAME_DB]
    rest = [row for row in range(len(names)) if row not in same]
    figure = go.Figure()
    for title, rows, color, symbol in (
        ("Differs", rest, ACTIVATION, "circle"),
        ("Equal", same, FLOAT, "diamond"),
    ):
        if rows:
            figure.add_scatter(
                name=title,
                x=[min(layer_sqnr_db[names[row]], edge) for row in rows],
                y=rows,
                mode="markers",
                marker={"color": color, "symbol": symbol, "size": mark_px(len(names))},
                customdata=[
                    f"<b>{escape_markup(names[row])}</b><br>{_format_distance(layer_sqnr_db[names[row]])}"
                    for row in rows
                ],
                hovertemplate="%{customdata}<extra></extra>",
            )
    furthest_first = sorted(rest, key=lambda row: layer_sqnr_db[names[row]])
    label_rows(figure, names, first=furthest_first[:NAMED_FIRST])
    low = min(0.0, *finite) if finite else 0.0
    figure.update_xaxes(
        title="Executed beside simulated, SQNR (dB), higher is better",
        range=[low - 2, edge + 2],
    )
    return finish_figure(
        figure, parting_title(layer_sqnr_db), rows_height_px(len(names)), legend_below=True
    )


def parting_title(layer_sqnr_db: Mapping[str, float]) -> str:
    """Return a sentence that names the layer with the largest difference."""
    if all(db >= _SAME_DB for db in layer_sqnr_db.values()):
        return "Every layer is executed as it is simulated, to the bit"
    worst = min(layer_sqnr_db, key=lambda name: layer_sqnr_db[name])
    first = next(name for name, db in layer_sqnr_db.items() if db < _SAME_DB)
    begins = "" if first == worst else f"; both part first at {shorten_name(first, 30)}"
    distance = _format_distance(layer_sqnr_db[worst])
    return f"{shorten_name(worst, 40)} is least alike, {distance} beside the simulation{begins}"


def integer_words(check: ExecutionCheck, weighted: tuple[str, ...]) -> str:
    """Return a sentence about the weighted layers that run in integers."""
    left = [name for name in weighted if name not in check.integer_layers]
    if not left:
        return f"All {len(weighted)} layers with weights are multiplied in whole numbers."
    if len(left) == len(weighted):
        return "No layer is multiplied in whole numbers here: its widths have no integer kernel."
    listed = ", ".join(left[:6]) + (f" and {len(left) - 6} more" if len(left) > 6 else "")
    share = format_share(1 - len(left) / len(weighted))
    what = f"{count_word(len(left))} of {len(weighted)} layers with weights"
    return f"{what} run in float between their encodings ({share} in whole numbers): {listed}."


def _format_distance(value: float) -> str:
    return "no difference" if value >= _SAME_DB else f"{value:.1f} dB"
