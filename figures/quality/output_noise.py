"""The noise at the output from each layer alone, at the layer's bits."""

from collections.abc import Mapping

import plotly.graph_objects as go

from figures.ranges.by_layer import SUSPECT
from figures.style.layout import (
    count_word,
    escape_markup,
    fewest_for_half,
    finish_figure,
    label_rows,
    rows_height_px,
    shorten_name,
)
from figures.style.units import format_share

MOST_LAYERS = 20


def noise_by_layer(noise: Mapping[str, float]) -> go.Figure:
    """Return the layers' shares of the summed noise energy, the noisiest on top, 20 at most.

    `noise` holds the noise energy at the output as shares of the output's energy.

    Raises:
        ValueError: `noise` is empty.
    """
    if not noise:
        raise ValueError("Noise by layer needs a layer; got none. Sweep the sensitivity first.")
    total = sum(noise.values()) or 1.0
    names = sorted(noise, key=lambda name: -noise[name])[:MOST_LAYERS]
    figure = go.Figure()
    figure.add_bar(
        orientation="h",
        x=[100 * noise[name] / total for name in names],
        y=list(range(len(names))),
        marker={"color": SUSPECT, "line": {"width": 0}},
        customdata=[
            f"<b>{escape_markup(name)}</b><br>{format_share(noise[name] / total)} of the noise"
            for name in names
        ],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="Share of the output's noise (%), lower is better")
    label_rows(figure, names)
    return finish_figure(figure, _noise_title(noise, total), rows_height_px(len(names), 20))


def _noise_title(noise: Mapping[str, float], total: float) -> str:
    half = fewest_for_half(noise)
    if len(half) == 1:
        return (
            f"{shorten_name(half[0], 40)} makes {format_share(noise[half[0]] / total)} of the noise"
        )
    return f"{count_word(len(half))} of {len(noise)} layers make half of the noise"
