"""Tags and notes of runs: written by a person, shown literally."""

from collections.abc import Sequence

import streamlit as st

from analysis.runs.run_store import MOST_NOTE, MOST_TAG, MOST_TAGS, Run
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain


def annotation_box(workspace: Workspace, run: Run) -> None:
    """Let the person write tags and a note for a run; a looked-at session allows no change."""
    with st.popover("Tags and note", icon=":material/label:"):
        tags = st.text_input(
            "Tags, with commas between",
            ", ".join(run.tags),
            key=f"runs.tags.{run.id}",
            placeholder="baseline, for the review",
            max_chars=MOST_TAGS * (MOST_TAG + 2),
        )
        note = st.text_area("Note", run.note, key=f"runs.note.{run.id}", max_chars=MOST_NOTE)
        if st.button("Keep them", key="runs.annotate", disabled=workspace.opened is not None):
            try:
                workspace.store.annotate_run(run.id, tags.split(","), note)
            except ValueError as error:
                st.error(plain(str(error)))
                return
            st.rerun()


def show_annotation(run: Run) -> None:
    """Show the tags and the note of a run."""
    if run.tags:
        st.caption(f":material/label: {plain(', '.join(run.tags))}")
    if run.note:
        st.markdown(f":material/sticky_note_2: {plain(run.note)}")


def filter_by_tag(runs: Sequence[Run]) -> list[Run]:
    """Let the person choose tags, where runs have some; return the runs with one of the tags."""
    known = sorted({tag for run in runs for tag in run.tags})
    if not known:
        return list(runs)
    chosen = st.multiselect(
        "Runs with the tag",
        known,
        key="runs.tag_filter",
        persist_state="session",
        placeholder="All runs",
    )
    found = [run for run in runs if not chosen or set(chosen) & set(run.tags)]
    return found or list(runs)
