"""The float network's top-1 and sanity check, measured once and kept in the run store."""

import streamlit as st

from analysis.evaluation.evaluate import FloatScore, score_float_network
from analysis.evaluation.sanity import SanityCheck, check_float_network
from analysis.evaluation.user_metric import MetricScore
from analysis.runs.json_values import plain_from_result, result_from_plain
from quant.progress import Steps
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.workspace import Workspace


def find_float_score(workspace: Workspace) -> FloatScore | None:
    """Return the measured top-1 of the float network on the chosen images; None before."""
    kept = workspace.store.find_answer(_score_question(workspace))
    return result_from_plain(FloatScore, kept) if kept else None


def find_float_metric(workspace: Workspace, name: str) -> MetricScore | None:
    """Return the metric `name` of the newest run of the network on the chosen images, or None."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return None
    for run in workspace.store.all_runs():
        found = run.evaluation.metric
        same = (run.model_digest, run.data_digest) == (network.digest, parts.score.digest)
        if same and found is not None and found.name == name:
            return found
    return None


def find_sanity_check(workspace: Workspace) -> SanityCheck | None:
    """Return the sanity check of the float network on the chosen images, once it was made."""
    kept = workspace.store.find_answer(_sanity_question(workspace))
    return result_from_plain(SanityCheck, kept) if kept else None


def measure_float_score(workspace: Workspace) -> None:
    """Measure the float top-1 and check it, unless both are known or were asked for already.

    Draws the page again after queueing the job, so that the frame shows the job.
    """
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None or not parts.score.labelled or not network.is_classifier:
        return
    question, sanity, store = (
        _score_question(workspace),
        _sanity_question(workspace),
        workspace.store,
    )
    if question in workspace.asked or (store.find_answer(question) and store.find_answer(sanity)):
        return

    def score_steps() -> Steps[tuple[FloatScore, SanityCheck] | None]:
        score = yield from score_float_network(network, parts.score)
        if score is None:
            return None
        return score, (yield from check_float_network(network, parts.score, score.top1))

    def keep_score(found: tuple[FloatScore, SanityCheck] | None) -> None:
        if found is not None:
            store.keep_answer(question, plain_from_result(found[0]))
            store.keep_answer(sanity, plain_from_result(found[1]))

    workspace.asked.add(question)  # one that fails or is cancelled is not put again and again
    workspace.runner.submit(
        Job(
            JobKind.FLOAT_SCORE,
            f"Float accuracy of {network.name}",
            score_steps,
            keep_score,
            background=True,
        )
    )
    st.rerun()


def _score_question(workspace: Workspace) -> str:
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return ""
    return f"float-top1 {network.digest} {parts.score.digest}"


def _sanity_question(workspace: Workspace) -> str:
    question = _score_question(workspace)
    return f"sanity of {question}" if question else ""
