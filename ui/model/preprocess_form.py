"""The fields for the steps from an image to an input, on the Model page."""

import json
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from data_io.image_geometry import Interpolation, ResizeTo
from data_io.pixel_scalings import PixelScaling, pixel_scalings
from data_io.preprocessing import (
    UNIT_SCALE_NOTE,
    ChannelOrder,
    Layout,
    PixelScale,
    Preprocess,
)
from quant.errors import QuantError
from ui.widgets.markdown import plain

READ_OFF = "as the numbers say"


def preprocess_form(present: str, place: str) -> str:
    """Show the steps from an image to an input; return the steps as JSON.

    Widget keys start with `place`: a new place starts from `present` again.
    """
    steps = Preprocess.from_json(present) if present else Preprocess()
    with st.expander("How an image becomes an input", icon=":material/crop:"):
        fields = {**_shape_fields(steps, place), **_scale_fields(steps, place)}
        try:
            found = Preprocess.from_json(json.dumps(_in_json(fields)))
            found = replace(found, corrections=steps.corrections)
        except ValueError as error:
            st.error(plain(str(error)))
            return present
        if found.notes:
            st.caption(f":material/info: {plain(UNIT_SCALE_NOTE)}")
        found = _corrections_box(found, place)
    return found.to_json()


def _corrections_box(steps: Preprocess, place: str) -> Preprocess:
    """Say what is put right of the data; return the steps, without it where the person says so."""
    if steps.corrections is None:
        return steps
    kept = st.checkbox(
        f"Put right: {plain(steps.corrections.description)}", value=True, key=f"{place}.corrections"
    )
    return steps if kept else replace(steps, corrections=None)


def _shape_fields(steps: Preprocess, place: str) -> dict[str, Any]:
    """Show the fields of crop, resize and layout."""
    first, second, third, fourth = st.columns(4)
    channels = first.selectbox(
        "Channels", [1, 3], index=0 if steps.channels == 1 else 1, key=f"{place}.channels"
    )
    fraction = second.number_input(
        "Centre crop first (part of the short side)",
        0.1,
        1.0,
        steps.crop_fraction or 1.0,
        step=0.005,
        format="%.3f",
        key=f"{place}.crop_fraction",
    )
    resizing = _resize_fields(steps, place, (third, fourth, first))
    crop = first.number_input("Crop last (0: no)", 0, 4096, steps.crop or 0, key=f"{place}.crop")
    interpolation = second.selectbox(
        "Interpolation",
        list(Interpolation),
        index=list(Interpolation).index(steps.interpolation),
        key=f"{place}.interpolation",
    )
    layout = third.selectbox(
        "Layout", list(Layout), index=list(Layout).index(steps.layout), key=f"{place}.layout"
    )
    order = fourth.selectbox(
        "Colours",
        list(ChannelOrder),
        index=list(ChannelOrder).index(steps.channel_order),
        key=f"{place}.colours",
        help="The order that the network was trained with; BGR in Caffe and OpenCV.",
    )
    return {
        **resizing,
        "channels": channels,
        "crop_fraction": None if fraction >= 1 else fraction,
        "crop": crop or None,
        "interpolation": interpolation,
        "layout": layout,
        "channel_order": order,
    }


def _resize_fields(
    steps: Preprocess, place: str, columns: tuple[DeltaGenerator, ...]
) -> dict[str, object]:
    """Show the fields of a resize, each in its column; the width is free where a size is forced."""
    side, kind, other = columns
    resize = side.number_input("Resize to (0: no)", 0, 4096, steps.resize or 0, key=f"{place}.re")
    resize_to = kind.selectbox(
        "which is",
        list(ResizeTo),
        index=list(ResizeTo).index(steps.resize_to),
        key=f"{place}.to",
        help="Padded keeps the proportions and fills the rest with grey 114, as the YOLO projects "
        "do (a letterbox). Boxes and masks follow.",
    )
    free = resize > 0 and resize_to is not ResizeTo.SHORT_SIDE
    width = other.number_input(
        "Resized width (0: as high)",
        0,
        4096,
        steps.resize_width or 0,
        key=f"{place}.width",
        disabled=not free,
    )
    return {
        "resize": resize or None,
        "resize_to": resize_to,
        "resize_width": (width or None) if free else None,
        "pad": steps.pad,
    }


def _scale_fields(steps: Preprocess, place: str) -> dict[str, Any]:
    """Show buttons of the common scalings, and the fields of mean and deviation."""
    scales = [READ_OFF, *PixelScale]
    keys = {name: f"{place}.{name}" for name in ("mean", "std", "scale")}
    row = st.container(horizontal=True, vertical_alignment="center")
    row.markdown("Pixels are scaled as for")
    channels = int(st.session_state.get(f"{place}.channels", steps.channels))
    for scaling in pixel_scalings(channels):
        row.button(
            scaling.short,
            key=f"{place}.{scaling.short}",
            on_click=_take_scaling,
            args=(keys, scaling),
            help=f"Sets mean and deviation for {plain(scaling.title)}",
        )
    start = PixelScale.BYTES if "scale" in json.loads(steps.to_json()) else READ_OFF
    fields = {"mean": _number_text(steps.mean), "std": _number_text(steps.std), "scale": start}
    for name, value in fields.items():  # the buttons write here: the fields get no other value
        st.session_state.setdefault(keys[name], value)
    first, second, third = st.columns(3)
    mean = first.text_input("Mean, one number per channel", key=keys["mean"])
    std = second.text_input("Standard deviation", key=keys["std"])
    scale = third.selectbox(
        "Mean and deviation are on",
        scales,
        key=keys["scale"],
        help="torchvision's are on 0..1. Where nothing is said, numbers that are all at most 1 "
        "are read as 0..1.",
    )
    return {"mean": mean, "std": std, "scale": None if scale == READ_OFF else scale}


def _take_scaling(keys: dict[str, str], scaling: PixelScaling) -> None:
    """Put the numbers of a scaling into the fields."""
    st.session_state[keys["mean"]] = _number_text(scaling.mean)
    st.session_state[keys["std"]] = _number_text(scaling.std)
    st.session_state[keys["scale"]] = PixelScale.BYTES


def _in_json(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as JSON for `Preprocess.from_json`.

    Raises:
        QuantError: mean or deviation are no numbers.
    """
    channels = fields["channels"]
    found = {key: value for key, value in fields.items() if key != "scale" or value}
    for name in ("mean", "std"):
        found[name] = _read_numbers(fields[name], channels)
    return found


def _number_text(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.10g}" for value in values)


def _read_numbers(text: str, count: int) -> list[float]:
    """Return the numbers in `text`, one for each channel; a single number serves all channels."""
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError:
        raise QuantError(f"Mean and deviation must be numbers; got {text!r}.") from None
    return values * count if len(values) == 1 else values
