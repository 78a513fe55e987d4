import streamlit as st

from quant.simulation.plan import TENSOR_SIDES, Side
from ui.answers.range_book import experiment_range_book
from ui.ranges.enough_images import enough_images
from ui.ranges.head_parts import show_head_parts
from ui.ranges.try_encoding import tensor_panel
from ui.ranges.view import (
    calibration_note,
    examine_tensors,
    ranges_overview,
    repair_note,
    suspect_list,
    suspect_reasons,
)
from ui.state.workspace import present_workspace
from ui.widgets.explain import ENCODING
from ui.widgets.prerequisites import needed_network

work = present_workspace()

st.title("Ranges")
st.caption(
    "Where does the encoding not fit? Ranges of weights and activations, layer by layer.",
    help=ENCODING,
)

network = needed_network(work)
book, passes = experiment_range_book(work, network)

SIDES = {each.capitalize(): each for each in TENSOR_SIDES}
picked_side = st.segmented_control(
    "Tensors",
    list(SIDES),
    default="Weights",
    required=True,
    key="ranges.side",
    persist_state="session",
    label_visibility="collapsed",
)
side = SIDES[picked_side]
repair_note(work, passes)
calibration_note(work, side, known=bool(book.activations))
if side is Side.ACTIVATIONS:
    enough_images(work)
    show_head_parts(work, book)
examined = examine_tensors(book, work.config, side)
if not examined:
    if side is Side.WEIGHTS:
        st.info("No layer of this model has a weight.")
    st.stop()

picker = f"ranges.layer.{network.digest[:8]}.{side}"
by_name = {item.layer_name: item for item in examined}
worst = max(examined, key=lambda item: item.bits_lost).layer_name
# the chart needs it before the box below is drawn
if work.picked.layer in by_name:
    st.session_state[picker] = work.picked.layer
st.session_state.setdefault(picker, worst)
chart_column, suspect_column = st.columns([1.1, 1], gap="medium")
with chart_column:
    ranges_overview(examined, side, picker, st.session_state[picker], work.picked)
with suspect_column:
    suspect_list(examined, side, picker, work.picked)

layer = st.selectbox(
    "Layer",
    list(by_name),
    key=picker,
    persist_state="session",
    on_change=lambda: work.picked.pick_layer(st.session_state[picker]),
    help="Also by a click in the overview or among the suspects",
)
suspect_reasons(by_name[layer])
tensor_panel(work, book, layer, side)
