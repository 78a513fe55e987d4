"""The layers of the model as a graph and as a table, with a shared selection."""

import streamlit as st

from analysis.network import Network
from analysis.network_layout import LayerPlace, layer_places
from figures import Figure, takeaway
from figures.network.colors import colored_by_bits, colored_by_share, colored_by_sqnr
from ui.navigation import RANGES
from ui.state.workspace import Workspace
from ui.widgets.csv_text import csv_text
from ui.widgets.selection import clicked_name
from ui.widgets.tables import layer_table, shape_text

MACS, PARAMETERS, ENERGY = "MACs", "Parameters", "Energy"
WEIGHT_BITS, ACTIVATION_BITS, SQNR = "Weight bits", "Activation bits", "SQNR"
COLORS = (MACS, PARAMETERS, ENERGY, WEIGHT_BITS, ACTIVATION_BITS, SQNR)


@st.cache_data(max_entries=8, show_spinner=False)
def cached_layer_places(digest: str, _network: Network) -> tuple[LayerPlace, ...]:
    """Return the places of a network's layers in the drawing."""
    del digest  # it is the key of the cache
    return layer_places(_network.graph)


def show_network_graph(workspace: Workspace, network: Network) -> None:
    """Draw the network, coloured as chosen; a click picks a layer."""
    color = st.segmented_control(
        "Colour by",
        COLORS,
        default=MACS,
        key="model.color",
        persist_state="session",
        required=True,
        help="Bits are those of the configuration, energy is that of the machine",
    )
    figure = _network_figure(workspace, network, color or MACS)
    if figure is None:
        st.info(
            "SQNR by layer is measured by a run; this model has none yet.",
            icon=":material/play_circle:",
        )
        return

    def pick_layer() -> None:
        points = st.session_state["model.graph"].selection.points
        if points and points[0].get("customdata"):
            workspace.picked.pick_layer(clicked_name(points[0]["customdata"]))

    st.plotly_chart(
        figure,
        key="model.graph",
        alt=takeaway(figure),
        on_select=pick_layer,
        selection_mode="points",
        config={"displayModeBar": False},
    )
    st.caption(
        "Click a layer to pick it; drag over a part to zoom, double-click to see all. "
        "Hollow: the layer has no such value."
    )


def _network_figure(workspace: Workspace, network: Network, color: str) -> Figure | None:
    spots, layers = cached_layer_places(network.digest, network), network.graph.layers
    picked = workspace.picked.layer
    chosen = workspace.config.resolve_layers(layers)
    if color == PARAMETERS:
        sizes = {layer.name: layer.parameters for layer in layers}
        return colored_by_share(spots, sizes, "parameters", "hold", picked)
    if color == ENERGY:
        report = workspace.config_cost(workspace.config)
        energies = {cost.layer: cost.energy_pj for cost in report.layers}
        return colored_by_share(spots, energies, "energy", "take", picked)
    if color == WEIGHT_BITS:
        bits = {layer.name: chosen[layer.name].weight.bits for layer in layers if layer.weight}
        return colored_by_bits(spots, bits, "weights", picked)
    if color == ACTIVATION_BITS:
        bits = {layer.name: chosen[layer.name].activation.bits for layer in layers}
        return colored_by_bits(spots, bits, "activations", picked)
    if color == SQNR:
        found = (run for run in workspace.store.all_runs() if run.model_digest == network.digest)
        run = next(found, None)
        return (
            None
            if run is None
            else (colored_by_sqnr(spots, run.layer_sqnr_db, f"run “{run.name}”", picked))
        )
    macs = {layer.name: layer.macs for layer in layers}
    return colored_by_share(spots, macs, "MACs", "do", picked)


def show_layer_table(workspace: Workspace, network: Network) -> None:
    """List the layers; a ticked row is the layer picked."""
    table, picked = layer_table(network), workspace.picked
    names = list(table["layer"])
    key = f"model.layers.{network.digest[:8]}.{picked.elsewhere}"

    def pick_layer() -> None:
        rows = st.session_state[key].selection.rows
        picked.layer = names[rows[0]] if rows else ""

    ticked = [names.index(picked.layer)] if picked.layer in names else []
    st.dataframe(
        table,
        key=key,
        hide_index=True,
        width="stretch",
        height=380,
        on_select=pick_layer,
        selection_mode="single-row",
        selection_default={"selection": {"rows": ticked}},
        alt=f"The layers of {network.name}",
        column_config={
            "MACs %": st.column_config.ProgressColumn(format="%.1f %%", min_value=0, max_value=100),
            "MACs": st.column_config.NumberColumn(format="localized"),
            "parameters": st.column_config.NumberColumn(format="localized"),
        },
    )
    st.download_button(
        "Table as CSV",
        csv_text(table),
        f"{network.name}-layers.csv",
        "text/csv",
        icon=":material/download:",
    )


def show_picked_layer(workspace: Workspace, network: Network) -> None:
    """Describe the picked layer in a line."""
    found = {layer.name: layer for layer in network.graph.layers}.get(workspace.picked.layer)
    if found is None:
        st.caption("No layer is picked; a click in the graph or a tick in the table picks one.")
        return
    words = [f"**{found.name}**", str(found.kind), f"output {shape_text(found.shape[1:])}"]
    if found.weight:
        words.append(f"weight {shape_text(found.weight_shape)}")
    row = st.container(horizontal=True, vertical_alignment="center")
    row.markdown(" · ".join(words), width="content")
    row.page_link(RANGES, label="Its ranges", icon=":material/bar_chart:", width="content")
