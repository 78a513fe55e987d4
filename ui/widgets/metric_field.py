"""A metric of the user's own: named on this machine, closed on a shared server."""

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
    """Ask for a metric where the settings allow it; return what is typed."""
    if not paths_open(workspace.settings):
        return ""
    return st.text_input(
        "Metric of your own", workspace.metric, key="runs.metric",
        placeholder="/work/metrics.py:miou",
        help="A Python function of (outputs, targets): a number for each image, or one for all. "
        "Its attribute higher_is_better says which way is up. It is code and runs with each run.",
    ).strip()  # fmt: skip


def metric_problem(workspace: Workspace, text: str) -> str:
    """Return why a metric cannot be used; nothing where it can, or none is asked for."""
    try:
        load_named_metric(workspace, text)
    except (QuantError, ModelError) as error:
        return str(error)
    return ""


def load_named_metric(workspace: Workspace, text: str) -> UserMetric | None:
    """Return the metric that was named; None without one.

    Raises:
        QuantError: the server is shared, or nobody agreed that the code runs.
        ModelError: no such file or function.
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
