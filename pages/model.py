import streamlit as st

from quant.graph.layers import is_input_name
from ui.answers.float_score import find_float_score, measure_float_score
from ui.configure.file_encodings import offer_own_encodings
from ui.model.bring_data import bring_data
from ui.model.bring_model import bring_model, sample_cards
from ui.model.input_preview import show_first_images
from ui.model.inspection_view import show_inspection
from ui.model.network_graph import show_network_graph
from ui.model.task_facts import (
    accuracy_substitute,
    float_score_card,
    import_check_note,
    inputs_table,
    measure_import_check,
    needs_inputs_table,
    shapes_text,
    size_cards,
)
from ui.model.task_form import task_form
from ui.navigation import CONFIGURE, RUNS
from ui.state.workspace import present_workspace
from ui.widgets.markdown import plain
from ui.widgets.network_view import show_layer_table, show_picked_layer
from ui.widgets.prerequisites import say_only_looked_at

work = present_workspace()
network = work.network

st.title("Model")
noun = "image" if network is None else network.noun
st.caption(
    f"What have I got? The network as it will be quantized, and the {noun}s it is judged on."
)

if network is None:
    if work.opened is not None:
        say_only_looked_at()
        st.caption("Loading a model here closes the session.")
    else:
        st.info("No model is loaded. Bring your own or choose a sample.")
    bring_model(work)
    sample_cards(work)
    st.stop()

measure_float_score(work)
measure_import_check(work)
score = find_float_score(work)

st.subheader(plain(network.name), anchor=False)
bring_model(work)
cards = st.container(horizontal=True)
float_score_card(cards, work, score)
size_cards(cards, work, network)

with st.container(horizontal=True):
    st.page_link(RUNS, label="Run it and see", icon=":material/play_circle:", width="content")
    st.page_link(CONFIGURE, label="Choose bits by layer", icon=":material/tune:", width="content")

show_inspection(network)
if network.given is not None:
    with st.expander("The encodings of the file", icon=":material/grid_on:"):
        offer_own_encodings(work, network)

st.subheader("Data", anchor=False)
if work.data_problem:
    st.error(plain(work.data_problem), icon=":material/error:")
elif work.parts is None:
    st.warning(
        f"This model comes without {noun}s. Bring "
        f"{'a table' if noun == 'row' else 'a folder or an .npz file'} below to measure "
        "anything; costs need none.",
        icon=":material/image:",
    )
else:
    parts = work.parts
    labels = "labelled" if parts.score.labelled else "without labels"
    if parts.metric is not None:
        labels = f"for {parts.metric.task}"
    stands = accuracy_substitute(network, labelled=parts.score.labelled)
    st.markdown(
        f"**{plain(parts.score.name)}** · {len(parts.score)} {noun}s to score, {labels} · "
        f"{len(parts.calibration or ())} others to calibrate with"
    )
    if stands and parts.metric is None:
        st.caption(stands)
    task_form(work)
    show_first_images(work)
    import_check_note(work)
if needs_inputs_table(network):
    inputs_table(work, network)
with st.expander("Choose other data", icon=":material/photo_library:", expanded=work.parts is None):
    bring_data(work)

st.subheader("Layers", anchor=False)
weighted = sum(1 for layer in network.graph.layers if layer.weight)
st.caption(
    f"{sum(not is_input_name(layer.name) for layer in network.graph.layers)} layers after folding "
    f"batch norms, {weighted} of them with weights; {shapes_text(network)}."
)
show_network_graph(work, network)
show_picked_layer(work, network)
show_layer_table(work, network)

st.subheader("Sample models", anchor=False)
sample_cards(work)
