"""What has to be kept: weights, and activations at their peak."""

from collections.abc import Mapping

import plotly.graph_objects as go

from accelerator.report import CostReport
from figures.style.layout import escape, finish, label_rows, rows_px, shorten
from figures.style.palette import ACTIVATION, WEIGHT
from figures.style.units import bytes_scale, format_bytes, format_share


def memory_comparison(reports: Mapping[str, CostReport]) -> go.Figure:
    """Return weight size and peak activation memory for each named report, in the order given.

    Raises:
        ValueError: there is no report.
    """
    if not reports:
        raise ValueError("A comparison needs a report; got none. Choose a run.")
    weights = {name: report.weight_bytes for name, report in reports.items()}
    peaks = {name: report.peak_activation_bytes for name, report in reports.items()}
    factor, unit = bytes_scale(max(*weights.values(), *peaks.values()))
    figure = go.Figure()
    for label, sizes, color in (
        ("Weights", weights, WEIGHT),
        ("Activations at their peak", peaks, ACTIVATION),
    ):
        figure.add_bar(
            name=label,
            orientation="h",
            x=[factor * size for size in sizes.values()],
            y=list(range(len(sizes))),
            marker={"color": color, "line": {"width": 0}},
            customdata=[
                [escape(name), format_bytes(size), _alive(reports[name], label)]
                for name, size in sizes.items()
            ],
            hovertemplate=(
                f"<b>%{{customdata[0]}}</b><br>{label}: %{{customdata[1]}}%{{customdata[2]}}"
                "<extra></extra>"
            ),
        )
    figure.update_layout(barmode="group", bargap=0.3)
    figure.update_xaxes(title=f"Memory ({unit}), lower is better", rangemode="tozero")
    label_rows(figure, list(reports))
    title = _title(weights, peaks)
    return finish(figure, title, rows_px(len(reports), 44), legend_below=True)


def _alive(report: CostReport, label: str) -> str:
    if label == "Weights":
        return ""
    tensors = ", ".join(escape(name) for name in report.peak_tensors)
    return f"<br>during {escape(report.peak_activation_step)}<br>alive: {tensors}"


def _title(weights: Mapping[str, int], peaks: Mapping[str, int]) -> str:
    if len(weights) == 1:
        name = next(iter(weights))
        return f"{format_bytes(weights[name])} of weights, {format_bytes(peaks[name])} at the peak"
    least, most = (pick(weights, key=weights.__getitem__) for pick in (min, max))
    if weights[least] == weights[most]:
        return "The weights take the same memory in all runs"
    saved = format_share(1 - weights[least] / weights[most])
    return f"{shorten(least, 30)} needs {saved} less weight memory than {shorten(most, 30)}"
