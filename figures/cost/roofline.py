"""The bound of each layer: arithmetic or memory traffic."""

import math
from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

from accelerator.report import CostReport, LayerCost
from figures.style.layout import decade_axis, escape_markup, finish_figure
from figures.style.palette import BOUND_NAMES, BOUNDS, FLOAT
from figures.style.units import format_count, format_energy, format_rate, format_share, format_time

PLOT_PX = 420
_SYMBOLS = {"compute": "circle", "dram": "square", "sram": "diamond"}


def roofline_chart(report: CostReport) -> go.Figure:
    """Return MAC/s over MACs per byte of DRAM traffic, with a point for each layer with MACs.

    The roof is the machine's attainable rate (Williams et al. 2009). The area of a point is the
    layer's share of the latency. Layers without DRAM traffic stand at the right edge.
    """
    layers = [layer for layer in report.layers if layer.macs and layer.latency_s > 0]
    left, right = _intensity_edges(report, layers)
    figure = go.Figure()
    _add_roof_line(figure, report, left, right)
    for bound in BOUNDS:
        _add_layer_points(
            figure, report, [layer for layer in layers if layer.bound == bound], right
        )
    figure.update_xaxes(
        title="Intensity (MAC per byte of DRAM traffic), higher is better",
        range=[math.log10(left), math.log10(right * 1.5)],
        **decade_axis(left, right * 1.5),
    )
    slowest = min([report.peak_macs_per_s, *(_layer_speed(layer) for layer in layers)])
    figure.update_yaxes(
        title="Speed (MAC/s), higher is better", **decade_axis(slowest, report.peak_macs_per_s)
    )
    return finish_figure(figure, _roofline_title(layers), PLOT_PX, legend_below=True)


def _intensity_edges(report: CostReport, layers: Sequence[LayerCost]) -> tuple[float, float]:
    """Return the intensities of the left edge and of layers without DRAM traffic."""
    finite = [i for layer in layers if math.isfinite(i := layer.intensity_macs_per_byte)]
    known = [*finite, report.ridge_macs_per_byte]
    return min(known) / 2, max(known) * 4


def _add_roof_line(figure: go.Figure, report: CostReport, left: float, right: float) -> None:
    peak, ridge = report.peak_macs_per_s, report.ridge_macs_per_byte
    figure.add_scatter(
        name="Roof",
        x=[left, ridge, right * 1.5],
        y=[peak * left / ridge, peak, peak],
        mode="lines",
        line={"color": FLOAT, "width": 3},
        hovertemplate=(
            f"Roof: {format_rate(peak)}; DRAM limits left of the ridge, "
            f"{format_count(ridge)} MAC per byte<extra></extra>"
        ),
    )


def _add_layer_points(
    figure: go.Figure, report: CostReport, layers: Sequence[LayerCost], right: float
) -> None:
    if not layers:
        return
    bound = layers[0].bound
    figure.add_scatter(
        name=f"Limited by {BOUND_NAMES[bound]}",
        x=[min(layer.intensity_macs_per_byte, right) for layer in layers],
        y=[_layer_speed(layer) for layer in layers],
        mode="markers",
        marker={
            "color": BOUNDS[bound],
            "opacity": 0.8,
            "line": {"width": 1, "color": FLOAT},
            "size": [_point_diameter(layer, report) for layer in layers],
            "symbol": [
                _SYMBOLS[bound]
                if math.isfinite(layer.intensity_macs_per_byte)
                else "triangle-right"
                for layer in layers
            ],
        },
        cliponaxis=False,
        customdata=[[_layer_hover_text(layer, report)] for layer in layers],
        hovertemplate="%{customdata[0]}<extra></extra>",
    )


def _layer_speed(layer: LayerCost) -> float:
    return layer.macs / layer.latency_s


def _point_diameter(layer: LayerCost, report: CostReport) -> float:
    """Return a diameter in pixels; the area grows with the share of the latency."""
    return 8 + 30 * math.sqrt(layer.latency_s / report.latency_s)


def _layer_hover_text(layer: LayerCost, report: CostReport) -> str:
    intensity = layer.intensity_macs_per_byte
    traffic = (
        f"{format_count(intensity)} MAC per byte"
        if math.isfinite(intensity)
        else "no DRAM traffic: infinite intensity, drawn at the right edge"
    )
    share = format_share(layer.latency_s / report.latency_s)
    return "<br>".join(
        (
            f"<b>{escape_markup(layer.layer)}</b>",
            f"{format_rate(_layer_speed(layer))}, {traffic}",
            f"{format_count(layer.macs)} MAC in {format_time(layer.latency_s)} ({share})",
            f"{format_energy(layer.energy_pj)}, limited by {BOUND_NAMES[layer.bound]}",
        )
    )


def _roofline_title(layers: Sequence[LayerCost]) -> str:
    if not layers:
        return "No layer multiplies: there is nothing to place under the roof"
    bound, count = Counter(layer.bound for layer in layers).most_common(1)[0]
    name = BOUND_NAMES[bound]
    name = name[0].upper() + name[1:]
    if count == len(layers):
        return f"{name} limits {_all_layers(count)} with MACs"
    total = sum(layer.latency_s for layer in layers)
    share = sum(layer.latency_s for layer in layers if layer.bound == bound) / total
    return f"{name} limits {count} of {len(layers)} layers, {format_share(share)} of their time"


def _all_layers(count: int) -> str:
    return "the only layer" if count == 1 else f"all {count} layers"
