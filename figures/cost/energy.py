"""The energy of one image: by component, by layer, by run."""

from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

from accelerator.report import CostReport, Energy, LayerCost
from figures.style.error_bars import interval_bars, scaled_ends
from figures.style.layout import (
    NAMED_FIRST,
    count_word,
    escape_markup,
    fewest_for_half,
    finish_figure,
    label_rows,
    rows_height_px,
    shorten_name,
)
from figures.style.palette import COMPONENT_NAMES, COMPONENTS, FLOAT
from figures.style.units import energy_scale, format_energy, format_share

NO_ENERGY = "No energy is estimated"


def energy_by_component(report: CostReport) -> go.Figure:
    """Return one stacked bar of the energy per image by component."""
    figure = go.Figure()
    _add_stacked_bars(figure, [shorten_name(report.workload)], [report.energy], report.noun)
    _add_intervals(figure, [report])
    figure.update_yaxes(showticklabels=False)
    return finish_figure(
        figure, _component_title(report.energy, report.noun), 70, legend_below=True
    )


def energy_by_layer(report: CostReport) -> go.Figure:
    """Return a stacked bar for each layer in execution order."""
    layers = report.layers
    figure = go.Figure()
    energies = [layer.energy for layer in layers]
    _add_stacked_bars(figure, [layer.layer for layer in layers], energies, report.noun)
    return finish_figure(figure, _layer_title(layers), rows_height_px(len(layers)))


def energy_comparison(reports: Mapping[str, CostReport]) -> go.Figure:
    """Return a stacked bar for each named report, in the order of `reports`.

    Raises:
        ValueError: `reports` is empty.
    """
    if not reports:
        raise ValueError("A comparison needs a report; got none. Choose a run.")
    figure = go.Figure()
    energies = [report.energy for report in reports.values()]
    _add_stacked_bars(figure, list(reports), energies, common_noun(reports.values()))
    _add_intervals(figure, list(reports.values()))
    title = _comparison_title(reports)
    return finish_figure(figure, title, rows_height_px(len(reports), 34), legend_below=True)


def _add_stacked_bars(
    figure: go.Figure, names: Sequence[str], energies: Sequence[Energy], noun: str
) -> None:
    """Add a trace for each component with energy, and a row for each name."""
    factor, unit = energy_scale(max((energy.total_pj for energy in energies), default=0.0))
    for part, color in COMPONENTS.items():
        values = [energy.parts_by_name()[part] for energy in energies]
        if not any(values):
            continue
        figure.add_bar(
            name=COMPONENT_NAMES[part],
            orientation="h",
            x=[factor * value for value in values],
            y=list(range(len(names))),
            marker={"color": color, "line": {"width": 0}},
            customdata=[
                [
                    escape_markup(name),
                    format_energy(value),
                    _format_part(value, energy),
                    _format_total(energy),
                ]
                for name, value, energy in zip(names, values, energies, strict=True)
            ],
            hovertemplate=(
                f"<b>%{{customdata[0]}}</b><br>{COMPONENT_NAMES[part]}: %{{customdata[1]}} "
                "(%{customdata[2]})<br>All: %{customdata[3]}<extra></extra>"
            ),
        )
    figure.update_layout(barmode="stack", bargap=0.25)
    figure.update_xaxes(title=f"Energy per {noun} ({unit}), lower is better", rangemode="tozero")
    largest_first = sorted(range(len(names)), key=lambda row: -energies[row].total_pj)
    label_rows(figure, names, first=largest_first[:NAMED_FIRST])


def _add_intervals(figure: go.Figure, reports: Sequence[CostReport]) -> None:
    """Add the 90 % interval of the energy where a machine was fitted to measurements."""
    factor, _ = energy_scale(max((report.energy_pj for report in reports), default=0.0))
    known = [
        (row, report.energy_pj, ends)
        for row, report in enumerate(reports)
        if (ends := report.energy_pj_ci) is not None
    ]
    if not known:
        return
    figure.add_scatter(
        name="90 % interval",
        x=[factor * value for _, value, _ in known],
        y=[row for row, _, _ in known],
        mode="markers",
        marker={"size": 1, "color": FLOAT},
        error_x=interval_bars(
            [factor * value for _, value, _ in known],
            [scaled_ends(ends, factor) for _, _, ends in known],
            FLOAT,
        ),
        customdata=[[format_energy(low), format_energy(high)] for _, _, (low, high) in known],
        hovertemplate="90 % interval: %{customdata[0]} to %{customdata[1]}<extra></extra>",
        showlegend=False,
    )


def common_noun(reports: Iterable[CostReport]) -> str:
    """Return the word for what one inference of the reports takes: an image where they differ."""
    nouns = {report.noun for report in reports}
    return nouns.pop() if len(nouns) == 1 else "image"


def _format_part(value: float, energy: Energy) -> str:
    return format_share(value / energy.total_pj if energy.total_pj else 0.0)


def _format_total(energy: Energy) -> str:
    return format_energy(energy.total_pj)


def _component_title(energy: Energy, noun: str) -> str:
    parts = energy.parts_by_name()
    if not energy.total_pj:
        return NO_ENERGY
    largest = max(parts, key=parts.__getitem__)
    share = format_share(parts[largest] / energy.total_pj)
    return (
        f"{COMPONENT_NAMES[largest]} takes {share} of {format_energy(energy.total_pj)} per {noun}"
    )


def _layer_title(layers: Sequence[LayerCost]) -> str:
    energies = {layer.layer: layer.energy_pj for layer in layers}
    total = sum(energies.values())
    if not total:
        return NO_ENERGY
    half = fewest_for_half(energies)
    if len(half) == 1:
        share = format_share(energies[half[0]] / total)
        return f"{shorten_name(half[0], 40)} takes {share} of the energy"
    return f"{count_word(len(half))} of {len(layers)} operations take half of the energy"


def _comparison_title(reports: Mapping[str, CostReport]) -> str:
    energies = {name: report.energy_pj for name, report in reports.items()}
    if len(reports) == 1:
        name, energy = next(iter(energies.items()))
        return f"{shorten_name(name, 40)} needs {format_energy(energy)} per {reports[name].noun}"
    least, most = (pick(energies, key=energies.__getitem__) for pick in (min, max))
    if energies[least] == energies[most]:
        return "All runs need the same energy" + _comparison_caveat(reports)
    saved = format_share(1 - energies[least] / energies[most])
    return (
        f"{shorten_name(least, 30)} needs {saved} less energy than {shorten_name(most, 30)}"
        + _comparison_caveat(reports)
    )


def _comparison_caveat(reports: Mapping[str, CostReport]) -> str:
    """Return a note where the reports differ in machine or network."""
    if len({report.workload for report in reports.values()}) > 1:
        return " (different networks)"
    return " (different machines)" if len({r.machine for r in reports.values()}) > 1 else ""
