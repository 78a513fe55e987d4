"""The front of a machine in the report, with the chosen configuration."""

import math
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from accelerator.machine import machine_title
from analysis.cost.quantity import Quantity
from analysis.reporting.trade_off import TradeOff, TradePoint
from figures.ranges.by_layer import SUSPECT
from figures.style.error_bars import interval_bars
from figures.style.layout import escape_markup, finish_figure, shorten_name
from figures.style.palette import BEFORE, FLOAT, PREDICTED, with_opacity
from figures.style.point_labels import NO_PLACE, Spot, place_labels
from figures.style.units import bytes_scale, energy_scale, format_share, time_scale

PLOT_PX = 380
_NAMES = {
    Quantity.ENERGY: "Energy per {noun}",
    Quantity.LATENCY: "Latency per {noun}",
    Quantity.SIZE: "Weight size",
    Quantity.MEMORY: "Peak activation memory",
    Quantity.BOPS: "Bit operations per {noun}",
}


def trade_off_chart(data: TradeOff) -> go.Figure:
    """Return loss over cost: the predicted front with band, references, measured points.

    Without any predicted loss, the output's SQNR replaces the loss.
    """
    chosen = () if data.chosen is None else (data.chosen,)
    points = (*data.predicted, *data.references, *data.measured, *chosen)
    factor, unit = _axis_scale(data.quantity, max(point.cost for point in points))
    by_loss = all(point.loss is not None for point in (*data.predicted, *chosen))
    value = _loss_percent if by_loss else _finite_sqnr
    figure = go.Figure()
    if by_loss:
        _add_prediction_band(figure, data.predicted, factor)
    figure.add_scatter(
        name="Front, predicted",
        mode="lines+markers",
        line={"color": PREDICTED, "width": 2},
        marker={"size": 6, "color": PREDICTED},
        **_point_fields(data.predicted, factor, value),
    )
    places = _label_places(data.references, points, value)
    figure.add_scatter(
        name="Uniform, predicted",
        mode="markers+text",
        text=[
            escape_markup(point.name) if place else ""
            for point, place in zip(data.references, places, strict=True)
        ],
        textposition=[place or NO_PLACE for place in places],
        marker={"size": 9, "color": FLOAT, "symbol": "diamond"},
        cliponaxis=False,
        **_point_fields(data.references, factor, value),
    )
    if data.measured:
        _add_measured_points(
            figure, "Measured", data.measured, (factor, BEFORE, "circle", 9), value
        )
    if chosen:
        _add_measured_points(
            figure, "Chosen, measured", chosen, (factor, SUSPECT, "star", 15), value
        )
    name = _NAMES[data.quantity].format(noun=data.noun)
    figure.update_xaxes(title=f"{name} ({unit}), lower is better")
    figure.update_yaxes(title=_value_title(data, by_loss=by_loss))
    return finish_figure(figure, _trade_off_title(data), PLOT_PX, legend_below=True)


Value = Callable[[TradePoint], float | None]


def _loss_percent(point: TradePoint) -> float | None:
    return None if point.loss is None else 100 * point.loss


def _finite_sqnr(point: TradePoint) -> float | None:
    return point.sqnr_db if math.isfinite(point.sqnr_db) else None


def _label_places(
    named: Sequence[TradePoint], points: Sequence[TradePoint], value: Value
) -> list[str | None]:
    """Return the positions of the labels of `named` points among all points; None without room."""
    heights = [height for point in points if (height := value(point)) is not None]
    costs = [point.cost for point in points]

    def spot(point: TradePoint) -> Spot:
        height = value(point)
        up = (
            0.0
            if height is None
            else (height - min(heights)) / ((max(heights) - min(heights)) or 1.0)
        )
        return (point.cost - min(costs)) / ((max(costs) - min(costs)) or 1.0), up

    others = [spot(point) for point in points if point not in named]
    return place_labels([spot(point) for point in named], others)


def _value_title(found: TradeOff, *, by_loss: bool) -> str:
    if not by_loss:
        return "Output SQNR (dB), higher is better"
    if found.labelled:
        return "Accuracy lost (points), lower is better"
    return "Answers changed (%), lower is better"


def _axis_scale(quantity: Quantity, largest: float) -> tuple[float, str]:
    match quantity:
        case Quantity.ENERGY:
            return energy_scale(largest)
        case Quantity.LATENCY:
            return time_scale(largest)
        case Quantity.BOPS:
            return 1e-9, "G"
        case _:
            return bytes_scale(largest)


def _point_fields(points: Sequence[TradePoint], factor: float, value: Value) -> dict[str, object]:
    return {
        "x": [factor * point.cost for point in points],
        "y": [value(point) for point in points],
        "customdata": [_point_hover_text(point) for point in points],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _point_hover_text(point: TradePoint) -> str:
    lines = [f"<b>{escape_markup(point.name)}</b>"]
    if point.loss is not None:
        spread = point.loss_ci95
        ends = f" (95 % {100 * spread.low:.1f} to {100 * spread.high:.1f})" if spread else ""
        lines.append(f"lost: {100 * point.loss:.2f}{ends}")
    lines.append("exact" if point.sqnr_db == math.inf else f"SQNR {point.sqnr_db:.1f} dB")
    return "<br>".join(lines)


def _add_prediction_band(figure: go.Figure, points: Sequence[TradePoint], factor: float) -> None:
    """Shade the 95 % interval of the prediction."""
    known = [(point, point.loss_ci95) for point in points if point.loss_ci95 is not None]
    if not known:
        return
    costs = [factor * point.cost for point, _ in known]
    figure.add_scatter(
        name="95 % of the prediction",
        x=[*costs, *reversed(costs)],
        y=[*(100 * i.low for _, i in known), *(100 * i.high for _, i in reversed(known))],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=with_opacity(PREDICTED, 0.22),
        hoverinfo="skip",
    )


def _add_measured_points(
    figure: go.Figure,
    name: str,
    points: Sequence[TradePoint],
    look: tuple[float, str, str, int],
    value: Value,
) -> None:
    factor, color, symbol, size = look
    bars = {}
    if value is _loss_percent:
        ends = [
            (100 * p.loss_ci95.low, 100 * p.loss_ci95.high) if p.loss_ci95 else None for p in points
        ]
        losses = [100 * (point.loss or 0.0) for point in points]
        bars = {"error_y": interval_bars(losses, ends, with_opacity(color, 0.7))}
    figure.add_scatter(
        name=name,
        mode="markers",
        marker={"size": size, "color": color, "symbol": symbol},
        **bars,
        **_point_fields(points, factor, value),
    )


def _trade_off_title(found: TradeOff) -> str:
    """Return how the chosen configuration compares with uniform 8 bits, where known."""
    if found.chosen is None:
        machine = machine_title(found.machine)
        return f"{len(found.predicted)} choices of the predicted front on {machine}"
    name = shorten_name(found.chosen.name, 30)
    eight = next((p for p in found.references if p.name.upper() == "W8A8"), None)
    if eight is None or not eight.cost:
        return f"{name} beside {len(found.predicted)} choices of the predicted front"
    share = found.chosen.cost / eight.cost
    what = str(found.quantity)
    if abs(share - 1) < 0.0005:
        return f"{name} takes the {what} of uniform 8 bits"
    word = "less" if share < 1 else "more"
    return f"{name} takes {format_share(abs(1 - share))} {word} {what} than uniform 8 bits"
