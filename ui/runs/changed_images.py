"""Pictures on which the answers of runs differ, with the answer and confidence of each run."""

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from analysis.evaluation.shown_inputs import image_input_place, pictures_of
from analysis.runs.changed_answers import ChangedAnswer, changed_answers
from analysis.runs.run_answers import (
    ClassAnswer,
    ImageRow,
    answers_of_comparable_runs,
    differing_images,
)
from analysis.runs.run_store import Run
from figures.quality.class_change import class_name
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

MOST_PICTURES, PICTURES_OF_MANY = 6, 4


def show_changed_answers(workspace: Workspace, runs: Sequence[Run]) -> None:
    """Show the images whose answers differ between runs, harm first."""
    if len({(run.model_digest, run.data_digest) for run in runs}) > 1:
        return
    if len(runs) == 2:
        _show_two(workspace, runs[0], runs[1])
    elif not answers_of_comparable_runs(runs):
        st.caption("Runs of an older version do not tell each answer: run them once more.")
    else:
        _show_many(workspace, runs)


def _show_two(workspace: Workspace, before: Run, after: Run) -> None:
    found = sorted(changed_answers(before, after), key=lambda one: one.change != "now wrong")
    if not found:
        st.caption(f"Both runs give the same answer on each {before.cost.noun} that they list.")
        return
    wrong = sum(one.change == "now wrong" for one in found)
    right = sum(one.change == "now right" for one in found)
    st.markdown(f"**{len(found)} answers changed: {wrong} now wrong, {right} now right**")
    names = class_names_of(workspace, before)
    captions = [_change_lines(one, names) for one in found[:MOST_PICTURES]]
    _show_pictures(workspace, before, [one.index for one in found], captions)
    rows = [
        {
            before.cost.noun: one.index,
            "label": _label_text(one.label, names),
            before.name: answer_text(one.before, one.before_confidence, names),
            after.name: answer_text(one.after, one.after_confidence, names),
            "the change": one.change,
        }
        for one in found
    ]
    _show_table(rows, "All changed answers")


def _change_lines(one: ChangedAnswer, names: Sequence[str]) -> list[str]:
    old = answer_text(one.before, one.before_confidence, names)
    new = answer_text(one.after, one.after_confidence, names)
    truth = "" if one.label is None else f", is {class_name(one.label, names)}"
    return [f"{old} → {new}{truth}", one.change]


def _show_many(workspace: Workspace, runs: Sequence[Run]) -> None:
    found = sorted(differing_images(runs), key=_right_answers)
    if not found:
        st.caption(f"All {len(runs)} runs give the same answer on each {runs[0].cost.noun}.")
        return
    st.markdown(f"**The runs answer differently to {len(found)} {runs[0].cost.noun}s**")
    names = class_names_of(workspace, runs[0])
    captions = [
        [
            *([f"is {_label_text(row.label, names)}"] if row.label is not None else []),
            *(
                f"{run.name}: {_text_of(one, names)}"
                for run, one in zip(runs, row.answers, strict=True)
            ),
        ]
        for row in found[:PICTURES_OF_MANY]
    ]
    _show_pictures(workspace, runs[0], [row.index for row in found], captions)
    rows = [
        {
            runs[0].cost.noun: row.index,
            "label": _label_text(row.label, names),
            **{run.name: _text_of(one, names) for run, one in zip(runs, row.answers, strict=True)},
        }
        for row in found
    ]
    _show_table(rows, "All answers that differ")


def _right_answers(row: ImageRow) -> int:
    return sum(one.place == row.label for one in row.answers)


def _text_of(answer: ClassAnswer, names: Sequence[str]) -> str:
    return answer_text(answer.place, answer.confidence, names)


def answer_text(place: int, confidence: float | None, names: Sequence[str]) -> str:
    """Return an answer in words, with its confidence where that is known.

    Example:
        >>> answer_text(1, 0.914, ("Bag", "Coat"))
        'Coat 91 %'
    """
    share = "" if confidence is None else f" {100 * confidence:.0f} %"
    return f"{class_name(place, names)}{share}"


def _label_text(label: int | None, names: Sequence[str]) -> str:
    return "" if label is None else class_name(label, names)


def _show_table(rows: Sequence[Mapping[str, object]], title: str) -> None:
    with st.expander(plain(title), icon=":material/table_rows:"):
        st.dataframe(rows, hide_index=True, width="stretch", alt=title)


def class_names_of(workspace: Workspace, run: Run) -> tuple[str, ...]:
    """Return the class names of a run's data, where the data are loaded; else none."""
    parts = workspace.parts
    same = parts is not None and parts.score.digest == run.data_digest
    return parts.score.class_names if parts is not None and same else ()


def _show_pictures(
    workspace: Workspace, run: Run, indices: Sequence[int], captions: Sequence[Sequence[str]]
) -> None:
    """Show the first images with lines of text each, where the run's data are loaded."""
    pictures = pictures_of_run(workspace, run, indices[: len(captions)])
    columns = st.columns(max(PICTURES_OF_MANY, len(captions)))
    for column, lines, picture in zip(columns, captions, pictures, strict=False):
        column.image(picture, width="stretch", alt="; ".join(lines))
        column.caption("  \n".join(map(plain, lines)))


def pictures_of_run(
    workspace: Workspace, run: Run, indices: Sequence[int]
) -> list[NDArray[np.float32]]:
    """Return the pictures of images where the data of the run are loaded; else none."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None or parts.score.digest != run.data_digest:
        return []
    if image_input_place(network) is None:
        return []
    places = {index: place for place, index in enumerate(parts.score.indices)}
    wanted = [places[index] for index in indices if index in places]
    return list(pictures_of(network, parts.score, wanted))
