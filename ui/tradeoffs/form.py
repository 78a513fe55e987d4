"""The question of the page Trade-offs: the bound, the machines, and the rules."""

import streamlit as st

from accelerator.machine import load_preset, preset_names
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.choices import Together
from analysis.mixed_precision.recipe_noise import RecipeChoice
from analysis.mixed_precision.useful_bits import (
    explain_machine_gains,
    find_useful_bits,
    machines_that_gain,
)
from analysis.network import Network
from analysis.runs.json_values import result_from_plain
from quant.simulation.plan import Side
from quant.spec import FLOAT_BITS, Granularity
from ui.state.tradeoffs import (
    MOST_MACHINES,
    MOST_MEASURED,
    STARTS,
    UNITS,
    Against,
    FrontRequest,
    PointRequest,
)
from ui.state.workspace import Workspace, find_machine
from ui.tradeoffs.jobs import front_request_key
from ui.widgets.machine_picker import choose_machine, machine_names, machine_picker
from ui.widgets.markdown import plain
from ui.widgets.tables import BIT_CHOICES

BITS = tuple(sorted((bits for bits in BIT_CHOICES if bits != FLOAT_BITS), reverse=True))
SHORT = {
    Quantity.ENERGY: "Energy",
    Quantity.LATENCY: "Latency",
    Quantity.SIZE: "Size",
    Quantity.MEMORY: "Memory",
    Quantity.BOPS: "BOPs",
}
QUANTITIES = tuple(SHORT)
EDGES = {0: "Free", 8: "8 bits", 16: "16 bits"}
BESIDE_PX = 420  # of two machines as chips
GRAINS: dict[str, tuple[Granularity, ...]] = {
    "The granularity they have": (),
    "Per-tensor or per-channel": (Granularity.PER_TENSOR, Granularity.PER_CHANNEL),
    "Per-tensor": (Granularity.PER_TENSOR,),
    "Per-channel": (Granularity.PER_CHANNEL,),
}
TOGETHER = {
    Together.LAYER: "Each layer",
    Together.KIND: "Each kind of layer",
    Together.NETWORK: "The whole network",
}


def last_front_request(workspace: Workspace) -> FrontRequest:
    """Return the last question about the present model, or the default question."""
    if workspace.tradeoffs.wish is None:
        raw = workspace.store.find_answer(front_request_key(workspace))
        try:
            workspace.tradeoffs.wish = (
                result_from_plain(FrontRequest, raw) if raw else FrontRequest()
            )
        except (ValueError, TypeError):
            workspace.tradeoffs.wish = FrontRequest()  # written by another version
    return workspace.tradeoffs.wish


def front_request_form(workspace: Workspace, network: Network) -> tuple[FrontRequest, PointRequest]:
    """Show the controls in a row; return the question and the bound, kept in the workspace."""
    last, target = last_front_request(workspace), workspace.tradeoffs.target
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        quantity: Quantity = st.selectbox(
            "Cost",
            QUANTITIES,
            index=QUANTITIES.index(last.quantity),
            width=125,
            key="tradeoffs.quantity",
            format_func=lambda name: SHORT[name],
        )
        machine_picker(workspace, "tradeoffs")
        others = st.multiselect(
            "Beside it",
            names := machine_names(workspace),
            default=[name for name in last.others if name in names],
            max_selections=MOST_MACHINES - 1,
            key="tradeoffs.others",
            placeholder="None",
            width=BESIDE_PX if last.others else 130,
            format_func=lambda name: find_machine(workspace, name).title,
            help="The same front on other machines: which one profits from which bits",
        )
        aimed = _target_fields(target, quantity)
        with st.popover("Rules", icon=":material/rule:"):
            rules = _rule_fields(workspace, network, last)
    wish = FrontRequest(quantity, tuple(others), *rules)
    _gains_note(workspace, wish)
    workspace.tradeoffs.wish, workspace.tradeoffs.target = wish, aimed
    return wish, aimed


def _target_fields(last: PointRequest, quantity: Quantity) -> PointRequest:
    """Show the fields of the bound; return the requested point."""
    unit = UNITS[quantity][0]
    against: str = st.selectbox(
        "Bound in",
        Against.ALL,
        index=Against.ALL.index(last.against),
        width=170,
        key="tradeoffs.against",
        format_func=lambda name: unit if name == Against.UNIT else name,
        help="Points below float: the least cost that is predicted to stay that near to the float "
        "network. A bound on the cost: the least noise within it.",
    )
    start = last.most if against == last.against else STARTS[against]
    most = st.number_input(
        "At most",
        0.0,
        None,
        start,
        0.5 if against == Against.POINTS else 5.0,
        key=f"tradeoffs.most.{against}",
        width=85,
        format="%g",
    )
    return PointRequest(against, most)


def _rule_fields(
    workspace: Workspace, network: Network, last: FrontRequest
) -> tuple[
    tuple[int, ...],
    int,
    Together,
    tuple[str, ...],
    tuple[Granularity, ...],
    tuple[RecipeChoice, ...],
    int,
]:
    """Show the fields of the rules; return widths, edge bits, groups, pins, grains and repairs."""
    recipes, measured = _recipe_fields(last)
    offered = _widths_field(workspace, last)
    edge: int = st.selectbox(
        "First and last layer",
        list(EDGES),
        index=list(EDGES).index(last.edge_bits),
        format_func=lambda bits: EDGES[bits],
        key="tradeoffs.edge",
    )
    together: Together = st.selectbox(
        "Bits are chosen for",
        list(TOGETHER),
        index=list(TOGETHER).index(last.together),
        format_func=lambda name: TOGETHER[name],
        key="tradeoffs.together",
    )
    names = [layer.name for layer in network.graph.layers]
    pinned = st.multiselect(
        "Layers that keep the bits they have now",
        names,
        default=[name for name in last.pinned if name in names],
        key=f"tradeoffs.pinned.{network.digest[:8]}",
        placeholder="None",
    )
    grains: str = st.selectbox(
        "Weights have",
        list(GRAINS),
        key="tradeoffs.grains",
        index=list(GRAINS.values()).index(last.granularities)
        if last.granularities in GRAINS.values()
        else 0,
        help="Where both are allowed, each weight has the one that serves it best; noise is "
        "measured at each. Only the size of compressed weights depends on it",
    )
    wide = tuple(sorted(offered, reverse=True))
    return wide, edge, together, tuple(pinned), GRAINS[grains], recipes, measured


def _recipe_fields(last: FrontRequest) -> tuple[tuple[RecipeChoice, ...], int]:
    """Show the repairs that take part, and the number of points to measure; return both."""
    recipes = st.multiselect(
        "Repairs that take part",
        list(RecipeChoice),
        default=list(last.recipes),
        key="tradeoffs.recipes",
        placeholder="No repair",
        help="The search takes the best of these for each point. AdaRound and block reconstruction "
        "are extras: their effect is measured, not predicted",
    )
    measured: int = st.number_input(
        "Points to measure with the front",
        0,
        MOST_MEASURED,
        last.measured,
        1,
        key="tradeoffs.measured",
        help="Measured points tell top-1 and correct all predictions; 0 measures none",
    )
    return tuple(recipes) or (RecipeChoice.NONE,), measured


def _widths_field(workspace: Workspace, last: FrontRequest) -> tuple[int, ...]:
    """Show the widths on offer, and the widths that the machine profits from; return the offer."""
    bits = st.multiselect(
        "Widths on offer",
        BITS,
        default=list(last.bits),
        key="tradeoffs.bits",
        help="Of these, only widths that a machine makes something of are tried there",
    )
    offered = tuple(bits or last.bits)
    weights = find_useful_bits(workspace.machine, Side.WEIGHTS, offered)
    activations = find_useful_bits(workspace.machine, Side.ACTIVATIONS, offered)
    st.caption(
        f"{plain(workspace.machine.title)} makes use of {_bits_text(weights)} for weights, "
        f"{_bits_text(activations)} for activations."
    )
    return offered


def _gains_note(workspace: Workspace, wish: FrontRequest) -> None:
    """Say before the search that fewer bits gain nothing, and offer a machine that gains."""
    machines = [workspace.machine, *(find_machine(workspace, name) for name in wish.others)]
    if wish.quantity is Quantity.BOPS or machines_that_gain(machines, wish.bits):
        return
    others = machines_that_gain([load_preset(name) for name in preset_names()], wish.bits)
    gains = explain_machine_gains(workspace.machine)
    st.info(
        f"There is nothing to trade here. {plain(gains)} Repairs may still bring accuracy back.",
        icon=":material/lightbulb:",
    )
    if others and st.button(
        f"Search on {plain(others[0].title)} instead",
        key="tradeoffs.gainful",
        icon=":material/memory:",
    ):
        choose_machine(workspace, others[0].name)
        st.rerun()


def _bits_text(bits: tuple[int, ...]) -> str:
    return ", ".join(map(str, bits)) + " bits"
