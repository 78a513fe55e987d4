"""The fields for the steps from an image to an input, on the Model page."""

import streamlit as st

from data_io.preprocessing import Interpolation, Layout, Preprocess, ResizeTo
from quant.errors import QuantError
from ui.widgets.markdown import plain


def preprocess_form(present: str, place: str) -> str:
    """Show the steps from an image to an input; return the steps as JSON.

    Widget keys start with `place`: a new place starts from `present` again.
    """
    steps = Preprocess.from_json(present) if present else Preprocess()
    with st.expander("How an image becomes an input", icon=":material/crop:"):
        first, second, third, fourth = st.columns(4)
        channels = first.selectbox(
            "Channels", [1, 3], index=0 if steps.channels == 1 else 1, key=f"{place}.channels"
        )
        fraction = second.number_input(
            "Centre crop first (part of the short side)", 0.1, 1.0, steps.crop_fraction or 1.0,
            step=0.005, format="%.3f", key=f"{place}.crop_fraction",
        )  # fmt: skip
        resize = third.number_input(
            "Resize to (0: no)", 0, 4096, steps.resize or 0, key=f"{place}.re"
        )
        resize_to = fourth.selectbox(
            "which is",
            list(ResizeTo),
            index=list(ResizeTo).index(steps.resize_to),
            key=f"{place}.to",
        )
        crop = first.number_input(
            "Crop last (0: no)", 0, 4096, steps.crop or 0, key=f"{place}.crop"
        )
        interpolation = second.selectbox(
            "Interpolation", list(Interpolation),
            index=list(Interpolation).index(steps.interpolation), key=f"{place}.interpolation",
        )  # fmt: skip
        mean = third.text_input("Mean (0 to 255)", _number_text(steps.mean), key=f"{place}.mean")
        std = fourth.text_input("Standard deviation", _number_text(steps.std), key=f"{place}.std")
        layout = first.selectbox(
            "Layout", list(Layout), index=list(Layout).index(steps.layout), key=f"{place}.layout"
        )
    try:
        result = Preprocess(
            channels=channels,
            crop_fraction=None if fraction >= 1 else fraction,
            resize=resize or None,
            resize_to=resize_to or steps.resize_to,
            interpolation=interpolation or steps.interpolation,
            crop=crop or None,
            mean=_read_numbers(mean, channels),
            std=_read_numbers(std, channels),
            layout=layout or steps.layout,
        )
    except ValueError as error:
        st.error(plain(str(error)))
        return present
    return result.to_json()


def _number_text(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _read_numbers(text: str, count: int) -> tuple[float, ...]:
    """Return the numbers in `text` by channel; a single number serves all channels."""
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise QuantError(f"Mean and deviation must be numbers; got {text!r}.") from None
    return values * count if len(values) == 1 else values
