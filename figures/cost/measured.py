"""Estimates beside measurements of chips, on logarithmic axes."""

from collections.abc import Sequence

import plotly.graph_objects as go

from accelerator.validation.compare import RowCheck
from figures.style.layout import escape_markup, finish_figure
from figures.style.palette import AFTER, FLOAT
from figures.style.units import format_energy

PLOT_PX = 380
PJ_PER_J = 1e12


def measured_scatter(checks: Sequence[RowCheck], machine: str) -> go.Figure:
    """Return estimated over measured energy; the chosen machine's points are in colour.

    `machine` is the machine's name without the operating point. On the line, estimate and
    measurement are equal.
    """
    figure = go.Figure()
    priced = [check for check in checks if check.row.measurement.energy_j]
    values = [1e6 * (check.row.measurement.energy_j or 0.0) for check in priced]
    ends = [min(values) / 2, max(values) * 2]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": FLOAT, "dash": "dot"},
        name="equal",
        hoverinfo="skip",
    )
    for mine, color in ((False, FLOAT), (True, AFTER)):
        points = [check for check in priced if (check.row.machine == machine) is mine]
        if points:
            figure.add_scatter(
                **_scatter_trace(points, color, "this machine" if mine else "other chips")
            )
    figure.update_xaxes(type="log", title="Measured energy (µJ)")
    figure.update_yaxes(type="log", title="Estimated energy (µJ)")
    return finish_figure(figure, _scatter_title(priced, machine), PLOT_PX, legend_below=True)


def _scatter_trace(points: Sequence[RowCheck], color: str, name: str) -> dict[str, object]:
    return {
        "x": [1e6 * (check.row.measurement.energy_j or 0.0) for check in points],
        "y": [1e6 * check.energy_j for check in points],
        "mode": "markers",
        "name": name,
        "marker": {
            "color": color,
            "size": 9,
            "symbol": ["circle" if check.row.is_fitted_row else "circle-open" for check in points],
        },
        "customdata": [
            [
                escape_markup(check.row.chip),
                escape_markup(check.row.measurement.network),
                format_energy(PJ_PER_J * (check.row.measurement.energy_j or 0.0)),
                format_energy(PJ_PER_J * check.energy_j),
            ]
            for check in points
        ],
        "hovertemplate": (
            "<b>%{customdata[0]}</b><br>%{customdata[1]}: measured %{customdata[2]}, "
            "estimated %{customdata[3]}<extra></extra>"
        ),
    }


def _scatter_title(checks: Sequence[RowCheck], machine: str) -> str:
    mine = [abs(check.energy_error or 0.0) for check in checks if check.row.machine == machine]
    if not mine:
        return "No chip stands behind this machine; others are shown"
    return f"{len(mine)} measurements, at worst {100 * max(mine):.0f} % from the estimate"
