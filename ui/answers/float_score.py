"""Kept answers: in the cache for a rerun of the page, in the run store for the next start."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from analysis.evaluation.evaluate import FloatScore, score_float_network
from analysis.network import Network, forward_first_output
from analysis.runs.json_values import plain_from_result, result_from_plain
from quant.inputs import tensors_of_batch
from quant.progress import Steps
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.workspace import Workspace

SHOWN_IMAGES = 5


def find_float_score(workspace: Workspace) -> FloatScore | None:
    """Return the measured top-1 of the float network on the chosen images; None before."""
    kept = workspace.store.find_answer(_score_question(workspace))
    return result_from_plain(FloatScore, kept) if kept else None


def measure_float_score(workspace: Workspace) -> None:
    """Measure the float top-1 beside the page, unless known or already queued.

    Draws the page again after queueing the job, so that the frame shows the job.
    """
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None or not parts.score.labelled or not network.is_classifier:
        return
    question = _score_question(workspace)
    if question in workspace.asked or workspace.store.find_answer(question):
        return

    def score_steps() -> Steps[FloatScore | None]:
        return score_float_network(network, parts.score)

    store = workspace.store

    def keep_score(score: FloatScore | None) -> None:
        if score is not None:
            store.keep_answer(question, plain_from_result(score))

    workspace.asked.add(question)  # one that fails or is cancelled is not put again and again
    workspace.runner.submit(
        Job(JobKind.FLOAT_SCORE, f"Float accuracy of {network.name}", score_steps, keep_score)
    )
    st.rerun()


def _score_question(workspace: Workspace) -> str:
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return ""
    return f"float-top1 {network.digest} {parts.score.digest}"


@dataclass(frozen=True, slots=True)
class Shown:
    """An image as the model sees the image, stretched to 0..1 for display, and the answer.

    `picture` has the shape (H, W), or (H, W, C) with 1 or 3 channels.
    """

    picture: NDArray[np.float32]
    answer: str
    label: str
    right: bool | None


def first_images(workspace: Workspace) -> list[Shown]:
    """Return the first images of the data with the float network's answers."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return []
    return _cached_first_images(network.digest, parts.score.digest, workspace)


def image_input_place(network: Network) -> int | None:
    """Return the index of the first image input; None without an image input.

    An image has the shape (C, H, W) or (H, W, C) with 1 or 3 channels.
    """
    for place, one in enumerate(network.graph.inputs):
        if one.real and len(one.shape) == 3 and {one.shape[0], one.shape[-1]} & {1, 3}:
            return place
    return None


@st.cache_data(max_entries=16, show_spinner=False)
def _cached_first_images(model: str, data: str, _workspace: Workspace) -> list[Shown]:
    del model, data  # they are the key of the cache
    network, parts = _workspace.network, _workspace.parts
    if network is None or parts is None:
        return []
    place = image_input_place(network)
    if place is None:
        return []
    batch = next(parts.score.batches(SHOWN_IMAGES))
    logits = forward_first_output(network.graph, network.graph.batch, batch.inputs)
    names = parts.score.class_names
    shown = []
    for position, image in enumerate(tensors_of_batch(batch.inputs)[place]):
        low, high = image.min(), image.max()
        picture = ((image - low) / (high - low).clamp(min=1e-9)).numpy()
        picture = picture.transpose(1, 2, 0) if picture.shape[0] in (1, 3) else picture
        if not network.is_classifier:
            shown.append(Shown(picture, "", "", None))
            continue
        answer = int(logits[position].argmax())
        label = None if batch.labels is None else int(batch.labels[position])
        name = names[answer] if answer < len(names) else str(answer)
        right_name = "" if label is None else names[label] if label < len(names) else str(label)
        right = None if label is None else label == answer
        shown.append(Shown(picture, name, right_name, right))
    return shown
