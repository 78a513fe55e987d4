"""The layout of the figures: a title with the takeaway, fitting names, sufficient heights."""

import html
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

from figures.style.units import format_count

ROW_PX = 18
MOST_ROWS_PX = 640
"""The height of the rows of a chart, however many: such a chart is seen at once in a window."""
LABEL_PX = 13
NAMED_FIRST = 12
"""The foremost rows, whose names are written even where not all names have room."""
TITLE_PX = 16
TITLE_LINE_PX = 22
AXIS_LINE_PX = 18
TITLE_GAP_PX = 16  # space above the plot for the topmost tick label
TITLE_WIDTH = 56
HALF_WIDTH = 32
"""Letters per title line of a figure beside another figure, in a narrow window too."""
NAME_LENGTH = 26
_WORDS = (
    "No",
    "One",
    "Two",
    "Three",
    "Four",
    "Five",
    "Six",
    "Seven",
    "Eight",
    "Nine",
    "Ten",
    "Eleven",
    "Twelve",
)


def takeaway(figure: go.Figure) -> str:
    """Return the figure's title as plain text, for a caption or alt text."""
    text = str(figure.layout.title.text or "")
    return html.unescape(text.replace("<br>", " "))


def finish_figure(
    figure: go.Figure,
    title: str,
    plot_px: int,
    *,
    legend_below: bool = False,
    subtitle_px: int = 0,
    title_width: int = TITLE_WIDTH,
) -> go.Figure:
    """Give a figure its title, height and margins; return the same figure.

    `plot_px` is the height of the plot without title and axis, `subtitle_px` the free space between
    title and plot, `title_width` the letters per title line. The page's theme sets the colours of
    text, grid lines and background.
    """
    lines = wrap_title(title, title_width)
    top = 8 + TITLE_GAP_PX + TITLE_LINE_PX * len(lines) + subtitle_px
    over_plot = TITLE_GAP_PX + subtitle_px
    above = round(1.3 * TITLE_PX * (len(lines) - 1))  # Plotly anchors the first line, not the last
    more_lines = AXIS_LINE_PX * _most_breaks(figure)
    bottom = (110 if legend_below else 56) + more_lines
    figure.update_layout(
        title={
            "text": "<br>".join(escape_markup(line) for line in lines),
            "x": 0,
            "xanchor": "left",
            "font": {"size": TITLE_PX},
            "yref": "paper",
            "y": 1,
            "yanchor": "bottom",
            "pad": {"b": over_plot + above},
        },
        height=top + plot_px + bottom,
        margin={"t": top, "b": bottom, "l": 8, "r": 16},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"align": "left", "namelength": -1},
        legend={"traceorder": "normal"},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    if legend_below:
        figure.update_layout(
            legend={
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": -(52 + more_lines) / plot_px,
                "yanchor": "top",
            }
        )
    return figure


def _most_breaks(figure: go.Figure) -> int:
    """Return the line breaks of the x axis title that has most."""
    titles = (str(axis.title.text or "") for axis in figure.select_xaxes())
    return max((title.count("<br>") for title in titles), default=0)


def without_title(figure: go.Figure) -> go.Figure:
    """Return a copy of a finished figure without its title and the height of the title's lines.

    Plotly does not check what is set in the copy later: the copy is valid as the figure is, and
    checking it again takes four times as long.
    """
    text = figure.layout.title.text
    copy = go.Figure(figure.to_dict(), _validate=False)
    if text:
        spared = TITLE_LINE_PX * (text.count("<br>") + 1)
        copy.layout.title.text = None
        copy.update_layout(
            height=figure.layout.height - spared, margin_t=figure.layout.margin.t - spared
        )
    return copy


def set_height(figure: go.Figure, height_px: int) -> go.Figure:
    """Give a finished figure another height; a legend below keeps its distance in pixels."""
    layout = figure.layout
    sides = layout.margin.t + layout.margin.b
    before, after = layout.height - sides, height_px - sides
    figure.update_layout(height=height_px)
    if layout.legend.y is not None and layout.legend.y < 0:
        figure.update_layout(legend_y=layout.legend.y * before / after)
    return figure


def decade_axis(low: float, high: float) -> dict[str, object]:
    """Return a log axis over whole powers of ten from `low` to `high`, with SI prefixes."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = range(first, last + 1)
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": [10.0**power for power in powers],
        "ticktext": [format_count(10.0**power) for power in powers],
    }


def rows_height_px(rows: int, row_px: int = ROW_PX) -> int:
    """Return the height in pixels for `rows` rows; more than fit are drawn closer together."""
    return min(max(90, row_px * rows), MOST_ROWS_PX)


def mark_px(rows: int, largest: int = 9) -> int:
    """Return the size in pixels of a mark in one of `rows` rows, smaller where rows are close."""
    return max(4, min(largest, round(1.2 * rows_height_px(rows) / max(rows, 1))))


def rows_with_label(rows: int, first: Iterable[int] = ()) -> list[int]:
    """Return the rows whose names fit beside the chart, in order.

    Those in `first` come before the others, the first of them before the next. Example: all of 30
    rows, but about each third of 139.
    """
    apart = math.ceil(LABEL_PX * rows / rows_height_px(rows)) if rows else 1
    free, chosen = [True] * rows, []
    for row in (*first, *range(rows)):
        if free[row]:
            chosen.append(row)
            near = range(max(0, row - apart + 1), min(rows, row + apart))
            for other in near:
                free[other] = False
    return sorted(chosen)


def label_rows(
    figure: go.Figure,
    names: Sequence[str],
    title: str | None = None,
    first: Iterable[int] = (),
) -> None:
    """Name the rows 0, 1, ... of a horizontal chart, the first on top.

    Rows are numbers because Plotly would read layers called "0" and "1" as numbers. Where there is
    no room for all names, those of the rows in `first` are written before others.
    """
    short = shorten_names(names)
    labelled = rows_with_label(len(names), first)
    figure.update_yaxes(
        title=title,
        tickmode="array",
        tickvals=labelled,
        ticktext=[escape_markup(short[row]) for row in labelled],
        range=[len(names) - 0.5, -0.5],
        zeroline=False,
        showgrid=False,
    )


def shorten_name(name: str, length: int = NAME_LENGTH) -> str:
    """Cut a name in the middle, where paths differ least; both ends stay."""
    if len(name) <= length:
        return name
    tail = (length - 1) * 2 // 3
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def shorten_names(names: Iterable[str], length: int = NAME_LENGTH) -> list[str]:
    """Shorten names so that different names stay different; equal short forms get a number."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        short = shorten_name(name, length)
        seen[short] = seen.get(short, 0) + 1
        result.append(short if seen[short] == 1 else f"{short} ({seen[short]})")
    return result


def escape_markup(text: str) -> str:
    """Escape markup, so that a name such as "<lambda>" stays readable."""
    return html.escape(text, quote=False)


def wrap_title(text: str, width: int = TITLE_WIDTH) -> list[str]:
    """Break a title into lines; a number stays on the line of its unit."""
    bound = re.sub(r"(?<=\d) (?=\S)", "\N{NO-BREAK SPACE}", text)
    lines = textwrap.wrap(bound, width, break_long_words=True, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines] or [""]


def count_word(count: int) -> str:
    """Return a count as a word for the start of a sentence, as a number from 13 on."""
    return _WORDS[count] if count < len(_WORDS) else str(count)


def fewest_for_half(values: Mapping[str, float]) -> list[str]:
    """Return the fewest names whose values make at least half of the sum, largest first."""
    total, reached = sum(values.values()), 0.0
    chosen = []
    for name in sorted(values, key=lambda key: -values[key]):
        chosen.append(name)
        reached += values[name]
        if reached >= total / 2:
            break
    return chosen
