import streamlit as st

from ui.export.jobs import request_now, under_way
from ui.export.runtime_check import check_box
from ui.export.tables import table_box
from ui.export.view import artefacts, context, report_choice
from ui.navigation import MODEL
from ui.state.workspace import workspace
from ui.widgets.prerequisites import needed_study

POLL_S = 1.5

work = workspace()

st.title("Export")
st.caption("How do I take it home? Files for the next tool, each checked here before you take it.")

wish = request_now(work, needed_study(work))
context(work, wish)
if work.parts is None:
    st.info(
        work.data_problem or "Ranges of activations need images, unless a file or batch norms give "
        "them; none are chosen.", icon=":material/image:",
    )  # fmt: skip
    st.page_link(MODEL, label="Choose images", icon=":material/deployed_code:")


@st.fragment(run_every=POLL_S if under_way(work) else None)
def list_of_artefacts() -> None:
    """Everything that changes while artefacts are made."""
    artefacts(work, wish)


list_of_artefacts()

st.subheader("Check on this machine", anchor=False)
check_box(work, wish)

st.subheader("Tables", anchor=False)
table_box(work, wish)

st.subheader("Report", anchor=False)
report_choice(work, wish)
