import streamlit as st

from figures.configure.channel_widths import widths_by_layer
from figures.cost.energy import energy_by_component
from ui.configure.compare import diff_picker
from ui.configure.editor import bulk_edit_form, layer_editor, rule_list
from ui.configure.file_encodings import config_file_box, encodings_note
from ui.configure.fit_board import board_fit_section
from ui.configure.layer_options import layer_picker, show_layer_options
from ui.configure.prediction import predicted_quality_card
from ui.configure.presets import PRESETS, preset_picker
from ui.configure.trust import residency_note, trust_section
from ui.navigation import RUNS, TRADEOFFS
from ui.state.workspace import present_workspace
from ui.widgets.cards import cost_cards
from ui.widgets.figure import show_figure
from ui.widgets.machine_picker import (
    bring_machine,
    machine_energy_note,
    machine_picker,
    machine_widths_note,
)
from ui.widgets.prerequisites import needed_network
from ui.widgets.tables import layers_without_choice

LOOKS = ENERGY, DIFFERENCE, LAYER, TRUST, FIT = (
    "Energy",
    "Difference",
    "One layer",
    "How far to trust it",
    "Fit to my board",
)
WIDTHS = "Widths of channels"
work = present_workspace()

st.title("Configure")
st.caption("What do I choose? Bits, granularity and ranges; the cost moves while you edit.")

network = needed_network(work)
config = work.config
chosen = config.resolve_layers(network.graph.layers)
with st.container(horizontal=True, vertical_alignment="bottom"):
    preset_picker(work)
    machine_picker(work, "configure")
    against = st.selectbox(
        "Compare with",
        list(PRESETS),
        key="configure.against",
        persist_state="session",
        help="The configuration that the changes below are measured against",
    )
report, reference = work.config_cost(config), work.config_cost(PRESETS[against])
machine_energy_note(work, report)
cards = st.container(horizontal=True)
foreseen = predicted_quality_card(cards, work, config, PRESETS[against], against)
cost_cards(report, reference, against, cards)
if not foreseen and work.parts is not None:
    st.page_link(
        TRADEOFFS,
        icon=":material/balance:",
        label="Find the best trade-offs once, and the accuracy of every edit is predicted here",
    )

encodings_note(work)
ticked = layer_editor(work, chosen, report)
st.caption(
    "A bits: the layer's output as it is stored. Layers without weights have no W columns. "
    "Every edit becomes a rule below. " + layers_without_choice(network.graph.layers, report)
)
machine_widths_note(work, report)
residency_note(work, config)
bulk_edit_form(work, ticked)
channel_bits = {name: chosen[name].weight.channel_bits for name in chosen}
looks = [*LOOKS, *([WIDTHS] if any(channel_bits.values()) else [])]
look = st.segmented_control(
    "Look closer",
    looks,
    default=ENERGY,
    key="configure.look",
    persist_state="session",
    required=True,
    label_visibility="collapsed",
)
if look == DIFFERENCE:
    diff_picker(work, network, config)
elif look == LAYER:
    show_layer_options(work, network, config, layer_picker(work, network))
elif look == TRUST:
    trust_section(work)
elif look == FIT:
    board_fit_section(work, network, config)
elif look == WIDTHS:
    figure = widths_by_layer(channel_bits)
    show_figure(figure, "configure.widths")
else:
    figure = energy_by_component(report)
    show_figure(figure, "configure.energy")
st.page_link(RUNS, label="Run it and measure its accuracy", icon=":material/play_circle:")
with st.expander(f"Rules in order ({len(config.rules)})", icon=":material/list:"):
    rule_list(work, chosen)
with st.expander("As a file", icon=":material/description:"):
    config_file_box(work, network)
with st.expander("The machine's numbers and their sources", icon=":material/memory:"):
    bring_machine(work)
