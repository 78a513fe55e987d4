"""What each pass of a recipe did: to the score, to each layer's error, to the ranges."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import plotly.graph_objects as go

from figures.layout import count_word, escape, finish, label_rows, rows_px, shorten
from figures.palette import AFTER, BEFORE, FLOAT, WEIGHT

GAIN, LOSS = "#2E8B6F", "#C2471F"
WATERFALL_PX = 320
MOST_CHANNELS = 400
Ranges = Sequence[tuple[float, float]]


def waterfall(
    titles: Sequence[str], scores: Sequence[float], reference: float | None, unit: str
) -> go.Figure:
    """Return the way from plain quantization to the repaired score; shares of 1.

    `titles` and `scores` start with plain quantization; `reference` is the float score.
    """
    percent = [100 * score for score in scores]
    changes = [percent[0], *(b - a for a, b in pairwise(percent))]
    figure = go.Figure(
        go.Waterfall(
            x=[*(escape(title) for title in titles), "Repaired"],
            y=[*changes, 0],
            measure=["absolute", *["relative"] * (len(changes) - 1), "total"],
            text=[
                f"{percent[0]:.2f} %",
                *(f"{c:+.2f}" for c in changes[1:]),
                f"{percent[-1]:.2f} %",
            ],
            textposition="outside",
            cliponaxis=False,
            increasing={"marker": {"color": GAIN}},
            decreasing={"marker": {"color": LOSS}},
            totals={"marker": {"color": BEFORE}},
            connector={"line": {"color": FLOAT, "width": 1}},
            hovertemplate="%{x}<br>%{text}<extra></extra>",
        )
    )
    if reference is not None:
        figure.add_hline(
            y=100 * reference, line={"color": FLOAT, "dash": "dash"},
            annotation_text=f"float {100 * reference:.2f} %", annotation_position="top left",
        )  # fmt: skip
    figure.update_yaxes(title=f"{unit} (%), higher is better", range=[0, 112])
    return finish(figure, _waterfall_title(titles, percent, reference), WATERFALL_PX)


def _waterfall_title(
    titles: Sequence[str], percent: Sequence[float], reference: float | None
) -> str:
    gained = percent[-1] - percent[0]
    changes = {t: b - a for t, a, b in zip(titles[1:], percent, percent[1:], strict=False)}
    if not changes:
        return f"Plain quantization reaches {percent[0]:.2f} %"
    best = max(changes, key=changes.__getitem__)
    what = f"The recipe brings {gained:.2f} points" if gained >= 0 else (
        f"The recipe costs {-gained:.2f} points"
    )  # fmt: skip
    if gained > 0 and len(changes) > 1:
        what += f", {changes[best]:.2f} of them by {best}"
    if reference is not None:
        what += f"; {100 * reference - percent[-1]:.2f} are left to float"
    return what


def sqnr_before_after(before: Mapping[str, float], after: Mapping[str, float]) -> go.Figure:
    """Return each layer's SQNR in dB before and after, in execution order; exact ones left out."""
    names = [
        name for name in after if math.isfinite(after[name]) and math.isfinite(before.get(name, 0))
    ]
    figure = go.Figure()
    for title, values, color in (("Before", before, AFTER), ("After", after, BEFORE)):
        figure.add_scatter(
            name=title, mode="markers", marker={"color": color, "size": 9},
            x=[values.get(name) for name in names], y=list(range(len(names))),
            customdata=[escape(name) for name in names],
            hovertemplate="<b>%{customdata}</b><br>%{x:.1f} dB<extra>" + title + "</extra>",
        )  # fmt: skip
    label_rows(figure, names)
    figure.update_xaxes(title="SQNR of the layer's output (dB), higher is better")
    better = sum(1 for name in names if after[name] > before.get(name, -math.inf))
    title = f"Less error than before in {count_word(better).lower()} of {len(names)} layers"
    return finish(figure, title, rows_px(len(names)), legend_below=True)


def ranges_before_after(layer: str, before: Ranges, after: Ranges) -> go.Figure:
    """Return the range of each output channel's weights before and after, (low, high) each.

    Channels are sorted by their range before; of more than 400 every n-th is drawn.
    """
    order = sorted(range(len(before)), key=lambda c: before[c][1] - before[c][0], reverse=True)
    step = math.ceil(len(order) / MOST_CHANNELS)
    shown = order[::step]
    figure = go.Figure()
    for title, ranges, color, shift in (
        ("Before", before, AFTER, -0.2), ("After", after, BEFORE, 0.2)
    ):  # fmt: skip
        lengths = [ranges[channel][1] - ranges[channel][0] for channel in shown]
        figure.add_bar(
            name=title, x=[place + shift for place in range(len(shown))], y=lengths, width=0.4,
            base=[ranges[channel][0] for channel in shown], marker={"color": color},
            customdata=shown,
            hovertemplate="channel %{customdata}<br>%{base:.4g} to %{y:.4g}<extra>"
            + title + "</extra>",
        )  # fmt: skip
    figure.update_layout(barmode="overlay")
    every = "" if step == 1 else f"; 1 in {step} is drawn"
    figure.update_xaxes(title=f"Output channels by range before{every}", showticklabels=False)
    figure.update_yaxes(title="Weights of the channel")
    old, new = spread(before), spread(after)
    name = shorten(layer, 40)
    return finish(
        figure, f"{name}: channel ranges differ {old:.3g}-fold before, {new:.3g}-fold after",
        280, legend_below=True,
    )  # fmt: skip


def spread(ranges: Ranges) -> float:
    """Return the largest channel's range over the median one's; channels of zeros left out."""
    lengths = sorted(high - low for low, high in ranges if high > low)
    return lengths[-1] / lengths[len(lengths) // 2] if lengths else 1.0


def bias_shift(layer: str, before: Sequence[float], after: Sequence[float] | None) -> go.Figure:
    """Return how far quantization moved each channel's mean, and what remains after correction."""
    figure = go.Figure()
    series = [("Before", before, AFTER)] + ([] if after is None else [("After", after, BEFORE)])
    for title, values, color in series:
        figure.add_scatter(
            name=title, mode="markers", x=list(range(len(values))), y=list(values),
            marker={"color": color, "size": 7},
            hovertemplate="channel %{x}<br>%{y:.4g}<extra>" + title + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Output channel")
    figure.update_yaxes(title="Shift of the mean, nearer 0 is better")
    largest = max((abs(value) for value in before), default=0.0)
    title = f"{shorten(layer, 40)}: quantization moved a mean by up to {largest:.3g}"
    return finish(figure, title, 260, legend_below=True)


def rounding_gain(layers: Sequence[str], ratios: Sequence[float]) -> go.Figure:
    """Return what is left of each layer's reconstruction error after AdaRound, as shares of 1."""
    figure = go.Figure(
        go.Bar(
            x=[100 * ratio for ratio in ratios], y=list(range(len(layers))), orientation="h",
            marker={"color": WEIGHT}, customdata=[escape(name) for name in layers],
            hovertemplate="<b>%{customdata}</b><br>%{x:.0f} % of nearest rounding's error"
            "<extra></extra>",
        )
    )  # fmt: skip
    label_rows(figure, layers)
    figure.update_xaxes(title="Error left (% of nearest rounding), lower is better")
    mean = sum(ratios) / len(ratios) if ratios else 1.0
    title = f"Learned rounding leaves {100 * mean:.0f} % of the error, on average over layers"
    return finish(figure, title, rows_px(len(layers)))
