"""The presets of a configuration and the picker of presets on page Configure."""

import streamlit as st

from quant.config import QuantConfig, uniform_config
from quant.spec import Granularity
from ui.state.edit_config import set_preset
from ui.state.workspace import Workspace

PRESETS: dict[str, QuantConfig] = {
    "W8A8 per-channel": uniform_config(8, 8),
    "W8A8 per-tensor": uniform_config(8, 8, Granularity.PER_TENSOR),
    "W6A8 per-channel": uniform_config(6, 8),
    "W4A8 per-channel": uniform_config(4, 8),
    "W4A4 per-channel": uniform_config(4, 4),
    "W8A16 per-channel": uniform_config(8, 16),
    "Float": uniform_config(32, 32),
}
_PICKED = "configure.preset"


def preset_picker(workspace: Workspace) -> None:
    """Draw the list of presets and the button that applies the picked preset.

    The button reads the pick at the click: a click during the drawing of the page would otherwise
    apply the preset of the drawing before.
    """
    st.selectbox("Preset", list(PRESETS), key=_PICKED)
    st.button(
        "Apply preset",
        key="configure.apply",
        on_click=lambda: set_preset(workspace, PRESETS[st.session_state[_PICKED]]),
        help="Replaces the default and all rules; Undo brings them back",
    )
