"""The pairs of layers that equalization rescaled, and the layers that cannot be equalized."""

import streamlit as st

from analysis.network import Network
from analysis.runs.repair import RepairStep
from figures.network.colors import equalized_pairs
from figures.repair.before_after import channel_spread
from quant.passes.equalize import Equalized
from ui.widgets.figure import show_figure
from ui.widgets.network_view import cached_layer_places

_ENDS = "end a pair, which rescales what they read"


def show_equalized_pairs(network: Network, step: RepairStep, found: Equalized) -> None:
    """Show the pairs in the network and as a table, beside the layers whose outputs cannot be."""
    with st.expander(pairs_heading(found), icon=":material/link:", expanded=True):
        figure = equalized_pairs(
            cached_layer_places(network.digest, network),
            {name: channel_spread(ranges.tolist()) for name, ranges in step.channel_ranges.items()},
            [(pair.first, pair.second) for pair in found.pairs],
        )
        show_figure(figure, "repair.pairs")
        st.caption(pairs_account(found))
        pairs, unpaired = st.columns(2)
        pairs.dataframe(
            [
                {"first": p.first, "second": p.second, "caps": ", ".join(p.clips)}
                for p in found.pairs
            ],
            hide_index=True,
            width="stretch",
        )
        second = {pair.second for pair in found.pairs}
        unpaired.dataframe(
            [
                {
                    "layer": one.layer,
                    "ends a pair": "yes" if one.layer in second else "no",
                    "why its outputs cannot be equalized": one.reason,
                }
                for one in found.unpaired
            ],
            hide_index=True,
            width="stretch",
        )


def pairs_heading(found: Equalized) -> str:
    """Return the heading: the pairs, and the layers in no pair."""
    lone, layers = len(_lone_layers(found)), len(found.pairs) + len(found.unpaired)
    rest = f"{lone} of {_count_of(layers, 'layer')} cannot be equalized"
    rounds = _count_of(found.rounds, "round")
    return f"{_count_of(len(found.pairs), 'pair')} equalized in {rounds}, {rest}"


def pairs_account(found: Equalized) -> str:
    """Return how pairs, layers that begin one and layers that begin none add up."""
    begin, rest = len(found.pairs), len(found.unpaired)
    lone = len(_lone_layers(found))
    ends = rest - lone
    return (
        f"A pair rescales the outputs of its first layer. Of {_count_of(begin + rest, 'layer')}, "
        f"{begin} {'begins' if begin == 1 else 'begin'} a pair and {rest} "
        f"{'does' if rest == 1 else 'do'} not: of these, {ends} still "
        f"{'ends a pair, which rescales what it reads' if ends == 1 else _ENDS}, and {lone} "
        "cannot be equalized."
    )


def _lone_layers(found: Equalized) -> list[str]:
    """Return the names of the layers in no pair."""
    second = {pair.second for pair in found.pairs}
    return [one.layer for one in found.unpaired if one.layer not in second]


def _count_of(count: int, noun: str) -> str:
    """Return a count with a noun in the singular or plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
