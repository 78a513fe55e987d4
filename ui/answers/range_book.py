"""The range book of the present network: each tensor with its statistics."""

import streamlit as st

from analysis.calibration import Calibrated
from analysis.network import Network
from analysis.ranges.tensors import RangeBook, open_range_book
from ui.state.workspace import Workspace


def book_of(workspace: Workspace, network: Network) -> RangeBook:
    """Return the distributions of the present model, with activations once calibrated."""
    parts = workspace.parts
    found = workspace.calibrated(network, parts) if parts is not None else None
    images = parts.calibration.digest if found and parts and parts.calibration else ""
    return _book(f"{network.digest} {images}", network, found)


@st.cache_resource(max_entries=6, show_spinner="Reading the weights")
def _book(key: str, _network: Network, _calibrated: Calibrated | None) -> RangeBook:
    del key  # it is the key of the cache
    return open_range_book(_network.graph, _calibrated)
