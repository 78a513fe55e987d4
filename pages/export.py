import streamlit as st

from ui.export.device_dump import device_dump_box
from ui.export.jobs import is_exporting, present_export_request
from ui.export.runtime_check import runtime_check_box
from ui.export.tables import csv_table_box
from ui.export.view import artefact_list, export_context, report_choice
from ui.navigation import MODEL
from ui.state.workspace import present_workspace
from ui.widgets.prerequisites import needed_study

POLL_S = 1.5

work = present_workspace()

st.title("Export")
st.caption("How do I take it home? Files for the next tool, each checked here before you take it.")

wish = present_export_request(work, needed_study(work))
export_context(work, wish)
if work.parts is None:
    st.info(
        work.data_problem
        or f"Ranges of activations need {wish.network.noun}s, unless a file or batch norms give "
        "them; none are chosen.",
        icon=":material/image:",
    )
    st.page_link(MODEL, label=f"Choose {wish.network.noun}s", icon=":material/deployed_code:")


@st.fragment(run_every=POLL_S if is_exporting(work) else None)
def list_of_artefacts() -> None:
    """Draw the artefacts; the fragment runs again during the making of artefacts."""
    artefact_list(work, wish)


list_of_artefacts()

st.subheader("Check on this machine", anchor=False)
runtime_check_box(work, wish)

st.subheader("Compare with a device", anchor=False)
device_dump_box(work, wish)

st.subheader("Tables", anchor=False)
csv_table_box(work, wish)

st.subheader("Report", anchor=False)
report_choice(work, wish)
