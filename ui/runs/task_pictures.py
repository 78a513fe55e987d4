"""Boxes and masks of the float and the quantized network side by side, the most changed first."""

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from analysis.evaluation.tasks.changed_pictures import (
    MOST_IMAGES,
    SHOWN_SCORE,
    Box,
    TaskAnswer,
    unpack_mask,
)
from analysis.runs.run_store import Run
from figures.quality.task_pictures import Picture, paint_boxes, paint_mask
from ui.runs.changed_images import pictures_of_run
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

SHOWN = 4


def show_task_pictures(workspace: Workspace, runs: Sequence[Run]) -> None:
    """Show the images whose answers changed most in the newest of `runs`, an image a row.

    A column shows the float network's answer, and one each run's; of an older run those images
    that it also lists.
    """
    newest = runs[-1]
    answers = newest.evaluation.task_answers
    if not answers:
        st.info("Boxes and masks changed in none of the images that were compared.")
        return
    pictures = pictures_of_run(workspace, newest, [one.index for one in answers[:SHOWN]])
    if not pictures:
        st.info("The pictures need the data of the run. Choose these data on Model.")
        return
    names = workspace.parts.score.class_names if workspace.parts is not None else ()
    looked = min(MOST_IMAGES, newest.evaluation.samples)
    has_boxes = any(not answer.mask_shape for answer in answers)
    from_score = f"; boxes from a score of {SHOWN_SCORE:g} on" if has_boxes else ""
    st.caption(f"The most changed of the first {looked} images{from_score}.")
    for answer, picture in zip(answers, pictures, strict=False):
        columns = st.columns(len(runs) + 1)
        boxed = not answer.mask_shape
        float_view = _float_answer(answer)
        _show_answer(columns[0], picture, float_view, "float", names)
        for column, run in zip(columns[1:], runs, strict=True):
            own = next((o for o in run.evaluation.task_answers if o.index == answer.index), None)
            if own is None:
                column.caption(f"{plain(run.name)}: not among its most changed images")
                continue
            what = "boxes without a partner" if boxed else "pixels of another class"
            told = f"{run.name}: {100 * own.change:.0f} % {what}"
            _show_answer(column, picture, own, told, names)


def _float_answer(answer: TaskAnswer) -> TaskAnswer:
    """Return the float network's answer in the place of the quantized network's."""
    return TaskAnswer(
        answer.index,
        0.0,
        boxes=answer.float_boxes,
        mask=answer.float_mask,
        mask_shape=answer.mask_shape,
    )


def _show_answer(
    column: "st.delta_generator.DeltaGenerator",
    picture: Picture,
    answer: TaskAnswer,
    title: str,
    names: Sequence[str],
) -> None:
    if answer.mask_shape:
        painted = paint_mask(picture, unpack_mask(answer.mask, answer.mask_shape))
        told = ""
    else:
        painted = paint_boxes(picture, answer.boxes)
        told = _boxes_text(answer.boxes, names)
    column.image(painted, width="stretch", alt=f"Image {answer.index}: {title}. {told}")
    column.caption(f"Image {answer.index}, {plain(title)}  \n{plain(told)}")


def _boxes_text(boxes: Sequence[Box], names: Sequence[str]) -> str:
    """Return the classes of boxes in words, such as "2 Coat, Bag"."""
    counts = Counter(names[b[5]] if b[5] < len(names) else str(b[5]) for b in boxes)
    return ", ".join(f"{n} {name}" if n > 1 else name for name, n in counts.items()) or "no box"
