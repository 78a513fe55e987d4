"""The content of the file, on the Model page: the sentences of the command inspect, and tables."""

import streamlit as st

from analysis.inspection import inspect_network
from analysis.network import Network
from ui.widgets.markdown import plain


def show_inspection(network: Network) -> None:
    """Show the content of the file: tensors with an encoding, float tensors, and the operators."""
    found = inspect_network(network)
    floating = len(found.float_weights)
    title = "What the file holds"
    if floating:
        title += f": {floating} tensors stay float"
    with st.expander(plain(title), icon=":material/fact_check:"):
        st.text("\n".join(found.report_sentences()))
        if found.float_weights:
            columns = {
                "Tensor": [one.tensor for one in found.float_weights],
                "Read by": [one.layer for one in found.float_weights],
                "Numbers": [one.elements for one in found.float_weights],
                "Why it stays float": [one.reason for one in found.float_weights],
            }
            st.dataframe(columns, hide_index=True)
        counted = {
            "Operator": [name for name, _ in found.operators],
            "Nodes": [count for _, count in found.operators],
        }
        st.dataframe(counted, hide_index=True, width="content")
