"""Pictures on which the answers of two runs differ, with both answers."""

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from analysis.evaluation.shown_inputs import image_input_place, pictures_of
from analysis.runs.changed_answers import ChangedAnswer, changed_answers
from analysis.runs.run_store import Run
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

MOST_PICTURES = 6


def show_changed_answers(workspace: Workspace, before: Run, after: Run) -> None:
    """Show the images whose answers changed between two runs, harm first."""
    if before.data_digest != after.data_digest or before.model_digest != after.model_digest:
        return
    found = sorted(changed_answers(before, after), key=lambda one: one.change != "now wrong")
    if not found:
        st.caption("Both runs give the same answer on each image that they list.")
        return
    wrong = sum(one.change == "now wrong" for one in found)
    right = sum(one.change == "now right" for one in found)
    st.markdown(f"**{len(found)} answers changed: {wrong} now wrong, {right} now right**")
    names = _class_names(workspace, before)
    pictures = _changed_pictures(workspace, before, found[:MOST_PICTURES])
    for column, one, picture in zip(st.columns(MOST_PICTURES), found, pictures, strict=False):
        truth = "" if one.label is None else f", is {_class_name(one.label, names)}"
        text = f"{_class_name(one.before, names)} → {_class_name(one.after, names)}{truth}"
        column.image(picture, width="stretch", alt=text)
        column.caption(f"{plain(text)}  \n{one.change}")
    rows = [
        {
            "image": one.index,
            "label": "" if one.label is None else _class_name(one.label, names),
            before.name: _class_name(one.before, names),
            after.name: _class_name(one.after, names),
            "the change": one.change,
        }
        for one in found
    ]
    with st.expander("All changed answers", icon=":material/table_rows:"):
        st.dataframe(rows, hide_index=True, width="stretch", alt="Answers that changed")


def _class_names(workspace: Workspace, run: Run) -> tuple[str, ...]:
    parts = workspace.parts
    same = parts is not None and parts.score.digest == run.data_digest
    return parts.score.class_names if parts is not None and same else ()


def _class_name(place: int, names: Sequence[str]) -> str:
    return names[place] if place < len(names) else str(place)


def _changed_pictures(
    workspace: Workspace, run: Run, shown: Sequence[ChangedAnswer]
) -> list[NDArray[np.float32]]:
    """Return the pictures of images where the data of the run are loaded; else none."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None or parts.score.digest != run.data_digest:
        return []
    if image_input_place(network) is None:
        return []
    places = {index: place for place, index in enumerate(parts.score.indices)}
    wanted = [places[one.index] for one in shown if one.index in places]
    return list(pictures_of(network, parts.score, wanted))
