"""A few images in the form of the network's input, cached for a rerun of the page."""

from dataclasses import replace
from typing import Any

import streamlit as st

from analysis.evaluation.shown_inputs import ShownInputs, image_input_place, read_images
from analysis.network import Network
from data_io.dataset import Dataset
from data_io.preprocessing import Preprocess
from ui.state.model_and_data import is_bundled_data
from ui.state.workspace import Workspace


def first_images(workspace: Workspace) -> ShownInputs | None:
    """Return a few images of the data with the float network's answers; None without images."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None or image_input_place(network) is None:
        return None
    return _first_images(network.digest, parts.score.digest, network, parts.score)


def preview_images(workspace: Workspace, preprocess: str) -> ShownInputs | None:
    """Return the same images under different steps; None for data with steps of their own.

    Raises:
        ValueError: the steps do not fit the images or the network.
    """
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None or image_input_place(network) is None:
        return None
    if is_bundled_data(workspace.data.source):
        return None
    source: Any = parts.score.source
    if not hasattr(source, "preprocess") or not getattr(source, "has_pixels", True):
        return None
    steps = Preprocess.from_json(preprocess)
    if source.preprocess == steps:
        return None
    data = replace(parts.score, source=replace(source, preprocess=steps))
    return read_images(network, data)


@st.cache_data(max_entries=16, show_spinner=False)
def _first_images(model: str, data: str, _network: Network, _data: Dataset) -> ShownInputs:
    del model, data  # they are the key of the cache
    return read_images(_network, _data)
