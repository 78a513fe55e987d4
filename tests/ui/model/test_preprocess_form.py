"""The form of the steps from an image to an input: a resize to a rectangle, padded or not."""

import json

from streamlit.testing.v1 import AppTest

from data_io.image_geometry import ResizeTo


def show_form() -> None:
    """Draw the form, and write the steps down where the test finds them."""
    import streamlit as st

    from ui.model.preprocess_form import preprocess_form

    st.session_state["found"] = preprocess_form("", "here")


def test_the_width_is_free_where_a_size_is_forced() -> None:
    form = AppTest.from_function(show_form).run()
    assert form.number_input(key="here.width").disabled
    form.number_input(key="here.re").set_value(24)
    form.selectbox(key="here.to").set_value(ResizeTo.PADDED)
    form.run()
    form.number_input(key="here.width").set_value(60)
    form.run()
    found = json.loads(form.session_state["found"])
    assert (found["resize"], found["resize_width"], found["resize_to"]) == (24, 60, "padded")
    form.selectbox(key="here.to").set_value(ResizeTo.SHORT_SIDE)
    form.run()
    assert not form.error
    assert "resize_width" not in json.loads(form.session_state["found"])
