"""The network as a graph: layers along the depth, branches beside the main path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import plotly.graph_objects as go

from analysis.network_blocks import BLOCK
from analysis.network_layout import LayerPlace
from figures.style.layout import escape_markup, finish_figure
from figures.style.palette import FLOAT, with_opacity

SYMBOLS = {
    "input": "triangle-right",
    "conv": "circle",
    "depthwise": "diamond",
    "linear": "square",
    "matmul": "hexagon",
    "attention": "hexagram",
    "add": "cross",
    "multiply": "x",
    "concat": "star-triangle-up",
    "average-pool": "triangle-down",
    "activation": "pentagon",
    "norm": "bowtie",
    BLOCK: "square-x",
}
NODE_PX, BLOCK_PX, LANE_PX = 12, 20, 46
LEAST_NODE_PX = 5
PLOT_PX = 640  # width of the plot beside the colour bar in a window of 1280 pixels
PICKED = "#C2259B"
LINKED = "#14967A"
CURVE = np.linspace(0.0, 1.0, 13)
NARROW_PX, LETTER_PX = 340, 6.5  # width of the plot in a narrow window, and of a letter under it
Band = tuple[str, list[int]]
"""A module's name and the depths of its layers on the longest path."""


@dataclass(frozen=True, slots=True)
class ColorScale:
    """The colours of values: title, colours, and ticks of the bar.

    `low` and `high` bound the drawn values; `ticks` maps positions on the bar to names.
    """

    title: str
    colors: list[list[float | str]]
    low: float
    high: float
    ticks: Mapping[float, str] = field(default_factory=dict)


def network_graph(
    places: Sequence[LayerPlace],
    values: Mapping[str, float],
    texts: Mapping[str, str],
    scale: ColorScale,
    title: str,
    picked: str | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> go.Figure:
    """Return the network from left to right; layers without a value are hollow.

    `texts` holds each value in words, for the hover label. `links` become arcs under the network,
    `picked` has a ring. A point's customdata holds the layer's name.
    """
    at = {place.layer: place for place in places}
    figure = go.Figure()
    _add_edges(figure, places, at)
    _add_pair_arcs(figure, [(at[a], at[b]) for a, b in links if a in at and b in at])
    if picked in at:
        figure.add_scatter(
            x=[at[picked].depth],
            y=[at[picked].lane],
            mode="markers",
            hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 22, "color": PICKED, "line": {"width": 3}},
            showlegend=False,
        )
    _add_layer_nodes(figure, places, values, texts)
    ticks = scale.ticks
    figure.update_layout(
        coloraxis={
            "colorscale": scale.colors,
            "cmin": scale.low,
            "cmax": scale.high,
            "colorbar": {
                "title": {"text": scale.title, "side": "right"},
                "thickness": 10,
                "outlinewidth": 0,
                "tickmode": "array" if ticks else "auto",
                "tickvals": list(ticks) or None,
                "ticktext": list(ticks.values()) or None,
            },
        },
        clickmode="event+select",
    )
    _label_bands(figure, places)
    low, high = _height_range(figure)
    figure.update_yaxes(visible=False, fixedrange=True, range=[low - 0.5, high + 0.5])
    plot_px = max(150, round(LANE_PX * (high - low + 1)))
    return finish_figure(figure, title, plot_px, legend_below=True)


def _add_layer_nodes(
    figure: go.Figure,
    places: Sequence[LayerPlace],
    values: Mapping[str, float],
    texts: Mapping[str, str],
) -> None:
    deepest = max((place.depth for place in places), default=0)
    most_px = max(LEAST_NODE_PX, PLOT_PX // (deepest + 2))
    for kind in dict.fromkeys(place.kind for place in places):
        ours = [place for place in places if place.kind == kind]
        symbol = SYMBOLS.get(kind, "star")
        valued = [place for place in ours if place.layer in values]
        hollow = [place for place in ours if place.layer not in values]
        colors = {"color": [values[p.layer] for p in valued], "coloraxis": "coloraxis"}
        _add_markers(figure, valued, texts, {"symbol": symbol, **colors}, most_px)
        _add_markers(figure, hollow, texts, {"symbol": f"{symbol}-open", "color": FLOAT}, most_px)
        # On a colour axis the legend would be black, on a dark page as well.
        figure.add_scatter(
            name=kind,
            x=[None],
            y=[None],
            mode="markers",
            marker={"symbol": symbol, "color": FLOAT, "size": NODE_PX, **_block_line(kind)},
        )


def _block_line(kind: str) -> dict[str, object]:
    """Return the line that tells a block's square from that of a linear layer."""
    return {"line": {"width": 1, "color": "#FFFFFF"}} if kind == BLOCK else {}


def _add_markers(
    figure: go.Figure,
    some: Sequence[LayerPlace],
    texts: Mapping[str, str],
    marker: Mapping[str, object],
    most_px: int,
) -> None:
    if not some:
        return
    figure.add_scatter(
        x=[place.depth for place in some],
        y=[place.lane for place in some],
        mode="markers",
        marker={
            **marker,
            "size": min(BLOCK_PX if some[0].kind == BLOCK else NODE_PX, most_px),
            "line": {"width": 1, "color": FLOAT},
        },
        customdata=[[place.layer] for place in some],
        text=[_layer_hover_text(place, texts) for place in some],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        # Without this, Plotly fades all other points as if absent.
        unselected={"marker": {"opacity": 1}},
    )


def _layer_hover_text(place: LayerPlace, texts: Mapping[str, str]) -> str:
    words = [f"<b>{escape_markup(place.layer)}</b>", place.kind]
    return "<br>".join(words + ([texts[place.layer]] if place.layer in texts else []))


def _add_edges(
    figure: go.Figure, places: Sequence[LayerPlace], at: Mapping[str, LayerPlace]
) -> None:
    x: list[float | None] = []
    y: list[float | None] = []
    lanes: dict[int, list[int]] = {}
    for place in places:
        lanes.setdefault(place.depth, []).append(place.lane)
    for place in places:
        for source in place.sources:
            start = at[source]
            inside = range(start.depth + 1, place.depth)
            between = [lane for depth in inside for lane in lanes.get(depth, ())]
            # An edge past other layers runs above these layers, higher for longer edges.
            top = max(between) + 0.55 + 0.03 * len(between) if between else None
            way = _curve_points(start, place, top)
            x += [*way[0], None]
            y += [*way[1], None]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": with_opacity(FLOAT, 0.7), "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )


def _curve_points(
    start: LayerPlace, end: LayerPlace, through: float | None
) -> tuple[list[float], list[float]]:
    """Return the points of a line between two places, straight or through a middle height."""
    x = start.depth + (end.depth - start.depth) * CURVE
    straight = start.lane + (end.lane - start.lane) * CURVE
    if through is None:
        return x.tolist(), straight.tolist()
    rise = through - (start.lane + end.lane) / 2
    return x.tolist(), (straight + rise * (1 - (2 * CURVE - 1) ** 4)).tolist()


def _add_pair_arcs(figure: go.Figure, links: Sequence[tuple[LayerPlace, LayerPlace]]) -> None:
    x: list[float | None] = []
    y: list[float | None] = []
    for start, end in links:
        way = _curve_points(start, end, min(start.lane, end.lane) - 0.6)
        x += [*way[0], None]
        y += [*way[1], None]
    if links:
        figure.add_scatter(
            name="Equalized pair",
            x=x,
            y=y,
            mode="lines",
            hoverinfo="skip",
            line={"color": LINKED, "width": 2.5},
        )


def _label_bands(figure: go.Figure, places: Sequence[LayerPlace]) -> None:
    """Name the stretches of depth after their modules."""
    main = [place for place in places if place.lane == 0]
    bands = [
        (name, [place.depth for place in band]) for name, band in groupby(main, key=_module_name)
    ]
    deepest = max((place.depth for place in places), default=0)
    long_first = sorted(bands, key=lambda band: -len(band[1]))
    layers_a_px = (deepest + 2) / NARROW_PX
    shown = max((_fit_bands(order, layers_a_px) for order in (bands, long_first)), key=len)
    figure.update_xaxes(
        tickmode="array",
        tickvals=[(depths[0] + depths[-1]) / 2 for _, (_, depths) in shown],
        ticktext=["<br>" * line + escape_markup(name) for line, (name, _) in shown],
        showgrid=False,
        zeroline=False,
        title=None,
        range=[-0.8, deepest + 0.8],
        tickangle=0,
    )
    # all at once: plotly checks the shapes that are there again with each one that is added
    figure.update_layout(shapes=[_band_shape(depths) for _, depths in bands[1::2]])


def _band_shape(depths: Sequence[int]) -> dict[str, object]:
    """Return the pale rectangle behind a stretch of depths, as high as the plot."""
    return {
        "type": "rect",
        "xref": "x",
        "yref": "y domain",
        "x0": depths[0] - 0.5,
        "x1": depths[-1] + 0.5,
        "y0": 0,
        "y1": 1,
        "fillcolor": FLOAT,
        "opacity": 0.08,
        "line": {"width": 0},
        "layer": "below",
    }


def _fit_bands(bands: Sequence[Band], layers_a_px: float) -> list[tuple[int, Band]]:
    """Return the bands with names that fit into two lines, with the line; first come first."""
    lines: list[list[tuple[float, float]]] = [[], []]
    shown = []
    for band in bands:
        middle = (band[1][0] + band[1][-1]) / 2
        half = (len(band[0]) * LETTER_PX + 8) / 2 * layers_a_px
        low, high = middle - half, middle + half
        for number, line in enumerate(lines):
            if all(high <= start or end <= low for start, end in line):
                line.append((low, high))
                shown.append((number, band))
                break
    return shown


def _module_name(place: LayerPlace) -> str:
    """Return the module of a layer: at most two steps of the layer's path."""
    parts = place.layer.split(".")
    return ".".join(parts[:2] if len(parts) > 2 else parts[:1])


def _height_range(figure: go.Figure) -> tuple[float, float]:
    """Return the lowest and the highest drawn height."""
    heights = [y for trace in figure.data for y in trace.y if y is not None]
    return min(heights, default=0.0), max(heights, default=0.0)
