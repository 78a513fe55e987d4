"""A layer explained: the saving and the loss of each width, as a plot and in words."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.mixed_precision.layer_options import (
    REFERENCE_BITS,
    Change,
    Explanation,
    Option,
    change_from_reference,
)
from analysis.sensitivity.sweep import CellScore
from figures.style.error_bars import interval_bars
from figures.style.layout import HALF_WIDTH, escape_markup, finish_figure, shorten_name
from figures.style.palette import ACTIVATION, BOUND_NAMES, WEIGHT, with_opacity
from figures.style.units import (
    energy_scale,
    format_bytes,
    format_count,
    format_energy,
    format_share,
)

PANEL_PX = 190
WIDEST = 16  # float costs so much that the plot would hide all other widths
SIDES = (("weights", "Weights", WEIGHT, "circle"), ("activations", "Output", ACTIVATION, "square"))
SMALLEST = 0.0005  # share of the network's energy that rounds to 0.0 %


def widths_explained(found: Explanation) -> go.Figure:
    """Return the network's energy at every width of the layer, over the loss of quality.

    Energies are differences to the present width. The lower panel needs a sensitivity of the layer.
    """
    options = [option for option in found.options if option.bits <= WIDEST]
    scored = [option for option in options if _score_loss(option.score) is not None]
    rows = 2 if scored else 1
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    largest = max((abs(option.change.energy_pj) for option in options), default=0.0)
    factor, unit = energy_scale(largest)
    for side, title, color, symbol in SIDES:
        own = [option for option in options if option.side == side]
        look = {"color": color, "symbol": symbol}
        _add_energy_bars(figure, title, own, factor, look)
        if scored:
            _add_loss_points(figure, title, [o for o in scored if o.side == side], look)
    ticks = sorted({option.bits for option in options})
    figure.update_xaxes(
        type="log", tickmode="array", tickvals=ticks, ticktext=list(map(str, ticks))
    )
    figure.update_xaxes(title="Bits of this layer (filled: as it is now)", row=rows)
    energy = f"Energy per {found.network.noun}<br>({unit}, lower is better)"
    figure.update_yaxes(title=energy, row=1)
    if scored:
        figure.update_yaxes(title=_loss_title(scored), row=2, rangemode="tozero")
    title = _options_title(found)
    return finish_figure(
        figure, title, PANEL_PX * rows, legend_below=True, title_width=HALF_WIDTH + 18
    )


def _add_energy_bars(
    figure: go.Figure, title: str, options: Sequence[Option], factor: float, look: dict[str, str]
) -> None:
    if not options:
        return
    figure.add_scatter(
        name=title,
        mode="lines+markers",
        legendgroup=title,
        x=[option.bits for option in options],
        y=[factor * option.change.energy_pj for option in options],
        line={"color": with_opacity(look["color"], 0.5), "width": 2},
        marker=_option_marker(options, look),
        customdata=[[_describe_option(option)] for option in options],
        hovertemplate="%{customdata[0]}<extra></extra>",
        row=1,
        col=1,
    )


def _add_loss_points(
    figure: go.Figure, title: str, options: Sequence[Option], look: dict[str, str]
) -> None:
    if not options:
        return
    losses = [100 * (_score_loss(option.score) or 0.0) for option in options]
    ends = [_loss_interval(option.score) for option in options]
    figure.add_scatter(
        name=title,
        mode="markers",
        legendgroup=title,
        showlegend=False,
        x=[option.bits for option in options],
        y=losses,
        marker=_option_marker(options, look),
        error_y=interval_bars(
            losses,
            [(100 * low, 100 * high) for low, high in ends],
            with_opacity(look["color"], 0.6),
        ),
        customdata=[[_describe_option(option)] for option in options],
        hovertemplate="%{customdata[0]}<extra></extra>",
        row=2,
        col=1,
    )


def _option_marker(options: Sequence[Option], look: dict[str, str]) -> dict[str, object]:
    symbols = [look["symbol"] + ("" if option.present else "-open") for option in options]
    sizes = [13 if option.present else 9 for option in options]
    return {"color": look["color"], "symbol": symbols, "size": sizes, "line": {"width": 2}}


def _score_loss(score: CellScore | None) -> float | None:
    """Return the loss: of accuracy, or without labels of unchanged answers."""
    if score is None:
        return None
    if score.accuracy_drop is not None:
        return score.accuracy_drop
    return None if score.agreement is None else 1 - score.agreement


def _loss_interval(score: CellScore | None) -> tuple[float, float]:
    loss = _score_loss(score) or 0.0
    if score is None:
        return loss, loss
    if score.accuracy_drop is not None:
        spread = score.accuracy_drop_ci95
        return (spread.low, spread.high) if spread else (loss, loss)
    agreed = score.agreement_ci95
    return (1 - agreed.high, 1 - agreed.low) if agreed else (loss, loss)


def _loss_title(options: Sequence[Option]) -> str:
    labelled = any(o.score is not None and o.score.accuracy_drop is not None for o in options)
    what = "Accuracy lost" if labelled else "Answers changed"
    return f"{what} alone<br>({'points' if labelled else '%'}, lower is better)"


def _describe_option(option: Option) -> str:
    side = "Weights" if option.side == "weights" else "Output"
    lines = [f"<b>{side} at {_format_bits(option.bits)}</b>{' (now)' if option.present else ''}"]
    lines += [f"{name}: {value}" for name, value in change_rows(option.change)]
    if option.score is not None:
        lines.append(escape_markup(loss_text(option.score)))
    return "<br>".join(lines)


def change_rows(change: Change) -> list[tuple[str, str]]:
    """Return the effects of a change by name, with units; zero effects are left out."""
    figures = (
        ("Energy", change.energy_pj, format_energy),
        ("DRAM traffic", change.dram_bits / 8, format_bytes),
        ("On-chip traffic", change.sram_bits / 8, format_bytes),
        ("Weight size", change.weight_bytes, format_bytes),
        ("Peak memory", change.peak_bytes, format_bytes),
    )
    return [
        (name, f"{'+' if value > 0 else '-'}{write(abs(value))}")
        for name, value, write in figures
        if value
    ]


def loss_text(score: CellScore) -> str:
    """Return the loss of a layer alone in words, as measured or predicted."""
    loss = _score_loss(score)
    if loss is None:
        return f"output SQNR {score.sqnr_db:.1f} dB alone ({score.depth})"
    low, high = _loss_interval(score)
    what = "points of accuracy" if score.accuracy_drop is not None else "% other answers"
    return (
        f"{100 * loss:.2f} {what} alone (95 % interval {100 * low:.2f} to {100 * high:.2f}, "
        f"n = {score.images})"
    )


def _format_bits(bits: int) -> str:
    return "float" if bits >= 32 else f"{bits} bits"


def _options_title(found: Explanation) -> str:
    name = shorten_name(found.layer, 40)
    best: tuple[float, str] | None = None
    for option in found.options:
        saved = -option.change.energy_pj
        if option.bits < found.bits[option.side] and (best is None or saved > best[0]):
            side = "weights" if option.side == "weights" else "output"
            best = saved, f"{side} at {_format_bits(option.bits)}"
    total = found.network.energy_pj
    if best is None or best[0] < SMALLEST * total:
        return f"Fewer bits for {name} save no energy on this machine"
    return f"{name}: {best[1]} would save {format_share(best[0] / total)} of the network's energy"


def explain_in_words(found: Explanation) -> tuple[str, ...]:
    """Return sentences: the layer's cost, the saving of its bits, the machine's handling."""
    return tuple(_explain_layer(found))


def _explain_layer(found: Explanation) -> Iterator[str]:
    if found.cost is not None:
        share = format_share(found.cost.energy_pj / (found.network.energy_pj or 1.0))
        slow = format_share(found.cost.latency_s / (found.network.latency_s or 1.0))
        bound = BOUND_NAMES.get(found.cost.bound, found.cost.bound)
        yield (
            f"The layer takes {share} of the network's energy "
            f"({format_energy(found.cost.energy_pj)}) and {slow} of the latency, for "
            f"{format_count(found.cost.macs)} MACs and "
            f"{format_bytes(found.cost.dram_bits / 8)} to or from DRAM; the bound is {bound}."
        )
    if found.encoding_owner is not None:
        yield f"The output shares the encoding of {found.encoding_owner}; choose the bits there."
    for side, bits in found.bits.items():
        yield _side_sentence(found, side, bits)
    if found.cost is not None and found.cost.macs:
        yield from _machine_sentence(found)


def _side_sentence(found: Explanation, side: str, bits: int) -> str:
    subject = "The weights" if side == "weights" else "The output"
    option = next(o for o in found.options if o.side == side and o.bits == bits)
    if bits == REFERENCE_BITS:
        fewer = next((o for o in found.options if o.side == side and o.bits == 4), None)
        sentence = f"{subject} at {_format_bits(bits)}"
        if fewer is not None:
            sentence += f"; 4 bits would change: {_list_changes(fewer.change, found)}"
            sentence += f" and cost {loss_text(fewer.score)}" if fewer.score else ""
    else:
        saved = change_from_reference(found, option.side)
        changes = _list_changes(saved, found)
        sentence = f"{subject} at {_format_bits(bits)} instead of {REFERENCE_BITS}: {changes}"
    own = option.score
    if own is not None:
        sentence += f"; as chosen: {loss_text(own)}"
    elif bits < 32:
        sentence += "; the loss of accuracy is unknown: run Sensitivity"
    return f"{sentence}."


def _list_changes(change: Change | None, found: Explanation) -> str:
    """Return a change as a list, the energy also as a share of the network's energy."""
    if change is None:
        return "unknown"
    rows = change_rows(change)
    if not rows:
        return "nothing moves"
    share = format_share(abs(change.energy_pj) / (found.network.energy_pj or 1.0))
    return ", ".join(
        f"{name.lower() if name != 'DRAM traffic' else name} {value}"
        + (f" ({share} of the network)" if name == "Energy" else "")
        for name, value in rows
    )


def _machine_sentence(found: Explanation) -> Iterator[str]:
    layer = found.cost
    if layer is None:
        return
    requested = layer.requested_weight_bits, layer.requested_activation_bits
    done = layer.compute_weight_bits, layer.compute_activation_bits
    if layer.on_host:
        yield "The machine cannot compute the layer as configured; the cost is a guess for a host."
    elif requested != done:
        yield (
            f"Configured: W{requested[0]}A{requested[1]}; the machine computes W{done[0]}A{done[1]}"
            f"{f' in {layer.passes} passes' if layer.passes > 1 else ''}."
        )
    yield found.gains
