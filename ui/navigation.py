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
_PAGES = (
    (
        MODEL,
        "Model",
        ":material/deployed_code:",
        "What have I got? Choose or bring a model and data.",
    ),
    (
        DIAGNOSE,
        "Diagnose",
        ":material/stethoscope:",
        "Why did accuracy fall, and what do I do? Each step tried and measured.",
    ),
    (
        RANGES,
        "Ranges",
        ":material/bar_chart:",
        "Where does the encoding not fit? Ranges of weights and activations.",
    ),
    (
        SENSITIVITY,
        "Sensitivity",
        ":material/troubleshoot:",
        "Which layers cost most? What each loses, and which repair to try.",
    ),
    (
        REPAIR,
        "Repair",
        ":material/healing:",
        "What helps, and why? Equalization, bias correction, AdaRound.",
    ),
    (
        CONFIGURE,
        "Configure",
        ":material/tune:",
        "What do I choose? Bits, granularity and ranges, layer by layer.",
    ),
    (
        TRADEOFFS,
        "Trade-offs",
        ":material/balance:",
        "What is the best I can have? Accuracy against cost, bits chosen by layer.",
    ),
    (
        TRAIN,
        "Train",
        ":material/school:",
        "Is it worth it, and is it working? Weights learn on their encodings.",
    ),
    (
        RUNS,
        "Run and compare",
        ":material/play_circle:",
        "What happened? Measured accuracy beside estimated cost.",
    ),
    (
        EXPORT,
        "Export",
        ":material/ios_share:",
        "How do I take it home? Files for the next tool, each checked.",
    ),
)
"""Path, title, icon and question of the pages; the app opens on the first page."""


def list_pages() -> list[st.Page]:
    """Return the pages with their titles, icons and purposes."""
    return [
        st.Page(path, title=title, icon=icon, default=path == MODEL, help=question)
        for path, title, icon, question in _PAGES
    ]
