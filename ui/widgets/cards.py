"""Figures as cards: value, interval, and change against a reference."""

from collections.abc import Iterator, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from accelerator.report import CostReport
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.lost_score import lost_metric, metric_value_text
from analysis.evaluation.measures import Interval
from analysis.evaluation.shown_inputs import Shown
from analysis.runs.run_store import Run
from figures.cost.wording import latency_interval, trust_text
from figures.style.units import format_bytes, format_energy, format_share, format_time
from ui.widgets.explain import SQNR
from ui.widgets.markdown import plain

SMALLEST_CHANGE = 0.0005  # what would be written as 0.0 %


def share_text(share: float) -> str:
    """Return a share of 1 in percent with two digits after the point."""
    return f"{100 * share:.2f} %"


def interval_text(interval: Interval) -> str:
    """Return a 95 % interval in percent."""
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f} % (95 %)"


def change_text(value: float, reference: float) -> str | None:
    """Return the change from a reference in percent of the reference; None without a change."""
    if reference in (0, value):
        return None
    change = value / reference - 1
    amount = "<0.1 %" if abs(change) < SMALLEST_CHANGE else format_share(abs(change))
    return f"{'+' if change > 0 else '-'}{amount}"


def image_strip(images: Sequence[Shown]) -> None:
    """Show images in a row with their answers; beside a wrong answer stands the right answer."""
    for column, image in zip(st.columns(max(6, len(images))), images, strict=False):
        truth = f", is {image.label}" if image.right is False else ""
        column.image(image.picture, width="stretch", alt=f"Answer: {image.answer}{truth}")
        mark = {True: ":material/check:", False: ":material/close:", None: ""}[image.right]
        column.caption(f"{mark} {plain(image.answer)}{plain(truth)}")


def cost_cards(
    report: CostReport,
    reference: CostReport | None = None,
    against: str = "",
    row: st.delta_generator.DeltaGenerator | None = None,
) -> None:
    """Show energy, latency, weight size and peak memory, with the change against a reference.

    The cards follow the present content of `row`.
    """
    old = reference or report
    figures = (
        (
            f"Energy per {report.noun}",
            format_energy,
            report.energy_pj,
            old.energy_pj,
            f"Estimated: {trust_text(report)}",
        ),
        (
            "Latency",
            format_time,
            report.latency_s,
            old.latency_s,
            f"Estimated for one {report.noun}, layer after layer{latency_interval(report)}",
        ),
        (
            "Weight size",
            format_bytes,
            report.weight_bytes,
            old.weight_bytes,
            "As the machine stores them, with scales and biases",
        ),
        (
            "Peak memory",
            format_bytes,
            report.peak_activation_bytes,
            old.peak_activation_bytes,
            f"Reached at {report.peak_activation_step}",
        ),
    )
    row = row or st.container(horizontal=True)
    for label, write, value, before, explanation in figures:
        delta = change_text(value, before)
        # a card without a change has a line as well, so that nothing moves when one appears
        row.metric(
            label,
            write(value),
            delta if delta or reference is None else "same",
            delta_color="inverse" if delta else "off",
            delta_arrow="auto" if delta else "off",
            border=True,
            height="stretch",
            help=f"{explanation}. The change is against {against}." if against else explanation,
        )


def score_cards(run: Run) -> None:
    """Show accuracy with its interval beside the float accuracy, agreement and SQNR."""
    found = run.evaluation
    row = st.container(horizontal=True)
    _top1_cards(row, found, run.cost.noun)
    user_metric_cards(row, found)  # stands for accuracy where there is no top-1
    if found.classes:
        row.metric(
            "Agreement with float",
            share_text(found.agreement),
            border=True,
            height="stretch",
            delta=interval_text(found.agreement_ci95),
            delta_color="off",
            delta_arrow="off",
            help=f"Share of {run.cost.noun}s on which both networks answer the same class",
        )
    elif found.cosine is not None:
        row.metric(
            "Output cosine",
            f"{found.cosine:.4f}",
            border=True,
            height="stretch",
            delta="1 is the same",
            delta_color="off",
            delta_arrow="off",
            help="Cosine similarity of both networks' outputs, the mean over all data",
        )
    row.metric(
        "Output SQNR",
        f"{found.sqnr_db:.1f} dB" if found.sqnr_db < 300 else "exact",
        border=True,
        height="stretch",
        delta="higher is better",
        delta_color="off",
        delta_arrow="off",
        help=f"{SQNR} Of several outputs, all count alike.",
    )
    if found.overflow:
        st.error(plain(found.overflow), icon=":material/error:")
    if found.metric_problem:
        st.warning(plain(found.metric_problem), icon=":material/function:")


def _top1_cards(row: DeltaGenerator, found: Evaluation, noun: str) -> None:
    """Show the top-1 of both networks; without labels, say so."""
    if found.quantized_top1 is not None and found.float_top1 is not None:
        spread = found.quantized_top1_ci95 or Interval(0, 1)
        row.metric(
            "Quantized top-1",
            share_text(found.quantized_top1),
            border=True,
            height="stretch",
            delta=interval_text(spread),
            delta_color="off",
            delta_arrow="off",
            help=f"On {found.samples} {noun}s; exact 95 % interval (Clopper and Pearson)",
        )
        drop = found.top1_drop_ci95 or Interval(-1, 1)
        row.metric(
            "Float top-1",
            share_text(found.float_top1),
            border=True,
            height="stretch",
            delta=f"drop {100 * (found.top1_drop or 0):.2f} points "
            f"({100 * drop.low:.2f} to {100 * drop.high:.2f})",
            delta_color="off",
            delta_arrow="off",
            help=f"The drop's interval is paired: both networks saw the same {noun}s",
        )
    elif found.classes:
        for label in ("Quantized top-1", "Float top-1"):
            row.metric(
                label,
                "?",
                border=True,
                height="stretch",
                delta="needs labels",
                delta_color="off",
                delta_arrow="off",
                help="Agreement and SQNR take its place",
            )


def user_metric_cards(row: DeltaGenerator, found: Evaluation) -> None:
    """Show the user's metric of both networks; without the metric, no cards."""
    for label, value, delta, better in _metric_rows(found):
        row.metric(
            label,
            value,
            border=True,
            height="stretch",
            delta=delta,
            delta_color="off",
            delta_arrow="off",
            help=better,
        )


def _metric_rows(found: Evaluation) -> Iterator[tuple[str, str, str, str]]:
    metric = found.metric
    if metric is None:
        return
    better = f"{'Higher' if metric.higher_is_better else 'Lower'} is better; 95 % intervals by "
    better += "bootstrap over the data, that of the change paired"
    lost, interval = lost_metric(metric), metric.quantized_ci95
    ends = "one number for all"
    if interval is not None:
        low, high = (metric_value_text(metric, end) for end in (interval.low, interval.high))
        ends = f"{low} to {high} (95 %)"
    value = metric_value_text(metric, metric.quantized_value)
    yield f"Quantized {metric.name}", value, ends, better
    change = f"change {metric.change:+.4g}"
    if lost is not None:
        change = lost.loss_sentence[0].lower() + lost.loss_sentence[1:]
    yield f"Float {metric.name}", metric_value_text(metric, metric.float_value), change, better
