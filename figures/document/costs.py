"""Energy, latency and memory on the machine, and the sources of the machine's numbers."""

from dataclasses import replace

import plotly.graph_objects as go

from accelerator.machine import machine_title
from accelerator.report import CostReport, LayerCost
from accelerator.validation.compare import check_measured_rows
from analysis.reporting.contents import Report
from figures.cost.energy import energy_by_component, energy_by_layer, energy_comparison
from figures.cost.latency import latency_by_layer
from figures.cost.roofline import roofline_chart
from figures.cost.wording import energy_text
from figures.document.markup import (
    Html,
    bullet_list,
    exact_number,
    facts_table,
    html_element,
    html_table,
    paragraph,
)
from figures.document.plots import plot_element
from figures.style.palette import COMPONENT_NAMES
from figures.style.units import format_bytes, format_count, format_energy, format_share, format_time

MOST_LAYERS = 20  # two plots of 20 layers fit a page of A4
CAVEAT = (
    "Ratios between configurations on one machine are better than absolute figures: much of the "
    "error is the same on both sides."
)


def cost_section(report: Report) -> Html:
    """Return the energy by component and by layer, and the limits of the speed."""
    cost = report.run.cost
    content: list[object] = [
        html_element("h2", f"Energy and latency on {machine_title(cost.machine)}", id="costs"),
        html_element("p", f"Estimated energy: {energy_text(cost)}. {CAVEAT}", class_="before"),
        _energy_table(cost),
        plot_element(energy_by_component(cost)),
    ]
    if report.model is not None:
        beside = _reports_to_compare(report)
        if len(beside) > 1:
            content.append(plot_element(energy_comparison(beside)))
    costly, left = most_costly(cost, "energy_pj")
    content += [
        plot_element(
            _copy_title(energy_by_layer(costly), energy_by_layer(cost)), _left_out_note(left)
        ),
    ]
    slow, left = most_costly(cost, "latency_s")
    content += [
        plot_element(
            _copy_title(latency_by_layer(slow), latency_by_layer(cost)), _left_out_note(left)
        ),
        plot_element(roofline_chart(cost)),
        _totals_table(cost),
    ]
    if cost.notes:
        content.append(bullet_list(cost.notes))
    content += _measured_rows(cost.machine)
    return html_element("section", *content)


def _measured_rows(machine: str) -> list[object]:
    """Return the measurements of the machine's chip beside the estimates, with sources."""
    checks = check_measured_rows(machine.partition("@")[0])
    if not checks:
        return []
    rows = [
        (
            check.row.chip,
            check.row.measurement.network,
            format_energy(1e12 * (check.row.measurement.energy_j or 0.0)),
            format_energy(1e12 * check.energy_j),
            f"{100 * (check.energy_error or 0.0):+.1f} %",
            check.row.measurement.source,
        )
        for check in checks
    ]
    heads = ("Chip", "Network", "Measured", "Estimated", "Error", "Source")
    return [html_element("h3", "How far to trust it"), html_table(heads, rows, numeric=(2, 3, 4))]


def _reports_to_compare(report: Report) -> dict[str, CostReport]:
    """Return the run beside 8 bits throughout, where the energies differ."""
    model, cost = report.model, report.run.cost
    eight = "8 bits throughout"
    name = report.run.name if report.run.name != eight else "This run"
    reports = {name: cost}
    if model is not None and model.at_8_bits.energy_pj != cost.energy_pj:
        reports[eight] = model.at_8_bits
    return reports


def most_costly(cost: CostReport, figure: str) -> tuple[CostReport, int]:
    """Return the report with only the most costly layers, and the number of layers left out."""
    if len(cost.layers) <= MOST_LAYERS:
        return cost, 0

    def key(layer: LayerCost) -> float:
        value: float = getattr(layer, figure)
        return -value

    chosen = {layer.layer for layer in sorted(cost.layers, key=key)[:MOST_LAYERS]}
    layers = tuple(layer for layer in cost.layers if layer.layer in chosen)
    return replace(cost, layers=layers), len(cost.layers) - len(layers)


def _copy_title(figure: go.Figure, whole: go.Figure) -> go.Figure:
    """Give a figure of a part of the layers the title of the whole figure, with the true shares."""
    figure.update_layout(title_text=whole.layout.title.text)
    return figure


def _left_out_note(count: int) -> str:
    if not count:
        return ""
    return f"The {count} cheapest layers are left out; the last table has all layers."


def _energy_table(cost: CostReport) -> Html:
    energy = cost.energy
    total = energy.total_pj or 1.0
    rows: list[tuple[object, ...]] = [
        (
            COMPONENT_NAMES[name],
            exact_number(format_energy(value), value),
            exact_number(format_share(value / total), value / total),
        )
        for name, value in energy.parts_by_name().items()
        if value
    ]
    rows.append(("All", exact_number(format_energy(energy.total_pj), energy.total_pj), "100 %"))
    return html_table((f"Energy per {cost.noun}", "Estimate", "Share"), rows, numeric=(1, 2))


def _totals_table(cost: CostReport) -> Html:
    traffic = cost.dram_bits // 8
    return facts_table(
        [
            ("Latency", exact_number(format_time(cost.latency_s), cost.latency_s)),
            ("Cycles", exact_number(format_count(cost.cycles), cost.cycles)),
            (f"DRAM traffic per {cost.noun}", exact_number(format_bytes(traffic), traffic)),
            ("Weights as stored", exact_number(format_bytes(cost.weight_bytes), cost.weight_bytes)),
            (
                "Activations at their peak",
                exact_number(format_bytes(cost.peak_activation_bytes), cost.peak_activation_bytes),
            ),
            ("MACs", exact_number(format_count(cost.macs), cost.macs)),
            ("Bit operations", exact_number(format_count(cost.bops), cost.bops)),
        ]
    )


def sources_section(report: Report) -> Html:
    """Return the source of every number of the machine."""
    machine = report.machine
    if machine is None:
        return html_element(
            "section",
            html_element("h2", "The machine", id="machine"),
            paragraph(f"{machine_title(report.run.cost.machine)}: its file is not at hand."),
        )
    rows: list[tuple[str, object]] = [
        ("Name", f"{machine.title} ({machine.name})"),
        ("Technology", f"{machine.technology_nm} nm, {machine.clock_hz / 1e6:.0f} MHz"),
    ]
    if machine.illustrative:
        rows.append(("Energies", "placeholders: the maker published none"))
    return html_element(
        "section",
        html_element("h2", "The machine and the sources of its numbers", id="machine"),
        facts_table(rows),
        html_table(
            ("Number", "Source"),
            [(html_element("code", key), said) for key, said in machine.sources],
            class_="codes",
        ),
    )
