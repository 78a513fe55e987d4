"""The user's own metric: named on the user's machine, closed on a shared server."""

import streamlit as st

from analysis.evaluation.user_metric import UserMetric
from model_io.builder.user_metric import load_file_metric
from model_io.errors import ModelError
from quant.errors import QuantError
from ui.request_guard import paths_open
from ui.state.code_consent import needs_consent
from ui.state.workspace import Workspace

CLOSED = (
    "A metric of your own is Python that runs on the server, and this server is shared: start "
    "QuantScope on your own machine to use one."
)


def metric_field(workspace: Workspace) -> str:
    """Ask for a metric if the settings allow metrics; return the typed text."""
    if not paths_open(workspace.settings):
        return ""
    return st.text_input(
        "Metric of your own",
        workspace.metric,
        key="runs.metric",
        placeholder="/work/metrics.py:miou",
        help="A Python function of (outputs, targets): a number for each input, or one for all. "
        "Its attribute higher_is_better says which way is up. It is code and runs with each run.",
    ).strip()


def metric_problem(workspace: Workspace, text: str) -> str:
    """Return the problem with a metric in a sentence; empty for a usable metric or no metric."""
    try:
        load_named_metric(workspace, text)
    except (QuantError, ModelError) as error:
        return str(error)
    return ""


def load_named_metric(workspace: Workspace, text: str) -> UserMetric | None:
    """Return the metric in `text`; None for an empty text.

    Raises:
        QuantError: the server is shared, or the user has not agreed to run the code.
        ModelError: the file or the function does not exist.
    """
    if not text:
        return None
    if not paths_open(workspace.settings):
        raise QuantError(CLOSED)
    if needs_consent(workspace.store, text):
        raise QuantError(
            f"Code must be agreed to before it runs; got {text}, which nobody agreed to. "
            "Name the metric on Run and compare."
        )
    return load_file_metric(text)
