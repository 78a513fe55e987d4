"""Learned rounding as an extra behind the repairs of a point."""

from dataclasses import replace

import streamlit as st

from analysis.mixed_precision.proposal import Proposal
from quant.passes.adaround import AdaRound
from quant.passes.reconstruct.reconstruct import Reconstruct
from ui.state.tradeoffs import TradeoffWork

ROUNDING_ITERATIONS = 400  # where gains of AdaRound flatten out on the sample networks


def add_learned_passes(work: TradeoffWork, picked: Proposal) -> Proposal:
    """Show the extras; return the point with those that are on, else the point itself."""
    row = st.container(horizontal=True)
    work.rounded = row.toggle(
        "AdaRound (extra)",
        key="tradeoffs.rounded",
        value=work.rounded,
        help="Learns the rounding of weights behind the repairs: minutes, and usually better. The "
        "prediction does not know of it, so measure the point",
    )
    work.blocks = row.toggle(
        "Blocks (extra)",
        key="tradeoffs.blocks",
        value=work.blocks,
        help="Reconstruction: the weights of each block learn together, behind all else: longer "
        "than AdaRound, and better at 4 bits and fewer. The prediction does not know of it, so "
        "measure the point",
    )
    recipe = picked.recipe
    if work.rounded:
        recipe = (*recipe, AdaRound(iterations=ROUNDING_ITERATIONS))
    if work.blocks:
        recipe = (*recipe, Reconstruct())
    return picked if recipe is picked.recipe else replace(picked, recipe=recipe)
