"""The latency of one image, layer by layer."""

from collections.abc import Sequence

import plotly.graph_objects as go

from accelerator.report import CostReport, LayerCost
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
from figures.style.palette import BOUND_NAMES, BOUNDS
from figures.style.units import format_share, format_time, time_scale


def latency_by_layer(report: CostReport) -> go.Figure:
    """Return each layer's latency in execution order, in the colour of the layer's bound."""
    layers = report.layers
    factor, unit = time_scale(max((layer.latency_s for layer in layers), default=0.0))
    total = sum(layer.latency_s for layer in layers)
    figure = go.Figure()
    for bound, color in BOUNDS.items():
        rows = [row for row, layer in enumerate(layers) if layer.bound == bound]
        if not rows:
            continue
        figure.add_bar(
            name=f"Limited by {BOUND_NAMES[bound]}",
            orientation="h",
            y=rows,
            x=[factor * layers[row].latency_s for row in rows],
            marker={"color": color, "line": {"width": 0}},
            customdata=[_latency_hover_text(layers[row], total) for row in rows],
            hovertemplate="%{customdata}<extra></extra>",
        )
    figure.update_layout(barmode="overlay", bargap=0.25)
    figure.update_xaxes(
        title=f"Latency per {report.noun} ({unit}), lower is better", rangemode="tozero"
    )
    slowest_first = sorted(range(len(layers)), key=lambda row: -layers[row].latency_s)
    label_rows(figure, [layer.layer for layer in layers], first=slowest_first[:NAMED_FIRST])
    return finish_figure(
        figure, _latency_title(layers), rows_height_px(len(layers)), legend_below=True
    )


def _latency_hover_text(layer: LayerCost, total: float) -> str:
    share = format_share(layer.latency_s / total if total else 0.0)
    bound = BOUND_NAMES.get(layer.bound, layer.bound)
    return (
        f"<b>{escape_markup(layer.layer)}</b><br>"
        f"{format_time(layer.latency_s)} ({share}), limited by {bound}"
    )


def _latency_title(layers: Sequence[LayerCost]) -> str:
    latencies = {layer.layer: layer.latency_s for layer in layers}
    total = sum(latencies.values())
    if not total:
        return "No latency is estimated"
    half = fewest_for_half(latencies)
    if len(half) == 1:
        share = format_share(latencies[half[0]] / total)
        return f"{shorten_name(half[0], 40)} takes {share} of the time"
    waiting = sum(layer.latency_s for layer in layers if layer.bound != "compute") / total
    what = f"; {format_share(waiting)} of it is limited by memory" if waiting else ""
    return f"{count_word(len(half))} of {len(layers)} operations take half of the time{what}"
