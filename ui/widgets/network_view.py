"""The layers of the model as places and as a table, with a shared selection."""

import streamlit as st

from analysis.network import Network
from analysis.network_layout import LayerPlace, layer_places
from ui.navigation import RANGES
from ui.state.workspace import Workspace
from ui.widgets.csv_text import csv_text
from ui.widgets.tables import layer_table, shape_text

NAME_PX = 190


@st.cache_data(max_entries=8, show_spinner=False)
def cached_layer_places(digest: str, _network: Network) -> tuple[LayerPlace, ...]:
    """Return the places of a network's layers in the drawing."""
    del digest  # it is the key of the cache
    return layer_places(_network.graph)


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
            "layer": st.column_config.TextColumn(width=NAME_PX, pinned=True),
            "kind": st.column_config.TextColumn(width=80),
            "MACs %": st.column_config.ProgressColumn(
                format="%.1f %%", min_value=0, max_value=100, width=110
            ),
            "MACs": st.column_config.NumberColumn(format="localized"),
            "parameters": st.column_config.NumberColumn(format="localized", width=90),
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
