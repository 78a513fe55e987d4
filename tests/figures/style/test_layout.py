import itertools

import plotly.graph_objects as go
import pytest

from figures.style.layout import (
    AXIS_LINE_PX,
    LABEL_PX,
    MOST_ROWS_PX,
    NAME_LENGTH,
    TITLE_LINE_PX,
    TITLE_WIDTH,
    count_word,
    decade_axis,
    fewest_for_half,
    finish_figure,
    label_rows,
    rows_height_px,
    rows_with_label,
    set_height,
    shorten_name,
    shorten_names,
    takeaway,
    without_title,
    wrap_title,
)

LONG = "features.stage3.block12.inverted_residual.depthwise.conv"


def test_short_names_stay() -> None:
    assert shorten_name("stem.0") == "stem.0"


def test_long_names_keep_both_ends() -> None:
    short = shorten_name(LONG)
    assert len(short) == NAME_LENGTH
    begin, end = short.split("…")
    assert LONG.startswith(begin)
    assert LONG.endswith(end)


def test_shortened_names_stay_unique() -> None:
    names = [f"features.{i}.block.inverted_residual.depthwise.conv" for i in range(200)]
    assert len(set(shorten_names(names))) == 200


@pytest.mark.parametrize("title", ["", "Short", "A < B & <b>C</b>", "word " * 40])
def test_the_takeaway_is_the_title(title: str) -> None:
    figure = finish_figure(go.Figure(), title.strip(), 100)
    assert takeaway(figure) == title.strip()


def test_titles_wrap_between_words_and_keep_numbers_with_units() -> None:
    text = "A run without a measurable loss of accuracy needs only 114 µJ per image on it"
    lines = wrap_title(text)
    assert " ".join(lines) == text
    assert all(len(line) <= TITLE_WIDTH for line in lines)
    assert any("114 µJ" in line for line in lines)


def test_markup_in_a_title_is_text() -> None:
    figure = finish_figure(go.Figure(), "<i>x</i>", 100)
    assert figure.layout.title.text == "&lt;i&gt;x&lt;/i&gt;"


def test_a_longer_title_makes_a_taller_figure_with_the_same_plot() -> None:
    heights = []
    for title in ("short", "word " * 30):
        layout = finish_figure(go.Figure(), title, 100).layout
        heights.append(layout.height - layout.margin.t - layout.margin.b)
    assert heights == [100, 100]


def test_without_its_title_a_figure_keeps_its_plot() -> None:
    figure = finish_figure(go.Figure(), "word " * 30, 100)
    layout = without_title(figure).layout
    assert layout.title.text is None
    assert layout.height - layout.margin.t - layout.margin.b == 100
    assert layout.margin.t == finish_figure(go.Figure(), "", 100).layout.margin.t - TITLE_LINE_PX
    assert takeaway(figure), "the figure itself keeps it"


def test_an_enlarged_figure_keeps_its_legend_near_its_plot() -> None:
    figure = set_height(finish_figure(go.Figure(), "t", 70, legend_below=True), 480)
    layout = figure.layout
    plot_px = layout.height - layout.margin.t - layout.margin.b
    assert layout.height == 480
    assert layout.legend.y * plot_px == pytest.approx(-52)


def test_the_page_chooses_text_and_background() -> None:
    layout = finish_figure(go.Figure(), "t", 100).layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert layout.font.color is None
    assert layout.title.font.color is None


def test_half() -> None:
    assert fewest_for_half({"a": 1.0, "b": 5.0, "c": 2.0}) == ["b"]
    assert fewest_for_half({"a": 1.0, "b": 1.0, "c": 1.0}) == ["a", "b"]


def test_counting() -> None:
    assert [count_word(n) for n in (0, 1, 12, 13)] == ["No", "One", "Twelve", "13"]


def test_decades_cover_the_range() -> None:
    axis = decade_axis(3e8, 2e11)
    assert axis["tickvals"] == [1e8, 1e9, 1e10, 1e11, 1e12]
    assert axis["ticktext"] == ["100 M", "1 G", "10 G", "100 G", "1 T"]


@pytest.mark.parametrize("rows", [1, 12, 30, 60, 139, 1000])
def test_all_rows_are_seen_in_one_window_with_names_that_do_not_touch(rows: int) -> None:
    height = rows_height_px(rows)
    assert height <= MOST_ROWS_PX
    labelled = rows_with_label(rows)
    gaps = [after - before for before, after in itertools.pairwise(labelled)]
    assert all(gap * height / rows >= LABEL_PX for gap in gaps)
    assert len(labelled) == rows if rows <= 35 else len(labelled) >= 30


def test_foremost_rows_keep_their_names_where_not_all_have_room() -> None:
    figure = go.Figure()
    label_rows(figure, [f"layer {row}" for row in range(139)], first=[70, 71, 7])
    names = figure.layout.yaxis.ticktext
    assert {"layer 70", "layer 7"} <= set(names)
    assert "layer 71" not in names  # its place is taken by the row before


def test_a_legend_below_leaves_room_for_each_line_of_the_axis_title() -> None:
    one = go.Figure().update_xaxes(title="SQNR (dB)")
    two = go.Figure().update_xaxes(title="SQNR (dB),<br>higher is better")
    for figure in (one, two):
        finish_figure(figure, "Title", 200, legend_below=True)
    lower = -200 * (two.layout.legend.y - one.layout.legend.y)
    assert lower == pytest.approx(AXIS_LINE_PX)
    assert two.layout.height - one.layout.height == AXIS_LINE_PX
