"""A figure on a page, under its title as text of the page."""

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from figures import Figure, takeaway
from figures.style.layout import set_height, without_title
from ui.widgets.markdown import plain


def show_figure(
    figure: Figure,
    key: str,
    place: DeltaGenerator | None = None,
    *,
    on_select: Callable[[], None] | None = None,
    toolbar: bool = True,
    height_px: int | None = None,
) -> None:
    """Draw a figure with its title above it; a title of the page wraps at the figure's width.

    `on_select` is called at a click on a point. `toolbar` shows Plotly's buttons under the mouse.
    `height_px` is the height without the title, if another than the figure's.
    """
    title = takeaway(figure)
    box = (place or st).container(gap="xxsmall")
    if title:
        box.markdown(f"**{plain(title)}**")
    drawn = without_title(figure)
    if height_px is not None:
        set_height(drawn, height_px)
    box.plotly_chart(
        drawn,
        key=key,
        alt=title,
        on_select=on_select or "ignore",
        selection_mode="points",
        config={} if toolbar else {"displayModeBar": False},
    )
