"""Widths of output channels: the number of channels of a width, layer by layer."""

from collections import Counter
from collections.abc import Mapping

import plotly.graph_objects as go

from figures.style.layout import finish_figure, label_rows, rows_height_px
from figures.style.palette import WEIGHT, with_opacity

FAINTEST = 0.25


def widths_by_layer(widths: Mapping[str, tuple[int, ...]]) -> go.Figure:
    """Return the share of channels of a width, a bar for each layer, the narrowest first.

    `widths` hold the bits of the output channels by layer; layers without widths are left out.
    """
    own = {name: Counter(bits) for name, bits in widths.items() if bits}
    names = list(own)
    every = sorted({bits for counts in own.values() for bits in counts})
    figure = go.Figure()
    for place, bits in enumerate(every):
        counts = [own[name][bits] for name in names]
        shares = [
            100 * count / own[name].total() for name, count in zip(names, counts, strict=True)
        ]
        strength = FAINTEST + (1 - FAINTEST) * (place + 1) / len(every)
        figure.add_bar(
            name=f"{bits} bit",
            y=list(range(len(names))),
            x=shares,
            orientation="h",
            marker_color=with_opacity(WEIGHT, strength),
            customdata=counts,
            hovertemplate=f"%{{customdata}} channels of {bits} bit<extra></extra>",
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="Channels (%)", range=[0, 100])
    label_rows(figure, names)
    return finish_figure(figure, _widths_title(own), rows_height_px(len(names)))


def _widths_title(own: Mapping[str, Counter[int]]) -> str:
    total: Counter[int] = sum(own.values(), Counter())
    if not total:
        return "All channels of each weight have one width"
    bits, count = max(total.items(), key=lambda item: item[1])
    return f"{count} of {total.total()} channels have {bits} {'bit' if bits == 1 else 'bits'}"
