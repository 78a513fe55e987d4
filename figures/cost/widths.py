"""Requested widths beside the widths that the machine computes and stores."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from accelerator.report import CostReport, LayerCost
from accelerator.workload import GEMM_KINDS, WEIGHT_KINDS
from figures.style.layout import escape_markup, finish_figure, label_rows, mark_px, rows_height_px
from figures.style.palette import ACTIVATION, WEIGHT, with_opacity
from figures.style.units import format_bits

FADED = 0.35


@dataclass(frozen=True, slots=True)
class _Widths:
    """The widths in bits of a layer's side; `computed` is None without a multiplication."""

    row: int
    layer: LayerCost
    requested: int
    computed: int | None
    stored: float

    @property
    def all(self) -> tuple[float, ...]:
        """Every known width."""
        computed = () if self.computed is None else (self.computed,)
        return self.requested, *computed, self.stored

    @property
    def differs(self) -> bool:
        """Whether the machine changes the requested width."""
        return len(set(self.all)) > 1


def requested_and_effective(report: CostReport) -> go.Figure:
    """Return requested, computed and stored widths of each layer, weights beside activations.

    Layers with unchanged widths are faded. Operations without weights have no point on the weight
    side.
    """
    names = [layer.layer for layer in report.layers]
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        column_titles=["Weights", "Activations"],
    )
    sides = (_weight_widths(report.layers), _activation_widths(report.layers))
    for column, (side, color) in enumerate(zip(sides, (WEIGHT, ACTIVATION), strict=True), start=1):
        _add_side_points(figure, side, color, column, len(names))
    figure.update_xaxes(
        type="log",
        title="Width (bits)",
        tickmode="array",
        tickvals=[1, 2, 4, 8, 16, 32],
        ticktext=["1", "2", "4", "8", "16", "float"],
        range=[-0.05, 1.62],
    )
    label_rows(figure, names)
    differing = {entry.layer.layer for side in sides for entry in side if entry.differs}
    title = _widths_title(len(differing), len(names))
    return finish_figure(figure, title, rows_height_px(len(names)), subtitle_px=24)


def _weight_widths(layers: Sequence[LayerCost]) -> list[_Widths]:
    return [
        _Widths(
            row,
            layer,
            layer.requested_weight_bits,
            layer.compute_weight_bits,
            layer.stored_weight_bits,
        )
        for row, layer in enumerate(layers)
        if layer.kind in WEIGHT_KINDS
    ]


def _activation_widths(layers: Sequence[LayerCost]) -> list[_Widths]:
    return [
        _Widths(
            row,
            layer,
            layer.requested_activation_bits,
            layer.compute_activation_bits if layer.kind in GEMM_KINDS else None,
            layer.stored_activation_bits,
        )
        for row, layer in enumerate(layers)
    ]


def _add_side_points(
    figure: go.Figure, side: Sequence[_Widths], color: str, column: int, rows: int
) -> None:
    _add_connections(figure, side, color, column)
    computed = [entry for entry in side if entry.computed is not None]
    for name, entries, values, symbol, size in (
        ("Stored", side, [e.stored for e in side], "square-open", 12),
        ("Computed", computed, [e.computed for e in computed], "line-ns-open", 13),
        ("Requested", side, [e.requested for e in side], "circle", 7),
    ):
        figure.add_scatter(
            name=name,
            legendgroup=name,
            showlegend=column == 1,
            x=values,
            y=[entry.row for entry in entries],
            mode="markers",
            marker={
                "color": color,
                "symbol": symbol,
                "size": mark_px(rows, size),
                "line": {"width": 2, "color": color},
                "opacity": [1.0 if entry.differs else FADED for entry in entries],
            },
            customdata=[[_width_hover_text(entry)] for entry in entries],
            hovertemplate="%{customdata[0]}<extra></extra>",
            row=1,
            col=column,
        )


def _add_connections(figure: go.Figure, side: Sequence[_Widths], color: str, column: int) -> None:
    x: list[float | None] = []
    y: list[float | None] = []
    for entry in side:
        if entry.differs:
            x += [min(entry.all), max(entry.all), None]
            y += [entry.row, entry.row, None]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": with_opacity(color), "width": 4},
        showlegend=False,
        hoverinfo="skip",
        row=1,
        col=column,
    )


def _width_hover_text(entry: _Widths) -> str:
    layer = entry.layer
    passes = f" in {layer.passes} passes" if layer.passes > 1 else ""
    lines = [f"<b>{escape_markup(layer.layer)}</b>", f"Requested: {format_bits(entry.requested)}"]
    if entry.computed is not None:
        lines.append(f"Computed: {format_bits(entry.computed)}{passes}")
    lines.append(f"Stored: {format_bits(entry.stored)}")
    return "<br>".join((*lines, *(escape_markup(warning) for warning in layer.warnings)))


def _widths_title(differing: int, layers: int) -> str:
    if not differing:
        return f"Widths are computed and stored as requested in all operations ({layers})"
    return f"Requested and effective widths differ in {differing} of {layers} operations"
