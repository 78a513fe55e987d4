"""The network as a graph of blocks and layers, coloured by what is known of the layers."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from analysis.network import Network
from analysis.network_blocks import MOST_NODES, FoldedNetwork, fold_network, unfolded_network
from analysis.network_layout import LayerPlace
from analysis.prediction.expected_loss import expected_present_loss
from analysis.sensitivity.present_bits import PresentLoss
from figures import Figure
from figures.network.colors import (
    colored_by_bits,
    colored_by_loss,
    colored_by_share,
    colored_by_sqnr,
)
from ui.answers.sensitivity import deepest_answers, last_request
from ui.navigation import RUNS, SENSITIVITY
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure
from ui.widgets.network_view import cached_layer_places
from ui.widgets.selection import clicked_name

MACS, PARAMETERS, ENERGY, BYTES = "MACs", "Parameters", "Energy", "Bytes moved"
WEIGHT_BITS, ACTIVATION_BITS = "Weight bits", "Activation bits"
SQNR, LOSS = "SQNR", "Sensitivity"
COLORS = (MACS, PARAMETERS, ENERGY, BYTES, WEIGHT_BITS, ACTIVATION_BITS, SQNR, LOSS)
BLOCKS, LAYERS = "Blocks", "All layers"


def show_network_graph(workspace: Workspace, network: Network) -> None:
    """Draw the network, coloured as chosen; a click picks a layer or unfolds a block."""
    places = cached_layer_places(network.digest, network)
    color = st.segmented_control(
        "Colour by",
        COLORS,
        default=MACS,
        key="model.color",
        persist_state="session",
        required=True,
        help="Bits are those of the configuration; energy and the bytes that the main memory "
        "reads and writes are those of the machine",
    )
    folded = _folded_network(network, places)
    figure = _network_figure(workspace, network, color or MACS, folded)
    if figure is None:
        _say_unknown(color or MACS)
        return
    show_figure(
        figure,
        "model.graph",
        on_select=lambda: _take_click(workspace, network, folded),
        toolbar=False,
    )
    click = "Click a block to unfold it, a layer" if folded.members else "Click a layer"
    st.caption(
        f"{click} to pick it; drag over a part to zoom, double-click to see all. "
        "Hollow: the layer has no such value."
    )


def _unfolded_key(network: Network) -> str:
    return f"model.unfolded.{network.digest[:8]}"


def _folded_network(network: Network, places: Sequence[LayerPlace]) -> FoldedNetwork:
    """Show what is folded; return the blocks and layers to draw."""
    closed = fold_network(places)
    if not closed.members:
        return closed
    detail = st.segmented_control(
        "Show",
        (BLOCKS, LAYERS),
        default=BLOCKS if len(places) > MOST_NODES else LAYERS,
        key=f"model.detail.{network.digest[:8]}",
        persist_state="session",
        required=True,
        help="A block is a module of the network; its name is the start of the names of its layers",
    )
    if detail == LAYERS:
        return unfolded_network(places)
    key = _unfolded_key(network)
    opened = st.session_state.get(key, [])
    inner = [name for name in fold_network(places, opened).members if name not in closed.members]
    unfolded = st.multiselect(
        "Unfolded blocks",
        list(dict.fromkeys([*closed.members, *opened, *inner])),
        key=key,
        persist_state="session",
        placeholder="None: click a block in the graph, or choose one here",
    )
    return fold_network(places, unfolded)


def _take_click(workspace: Workspace, network: Network, folded: FoldedNetwork) -> None:
    """Unfold the clicked block, or pick the clicked layer."""
    points = st.session_state["model.graph"].selection.points
    if not points or not points[0].get("customdata"):
        return
    name = clicked_name(points[0]["customdata"])
    if name in folded.members:
        key = _unfolded_key(network)
        st.session_state[key] = [*st.session_state.get(key, []), name]
    else:
        workspace.picked.pick_layer(name)


def _say_unknown(color: str) -> None:
    """Say how the values of a colour become known."""
    if color == SQNR:
        st.info(
            "SQNR by layer is measured by a run; this model has none yet.",
            icon=":material/play_circle:",
        )
        st.page_link(RUNS, label="Run it", icon=":material/play_circle:")
        return
    st.info(
        "What each layer loses at the present bits is not known yet; Sensitivity screens it.",
        icon=":material/troubleshoot:",
    )
    st.page_link(SENSITIVITY, label="Screen the layers", icon=":material/troubleshoot:")


def _network_figure(
    workspace: Workspace, network: Network, color: str, folded: FoldedNetwork
) -> Figure | None:
    places, layers = cached_layer_places(network.digest, network), network.graph.layers
    picked = workspace.picked.layer
    share = partial(colored_by_share, places, picked=picked, folded=folded)
    if color in (WEIGHT_BITS, ACTIVATION_BITS):
        chosen = workspace.config.resolve_layers(layers)
        if color == WEIGHT_BITS:
            bits = {layer.name: chosen[layer.name].weight.bits for layer in layers if layer.weight}
            return colored_by_bits(places, bits, "weights", picked, folded)
        bits = {layer.name: chosen[layer.name].activation.bits for layer in layers}
        return colored_by_bits(places, bits, "activations", picked, folded)
    if color in (ENERGY, BYTES):
        costs = workspace.config_cost(workspace.config).layers
        if color == ENERGY:
            energies = {cost.layer: cost.energy_pj for cost in costs}
            return share(amounts=energies, what="energy", verb="take")
        moved = {cost.layer: cost.dram_bits / 8 for cost in costs}
        return share(amounts=moved, what="bytes", verb="move")
    if color == SQNR:
        found = (run for run in workspace.store.all_runs() if run.model_digest == network.digest)
        run = next(found, None)
        if run is None:
            return None
        return colored_by_sqnr(places, run.layer_sqnr_db, f"run “{run.name}”", picked, folded)
    if color == LOSS:
        loss = _present_loss(workspace, network)
        name = workspace.experiment.display_name
        return None if loss is None else colored_by_loss(places, loss, name, picked, folded)
    if color == PARAMETERS:
        sizes = {layer.name: layer.parameters for layer in layers}
        return share(amounts=sizes, what="parameters", verb="hold")
    return share(amounts={layer.name: layer.macs for layer in layers}, what="MACs", verb="do")


def _present_loss(workspace: Workspace, network: Network) -> PresentLoss | None:
    """Return what each layer alone loses at the present bits; None where that is not known."""
    found = deepest_answers(workspace, last_request(workspace))
    if found is None:
        return None
    resolved = workspace.config.resolve_layers(network.graph.layers)
    chosen = {name: resolved[name] for name in resolved}
    loss = expected_present_loss(found, chosen, network.chance)
    return loss if loss is not None and loss.layers else None
