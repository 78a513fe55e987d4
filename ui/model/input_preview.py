"""The input of the network: pictures with answers, and the numbers in the pictures."""

import streamlit as st

from analysis.evaluation.shown_inputs import ShownInputs
from ui.answers.shown_images import first_images, preview_images
from ui.state.workspace import Workspace
from ui.widgets.cards import image_strip
from ui.widgets.markdown import plain

NUMBERS_HELP = (
    "Most networks are trained on numbers from about -3 to 3. Numbers far from those of the "
    "training make a network guess."
)


def show_first_images(workspace: Workspace) -> None:
    """Show a few images of the data as the network's input, with answers and numbers."""
    if (found := first_images(workspace)) is not None:
        image_strip(found.images)
        answers = any(image.answer for image in found.images)
        st.caption(
            "Images of the data as the model sees them"
            + (", and what the float network answers." if answers else ".")
        )
        _show_numbers(found)


def preview_inputs(workspace: Workspace, preprocess: str) -> None:
    """Show the same images under the steps of the form, before the steps are in use."""
    try:
        found = preview_images(workspace, preprocess)
    except (ValueError, OSError) as error:
        st.warning(f"With these steps: {plain(str(error))}", icon=":material/crop:")
        return
    if found is None:
        return
    st.markdown("**Preview: the present images with these steps, and the answers**")
    image_strip(found.images)
    _show_numbers(found)


def _show_numbers(found: ShownInputs) -> None:
    st.caption(f":material/numbers: {plain(found.numbers.sentence())}", help=NUMBERS_HELP)
