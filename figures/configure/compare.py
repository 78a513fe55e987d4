"""Changes from a configuration to a second configuration: widths, and the moved energy."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.cost.compare_configs import ConfigDiff, LayerChange, Transition
from figures.style.layout import (
    count_word,
    escape_markup,
    fewest_for_half,
    finish_figure,
    label_rows,
    rows_height_px,
    shorten_name,
)
from figures.style.palette import (
    ACTIVATION,
    COMPONENT_NAMES,
    COMPONENTS,
    FLOAT,
    WEIGHT,
    with_opacity,
)
from figures.style.units import energy_scale, format_count, format_energy, format_share

CELL_PX = 44
MOST_LAYERS = 25
SIDES = (("weights", "Weights", WEIGHT), ("activations", "Outputs", ACTIVATION))
SMALLEST_PJ = 1e-6  # smaller differences are rounding of sums


def transition_matrix(diff: ConfigDiff) -> go.Figure:
    """Return the number of layers by bits before (rows) and after (columns), weights and outputs.

    Grey cells on the diagonal stay. The hover label shows the layers' energy before and after.
    """
    rows = sorted({t.before for t in diff.transitions}, reverse=True)
    columns = sorted({t.after for t in diff.transitions}, reverse=True)
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.06,
        column_titles=[title for _, title, _ in SIDES],
    )
    for place, (side, _, color) in enumerate(SIDES, start=1):
        moves = [t for t in diff.transitions if t.side == side]
        for chosen, hue in (
            ([t for t in moves if t.before != t.after], color),
            ([t for t in moves if t.before == t.after], FLOAT),
        ):
            xs = [columns.index(t.after) for t in chosen]
            ys = [rows.index(t.before) for t in chosen]
            _add_transition_cells(figure, chosen, xs, ys, color=hue, column=place)
    figure.update_xaxes(title="Bits after (number of layers)", **_bits_axis(columns))
    figure.update_yaxes(**_bits_axis(rows) | {"range": [len(rows) - 0.5, -0.5]})
    figure.update_yaxes(title="Bits before", col=1)
    figure.update_layout(barmode="overlay", showlegend=False)
    return finish_figure(figure, _matrix_title(diff), max(70, CELL_PX * len(rows)), subtitle_px=24)


def _bits_axis(widths: Sequence[int]) -> dict[str, object]:
    return {
        "tickmode": "array",
        "tickvals": list(range(len(widths))),
        "ticktext": [_format_width(bits) for bits in widths],
        "range": [-0.5, len(widths) - 0.5],
        "showgrid": False,
        "zeroline": False,
    }


def _add_transition_cells(
    figure: go.Figure,
    moves: Sequence[Transition],
    xs: Sequence[int],
    ys: Sequence[int],
    *,
    color: str,
    column: int,
) -> None:
    """Add a square for each transition, stronger with more layers."""
    if not moves:
        return
    most = max(len(t.layers) for t in moves)
    figure.add_bar(
        x=xs,
        y=[0.92] * len(moves),
        width=0.92,
        base=[row - 0.46 for row in ys],
        marker={
            "color": [with_opacity(color, 0.15 + 0.3 * len(t.layers) / most) for t in moves],
            "line": {"width": 0},
        },
        customdata=[[_describe_transition(t)] for t in moves],
        hovertemplate="%{customdata[0]}<extra></extra>",
        row=1,
        col=column,
    )
    figure.add_scatter(
        x=xs,
        y=ys,
        mode="text",
        text=[str(len(t.layers)) for t in moves],
        hoverinfo="skip",
        textfont={"size": 16, "weight": "bold"},
        row=1,
        col=column,
    )


def _describe_transition(move: Transition) -> str:
    named = ", ".join(escape_markup(shorten_name(name)) for name in move.layers[:6])
    more = f" and {len(move.layers) - 6} more" if len(move.layers) > 6 else ""
    what = "weights" if move.side == "weights" else "values"
    return (
        f"<b>{_format_width(move.before)} to {_format_width(move.after)}</b>: {named}{more}<br>"
        f"{format_count(move.values)} {what}<br>Energy of these layers: "
        f"{format_energy(move.energy_before_pj)} to {format_energy(move.energy_after_pj)}"
    )


def _format_width(bits: int) -> str:
    return "float" if bits >= 32 else str(bits)


def _matrix_title(diff: ConfigDiff) -> str:
    parts = []
    for side, title, _ in SIDES:
        moves = [t for t in diff.transitions if t.side == side]
        moved = sum(len(t.layers) for t in moves if t.before != t.after)
        if moved:
            parts.append(f"{moved} of {sum(len(t.layers) for t in moves)} {title.lower()}")
    if not parts:
        return "No layer changes its width"
    return f"{' and '.join(parts)} change width"


def moved_energy(diff: ConfigDiff) -> go.Figure:
    """Return the change of a layer's energy by component, the largest change on top.

    At most 25 layers; with few changed layers, the chart holds nearly the whole change.
    """
    rows = sorted(diff.layers, key=lambda row: -abs(row.moved_pj))
    rows = [row for row in rows if abs(row.moved_pj) > SMALLEST_PJ][:MOST_LAYERS]
    factor, unit = energy_scale(max((abs(row.moved_pj) for row in rows), default=0.0))
    figure = go.Figure()
    for part, color in COMPONENTS.items():
        moved = [
            row.energy_after.parts_by_name()[part] - row.energy_before.parts_by_name()[part]
            for row in rows
        ]
        if not any(abs(value) > SMALLEST_PJ for value in moved):
            continue
        figure.add_bar(
            name=COMPONENT_NAMES[part],
            orientation="h",
            x=[factor * value for value in moved],
            y=list(range(len(rows))),
            marker={"color": color, "line": {"width": 0}},
            customdata=[
                [_describe_layer_energy(row), format_energy(value)]
                for row, value in zip(rows, moved, strict=True)
            ],
            hovertemplate=(
                f"%{{customdata[0]}}<br>{COMPONENT_NAMES[part]}: %{{customdata[1]}}<extra></extra>"
            ),
        )
    figure.update_layout(barmode="relative", bargap=0.25)
    figure.update_xaxes(title=f"Energy moved per {diff.before.noun} ({unit}), lower is better")
    label_rows(figure, [row.layer for row in rows])
    title = _moved_title(diff, rows)
    return finish_figure(figure, title, rows_height_px(len(rows), 20), legend_below=True)


def _describe_layer_energy(row: LayerChange) -> str:
    stays = "" if row.own else "<br>its own choice stays"
    return (
        f"<b>{escape_markup(row.layer)}</b><br>{format_energy(row.energy_before.total_pj)} to "
        f"{format_energy(row.energy_after.total_pj)}{stays}"
    )


def _moved_title(diff: ConfigDiff, rows: Sequence[LayerChange]) -> str:
    if not rows or not diff.moved_pj:
        return "No energy moves"
    sign = -1 if diff.moved_pj < 0 else 1
    half = fewest_for_half({row.layer: max(0.0, sign * row.moved_pj) for row in rows})
    verb = "saved" if sign < 0 else "added"
    share = format_share(abs(diff.moved_pj) / (diff.before.energy_pj or 1.0))
    makes = "layer makes" if len(half) == 1 else "layers make"
    amount = format_energy(abs(diff.moved_pj))
    most = f"{count_word(len(half)).lower()} {makes} half of it"
    return f"{amount} ({share}) {verb} per {diff.before.noun}; {most}"
