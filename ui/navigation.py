"""The list of pages, in the order of the work."""

import streamlit as st

MODEL = "pages/model.py"
DIAGNOSE = "pages/diagnose.py"
RANGES = "pages/ranges.py"
SENSITIVITY = "pages/sensitivity.py"
REPAIR = "pages/repair.py"
CONFIGURE = "pages/configure.py"
TRADEOFFS = "pages/tradeoffs.py"
TRAIN = "pages/train.py"
RUNS = "pages/runs.py"
EXPORT = "pages/export.py"


def list_pages() -> list[st.Page]:
    """Return the pages with their titles, icons and purposes."""
    return [
        st.Page(
            MODEL, title="Model", icon=":material/deployed_code:", default=True,
            help="What have I got? Choose or bring a model and data.",
        ),
        st.Page(
            DIAGNOSE, title="Diagnose", icon=":material/stethoscope:",
            help="Why did accuracy fall, and what do I do? Each step tried and measured.",
        ),
        st.Page(
            RANGES, title="Ranges", icon=":material/bar_chart:",
            help="Where does the encoding not fit? Ranges of weights and activations.",
        ),
        st.Page(
            SENSITIVITY, title="Sensitivity", icon=":material/troubleshoot:",
            help="Which layers cost most? What each loses, and which repair to try.",
        ),
        st.Page(
            REPAIR, title="Repair", icon=":material/healing:",
            help="What helps, and why? Equalization, bias correction, AdaRound.",
        ),
        st.Page(
            CONFIGURE, title="Configure", icon=":material/tune:",
            help="What do I choose? Bits, granularity and ranges, layer by layer.",
        ),
        st.Page(
            TRADEOFFS, title="Trade-offs", icon=":material/balance:",
            help="What is the best I can have? Accuracy against cost, bits chosen by layer.",
        ),
        st.Page(
            TRAIN, title="Train", icon=":material/school:",
            help="Is it worth it, and is it working? Weights learn on their encodings.",
        ),
        st.Page(
            RUNS, title="Run and compare", icon=":material/play_circle:",
            help="What happened? Measured accuracy beside estimated cost.",
        ),
        st.Page(
            EXPORT, title="Export", icon=":material/ios_share:",
            help="How do I take it home? Files for the next tool, each checked.",
        ),
    ]  # fmt: skip
