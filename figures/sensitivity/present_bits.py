"""What each layer alone loses at the present bits: one bar a layer, the largest on top."""

import plotly.graph_objects as go

from analysis.sensitivity.present_bits import PresentLoss
from analysis.sensitivity.ranking import HarmMetric
from figures.style.layout import (
    count_word,
    escape_markup,
    finish_figure,
    label_rows,
    rows_height_px,
    shorten_name,
)
from figures.style.palette import ACTIVATION, WEIGHT

MOST_LAYERS = 12
BAR_PX = 22
STANDS_OUT = 0.1
"""Share of the loss from which one layer stands out of many."""
LEAST_POINTS = 0.05
"""Points below which a loss is written as none."""
LEAST_NATS = 1e-6
AXES = {
    HarmMetric.TASK: "Points of the metric lost by this layer alone, lower is better",
    HarmMetric.ACCURACY: "Points of accuracy lost by this layer alone, lower is better",
    HarmMetric.AGREEMENT: "Points of answers changed by this layer alone, lower is better",
    HarmMetric.KL: "Share of the predicted divergence of all layers (%), lower is better",
}
VERBS = {
    HarmMetric.TASK: ("loses", "lose", "metric"),
    HarmMetric.ACCURACY: ("loses", "lose", "accuracy"),
    HarmMetric.AGREEMENT: ("changes", "change", "answers"),
    HarmMetric.KL: ("makes", "make", "predicted divergence"),
}


def present_loss_bars(loss: PresentLoss, bits: str) -> go.Figure:
    """Return the losses of up to twelve layers, weights and activations stacked.

    `bits` names the present bits in the title, such as "W8A8 per-channel". KL divergences are
    drawn as shares of their sum over layers.
    """
    shown = loss.layers[:MOST_LAYERS]
    factor = 100 / loss.total if loss.metric is HarmMetric.KL and loss.total > 0 else 1.0
    figure = go.Figure()
    sides = (("Weights", "weights", WEIGHT), ("Activations", "activations", ACTIVATION))
    unit = "%" if loss.metric is HarmMetric.KL else "points"
    for title, side, color in sides:
        values = [factor * (getattr(one, side) or 0.0) for one in shown]
        labels = [
            f"<b>{escape_markup(one.layer)}</b><br>{title}: {value:.2f} {unit}"
            for one, value in zip(shown, values, strict=True)
        ]
        figure.add_bar(
            name=title,
            orientation="h",
            x=values,
            y=list(range(len(shown))),
            marker={"color": color, "line": {"width": 0}},
            customdata=labels,
            hovertemplate="%{customdata}<extra></extra>",
        )
    figure.update_layout(barmode="relative")
    figure.update_xaxes(title=AXES[loss.metric])
    label_rows(figure, [one.layer for one in shown])
    height = rows_height_px(len(shown), BAR_PX)
    return finish_figure(figure, present_loss_sentence(loss, bits), height)


def present_loss_sentence(loss: PresentLoss, bits: str) -> str:
    """Return in one sentence which layers lose most at the present bits."""
    top = loss.layers[0]
    one, several, what = VERBS[loss.metric]
    if loss.expected:
        one, several = (f"{be} expected to {several}" for be in ("is", "are"))
    least = LEAST_NATS if loss.metric is HarmMetric.KL else LEAST_POINTS
    if top.total < least:
        return f"No layer alone {one} {what} at {bits}"
    amount = f"{top.total:.1f} points"
    if loss.metric is HarmMetric.KL:
        amount = f"{100 * top.total / loss.total:.0f} %"
    name, worst = shorten_name(top.layer, 40), loss.worst
    if len(worst) == 1:
        return f"{name} {one} most of the {what} at {bits}: {amount} alone"
    if len(worst) > MOST_LAYERS:
        most = f"{name} {one} most {what}"
        if top.total >= STANDS_OUT * loss.total:
            return f"{most} at {bits}: {amount} alone"
        return f"No few layers stand out at {bits}: {most}, {amount} alone"
    return (
        f"{count_word(len(worst))} of {len(loss.layers)} layers {several} most of the {what} at "
        f"{bits}, {name} first: {amount} alone"
    )
