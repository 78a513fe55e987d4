"""Accuracy and its causes: sensitivity, suspects, repairs, the front."""

import math
from collections import Counter
from collections.abc import Iterator

from accelerator.machine import machine_title
from analysis.cost.quantity import Quantity
from analysis.evaluation.told_score import ScoreMeasure, told_score
from analysis.evaluation.user_metric import MetricScore
from analysis.reporting.contents import LayerChoice, Report
from analysis.reporting.trade_off import TradePoint
from analysis.sensitivity.ranking import HarmMetric, available_metrics
from figures.document.markup import (
    Html,
    bullet_list,
    exact_number,
    html_element,
    html_table,
    paragraph,
)
from figures.document.plots import plot_element
from figures.document.summary import interval_text, points_interval, share_value, sqnr_value
from figures.quality.accuracy import accuracy_against_energy, accuracy_with_interval
from figures.quality.layer_sqnr import layer_images_note, sqnr_by_layer
from figures.quality.output_noise import noise_by_layer
from figures.repair.waterfall import repair_waterfall
from figures.sensitivity.ranking import worst_layers
from figures.style.units import format_bytes, format_energy, format_time
from figures.tradeoffs.report_front import trade_off_chart
from quant.simulation.plan import Side

MOST_LAYERS = 20  # two plots of 20 layers fit a page of A4
MOST_SUSPECTS = 15


def accuracy_section(report: Report) -> Html:
    """Return the scores with their intervals."""
    run = report.run
    found = run.evaluation
    rows: list[tuple[object, ...]] = []
    if found.labelled:
        rows += [
            (
                "Float top-1",
                share_value(found.float_top1),
                interval_text(found.float_top1_ci95),
                "exact",
            ),
            (
                "Quantized top-1",
                share_value(found.quantized_top1),
                interval_text(found.quantized_top1_ci95),
                "exact",
            ),
            (
                "Top-1 lost",
                exact_number(f"{100 * (found.top1_drop or 0):.2f} points", found.top1_drop),
                points_interval(found.top1_drop_ci95),
                "paired: both networks saw the same data",
            ),
        ]
    if found.classes:
        answers = share_value(found.agreement), interval_text(found.agreement_ci95)
        rows.append(("Same answer as float", *answers, "exact"))
    elif found.cosine is not None:
        rows.append(("Cosine of the output", f"{found.cosine:.4f}", "", "mean over the data"))
    rows += [
        *_metric_rows(found.metric),
        ("SQNR of the output", sqnr_value(found.sqnr_db), "", "higher is better"),
    ]
    return html_element(
        "section",
        html_element("h2", "Accuracy", id="accuracy"),
        html_table(("Figure", "Value", "Interval", "How"), rows, numeric=(1,)),
        Html("")
        if told_score(found).measure is ScoreMeasure.SQNR
        else plot_element(accuracy_with_interval([run])),
    )


def _metric_rows(found: MetricScore | None) -> Iterator[tuple[object, ...]]:
    """Yield the user's metric of both networks and the change by quantization."""
    if found is None:
        return
    better = f"{'higher' if found.higher_is_better else 'lower'} is better"
    for who, value, interval in (
        (f"Float {found.name}", found.float_value, found.float_ci95),
        (f"Quantized {found.name}", found.quantized_value, found.quantized_ci95),
        (f"Change of {found.name}", found.change, found.change_ci95),
    ):
        ends = "" if interval is None else f"{interval.low:.4g} to {interval.high:.4g}"
        yield who, f"{value:.4g}", ends, better


def _noise_plot(report: Report) -> Iterator[Html]:
    noisy = {n: db for n, db in report.run.layer_sqnr_db.items() if not math.isnan(db)}
    if not noisy:
        yield paragraph("Not measured.")
        return
    shown = dict(sorted(noisy.items(), key=lambda item: item[1])[:MOST_LAYERS])
    why = layer_images_note(report.run.cost.noun)
    note = f"{why} {_shown_note(len(shown), len(noisy), 'noisiest layers')}".strip()
    yield plot_element(
        sqnr_by_layer({name: db for name, db in noisy.items() if name in shown}), note
    )


def _shown_note(shown: int, count: int, what: str) -> str:
    return (
        "" if shown == count else f"The {shown} {what} of {count}; the last table has all layers."
    )


def reasons_section(report: Report) -> Html:
    """Return the causes: sensitivity, noise, suspects, repairs."""
    return html_element(
        "section",
        html_element("h2", "Why", id="why"),
        html_element("h3", "Sensitivity: each layer quantized alone"),
        *_sensitivity_plots(report),
        html_element("h3", "Noise: all layers quantized"),
        *_noise_plot(report),
        html_element("h3", "Suspects: tensors that the encoding does not fit"),
        *_suspects_table(report),
        html_element("h3", "Repairs applied"),
        *_repair_steps(report),
    )


def _sensitivity_plots(report: Report) -> Iterator[Html]:
    found = report.sensitivity
    if found is None or not found.scores:
        yield paragraph(
            "Not measured: no sweep of this configuration is in the run store. The noise by layer "
            "below tells how far outputs are off, not whose fault it is."
        )
        return
    counts = sorted({score.images for score in found.scores})
    images = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    how = f"{found.depth}, {images} {found.noun}s"
    yield html_element(
        "p", f"Each layer alone on its encoding, all others in float ({how}).", class_="before"
    )
    if report.noise:
        yield plot_element(
            noise_by_layer(report.noise),
            "At the bits of this configuration; noise energies of layers alone, which add up to "
            "first order.",
        )
    lossy = [HarmMetric.TASK, HarmMetric.ACCURACY]
    metric = next((one for one in lossy if one in available_metrics(found)), HarmMetric.SQNR)
    for side in found.sweep.sides:
        known = {s.question.bits for s in found.scores if s.question.side == side}
        bits = _bits_of_run(report.choices, side, known)
        if bits is not None:
            yield plot_element(worst_layers(found, metric, side, bits))


def _bits_of_run(choices: tuple[LayerChoice, ...], side: Side, known: set[int]) -> int | None:
    """Return the most frequent known bits of the run on a side; of equals the fewest."""
    weights = side is Side.WEIGHTS
    used = [choice.weight_bits if weights else choice.output_bits for choice in choices]
    counts = Counter(bits for bits in used if bits in known)
    return max(sorted(counts), key=lambda bits: counts[bits], default=None)


def _suspects_table(report: Report) -> Iterator[Html]:
    if report.suspects is None:
        yield paragraph("Not examined: the model was not loaded for this report.")
        return
    if not report.suspects:
        yield paragraph("None: every examined encoding fits its tensor.")
        return
    shown = report.suspects[:MOST_SUSPECTS]
    if len(shown) < len(report.suspects):
        yield html_element(
            "p", f"The worst {len(shown)} of {len(report.suspects)}.", class_="before"
        )
    rows = [
        (
            item.layer_name,
            item.distribution.side.noun,
            f"{item.bits_lost:.1f}",
            " ".join(finding.sentence for finding in item.findings),
        )
        for item in shown
    ]
    yield html_table(
        ("Layer", "Tensor", "Bits lost", "Findings"), rows, numeric=(2,), class_="wide"
    )


def _repair_steps(report: Report) -> Iterator[Html]:
    if not report.run.recipe:
        yield paragraph("None: this is plain quantization.")
        return
    yield html_element("p", "In this order:", class_="before")
    yield bullet_list(report.run.recipe)
    found = report.repairs
    if found is None:
        return
    yield plot_element(repair_waterfall(found.titles, found.scores))
    yield bullet_list(found.verdicts)


def front_section(report: Report) -> Html:
    """Return the front with the chosen point; without a front, other runs beside the run."""
    content: list[object] = [html_element("h2", "Trade-off", id="front")]
    found = report.front
    if found is not None:
        content += [
            plot_element(
                trade_off_chart(found),
                f"On {machine_title(found.machine)}. The star is this run, measured.",
            ),
            html_table(
                ("Configuration", "Kind", str(found.quantity).capitalize(), "Lost", "Output SQNR"),
                [
                    _point_row(point, kind, found.quantity)
                    for kind, group in (
                        ("front, predicted", found.predicted),
                        ("uniform, predicted", found.references),
                        ("measured", found.measured),
                        ("chosen, measured", () if found.chosen is None else (found.chosen,)),
                    )
                    for point in group
                ],
                numeric=(2, 4),
            ),
        ]
    else:
        content.append(
            html_element(
                "p",
                "No front of other choices of bits was computed for this report."
                + (" Other runs of the same model on the same data:" if report.others else ""),
                class_="before",
            )
        )
    if report.others:
        runs = [report.run, *report.others]
        content.append(plot_element(accuracy_against_energy(runs)))
    return html_element("section", *content)


def _point_row(point: TradePoint, kind: str, quantity: Quantity) -> tuple[object, ...]:
    lost: object = "unknown"
    if point.loss is not None:
        ends = f" ({points_interval(point.loss_ci95)})" if point.loss_ci95 else ""
        lost = html_element(
            "span", exact_number(f"{100 * point.loss:.2f} points", point.loss), ends
        )
    cost = exact_number(_cost_text(quantity, point.cost), point.cost)
    return point.name, kind, cost, lost, sqnr_value(point.sqnr_db)


def _cost_text(quantity: Quantity, value: float) -> str:
    match quantity:
        case Quantity.ENERGY:
            return format_energy(value)
        case Quantity.LATENCY:
            return format_time(value)
        case Quantity.BOPS:
            return f"{value / 1e9:.3g} G"
        case _:
            return format_bytes(value)
