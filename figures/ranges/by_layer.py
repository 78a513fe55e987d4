"""Ranges of all layers along the depth of the network."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.ranges.findings import ExaminedTensor, rank_suspect_tensors
from figures.style.layout import HALF_WIDTH, count_word, escape_markup, finish_figure, shorten_name
from figures.style.palette import ACTIVATION, FLOAT, WEIGHT, with_opacity

SUSPECT = "#C2259B"
LIMIT = "#14967A"
PLOT_PX = 300
QUARTILES = (25, 50, 75)
# Channels further below the largest value are dead under any encoding and would compress the plot.
DECADES_BELOW = 1e-7
BELOW_BANDS = 0.1
TENSOR_COLOR = {"weight": WEIGHT, "activation": ACTIVATION}


def ranges_along_depth(
    examined: Sequence[ExaminedTensor], noun: str, picked: str | None = None
) -> go.Figure:
    """Return the largest magnitudes along the depth, on a log axis.

    The band reaches from half a step of an encoding per tensor to the largest value: a channel
    below the band rounds to zero. A box holds the quartiles of the channels' largest magnitudes,
    the whiskers all channels. A triangle marks a suspect.
    """
    figure = go.Figure()
    names = [item.layer_name for item in examined]
    tops = [item.distribution.largest_magnitude for item in examined]
    _add_range_band(figure, examined, noun)
    _add_range_boxes(figure, examined, noun)
    _add_suspect_marks(figure, examined, noun)
    if picked in names:
        figure.add_vline(x=names.index(picked), line={"color": FLOAT, "width": 1, "dash": "dot"})
    above = [top for top in tops if top > 0]
    low, high = _log_axis_limits(examined, above)
    figure.update_xaxes(
        title="Layer in the order of execution",
        range=[-0.7, len(names) - 0.3],
        zeroline=False,
        showgrid=False,
    )
    figure.update_yaxes(
        title=f"Largest magnitude of the {noun}s",
        type="log",
        range=[low, high],
        dtick=1,
        exponentformat="power",
    )
    figure.update_layout(boxmode="overlay", clickmode="event+select")
    title = _depth_title(examined, noun)
    return finish_figure(figure, title, PLOT_PX, legend_below=True, title_width=HALF_WIDTH)


def _add_range_band(figure: go.Figure, examined: Sequence[ExaminedTensor], noun: str) -> None:
    x: list[float] = []
    low: list[float | None] = []
    high: list[float | None] = []
    for place, item in enumerate(examined):
        top = item.distribution.largest_magnitude
        bottom = half_encoding_step(item)
        x += [place - 0.5, place + 0.5]  # steps, because no value lies between two layers
        low += [bottom or None] * 2
        high += [top or None] * 2
    color = with_opacity(TENSOR_COLOR[noun], 0.18)
    figure.add_scatter(
        x=x, y=low, mode="lines", line={"width": 0}, hoverinfo="skip", showlegend=False
    )
    figure.add_scatter(
        name="One encoding per tensor: half a step to end",
        x=x,
        y=high,
        mode="lines",
        line={"width": 1, "color": TENSOR_COLOR[noun]},
        fill="tonexty",
        fillcolor=color,
        hoverinfo="skip",
    )


def half_encoding_step(item: ExaminedTensor) -> float:
    """Return half a step of one encoding over the whole range, at the chosen bits (8 for float)."""
    distribution = item.distribution
    bits = item.fit.spec.bits if item.fit is not None else 8
    symmetric = item.fit.spec.symmetric if item.fit is not None else distribution.low < 0
    if symmetric:
        codes = (1 << bits - 1) - 1 if distribution.low < 0 else (1 << bits) - 1
        return distribution.largest_magnitude / codes / 2
    return (max(distribution.high, 0.0) - min(distribution.low, 0.0)) / ((1 << bits) - 1) / 2


def _add_range_boxes(figure: go.Figure, examined: Sequence[ExaminedTensor], noun: str) -> None:
    places, boxes, texts = [], [], []
    for place, item in enumerate(examined):
        channels = item.distribution.channels
        if channels is None or not channels.alive_channels.any():
            continue
        alive = channels.largest_by_channel[channels.alive_channels]
        places.append(place)
        boxes.append([alive.min(), *np.percentile(alive, QUARTILES), alive.max()])
        dead = len(channels.largest_by_channel) - len(alive)
        texts.append(
            f"<b>{escape_markup(item.layer_name)}</b><br>{len(alive)} channels"
            + (f", {dead} more without values" if dead else "")
            + f"<br>widest {alive.max():.3g}, median {np.median(alive):.3g}, "
            f"narrowest {alive.min():.3g}<br>widest over median: "
            f"{channels.widest_to_median_ratio:.4g}"
        )
    columns = np.array(boxes).reshape(-1, 5).T
    color = TENSOR_COLOR[noun]
    figure.add_box(
        name="Channels: quartiles, ends",
        x=places,
        lowerfence=columns[0],
        q1=columns[1],
        median=columns[2],
        q3=columns[3],
        upperfence=columns[4],
        line={"color": color, "width": 1},
        fillcolor=with_opacity(color, 0.55),
        width=0.6,
        hoverinfo="skip",
    )
    # A box shows six hover labels and takes no click; an invisible point shows one label and takes
    # clicks.
    figure.add_scatter(
        x=places,
        y=columns[2],
        mode="markers",
        marker={"size": 16, "opacity": 0},
        customdata=[[examined[place].layer_name] for place in places],
        text=texts,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def _add_suspect_marks(figure: go.Figure, examined: Sequence[ExaminedTensor], noun: str) -> None:
    places = [place for place, item in enumerate(examined) if item.findings]
    if not places:
        return
    tensors = [examined[place] for place in places]
    figure.add_scatter(
        name="Suspects",
        x=places,
        y=[1.8 * item.distribution.largest_magnitude for item in tensors],
        mode="markers",
        marker={"symbol": "triangle-down", "size": 10, "color": SUSPECT},
        customdata=[[item.layer_name] for item in tensors],
        text=[
            f"<b>{escape_markup(item.layer_name)}</b> ({noun})<br>"
            + "<br>".join(escape_markup(finding.sentence) for finding in item.findings)
            for item in tensors
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def _log_axis_limits(
    examined: Sequence[ExaminedTensor], tops: Sequence[float]
) -> tuple[float, float]:
    if not tops:
        return -1.0, 1.0
    bottoms = [
        half_encoding_step(item) for item in examined if item.distribution.largest_magnitude > 0
    ]
    # Channels below every band round to zero at any distance: the axis ends soon below the bands.
    floor = min(bottoms) * BELOW_BANDS
    for item in examined:
        channels = item.distribution.channels
        if channels is not None and channels.alive_channels.any():
            bottoms.append(float(channels.largest_by_channel[channels.alive_channels].min()))
    low = max(min(bottoms), floor, max(tops) * DECADES_BELOW)
    return float(np.log10(low)) - 0.2, float(np.log10(max(tops))) + 0.5


def _depth_title(examined: Sequence[ExaminedTensor], noun: str) -> str:
    ranked = rank_suspect_tensors(list(examined))
    if not ranked:
        return f"No {noun} of {len(examined)} looks suspect"
    worst = ranked[0]
    verb = "is" if len(ranked) == 1 else "are"
    return (
        f"{count_word(len(ranked))} of {len(examined)} {noun}s {verb} suspect, "
        f"most of all {shorten_name(worst.layer_name, 40)}: {worst.findings[0].cause}"
    )
