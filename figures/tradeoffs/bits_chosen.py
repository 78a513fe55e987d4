"""The chosen bits of each layer."""

from collections.abc import Mapping

import plotly.graph_objects as go

from figures.style.layout import HALF_WIDTH, finish_figure
from figures.style.palette import bits_color
from figures.style.units import format_bits
from quant.assignment import Part

WEIGHTS = "weights"  # the side of a part
ROW_PX = 44
"""The height of one side's row of cells."""


def bits_by_layer(bits: Mapping[Part, int]) -> go.Figure:
    """Return a cell per layer along the depth, weights above activations, coloured by bits."""
    layers = list(dict.fromkeys(name for name, _ in bits))
    places = {name: place for place, name in enumerate(layers)}
    figure = go.Figure()
    for width in sorted(set(bits.values()), reverse=True):
        cells = [part for part, found in bits.items() if found == width]
        figure.add_bar(
            name=format_bits(width),
            x=[places[name] for name, _ in cells],
            y=[0.86] * len(cells),
            base=[_side_row(side) - 0.43 for _, side in cells],
            width=0.94,
            marker={"color": bits_color(width), "line": {"width": 0}},
            customdata=[[name, str(side)] for name, side in cells],
            hovertemplate=f"<b>%{{customdata[0]}}</b><br>%{{customdata[1]}}: {format_bits(width)}"
            "<extra></extra>",
        )
    figure.update_xaxes(
        title="Layer in the order of execution",
        range=[-0.7, len(layers) - 0.3],
        zeroline=False,
        showgrid=False,
    )
    figure.update_yaxes(
        tickmode="array",
        tickvals=[0, 1],
        ticktext=["A", "W"],
        range=[-0.5, 1.5],
        zeroline=False,
        showgrid=False,
    )
    figure.update_layout(barmode="overlay", bargap=0.0)
    # the figure stands beside a wider figure
    return finish_figure(
        figure, _bits_title(bits), 2 * ROW_PX, legend_below=True, title_width=HALF_WIDTH - 8
    )


def _side_row(side: str) -> int:
    return 1 if side == WEIGHTS else 0


def _bits_title(bits: Mapping[Part, int]) -> str:
    weights = [width for (_, side), width in bits.items() if side == WEIGHTS]
    outputs = [width for (_, side), width in bits.items() if side != WEIGHTS]
    if len(set(weights)) <= 1 and len(set(outputs)) <= 1:
        return "Every layer has the same bits"
    few = sum(width < 8 for width in weights)
    less = sum(width < 8 for width in outputs)
    return f"Below 8 bits: {few} of {len(weights)} weights, {less} of {len(outputs)} activations"
