"""The first page: the result, the model and the data, the configuration."""

from collections import Counter
from collections.abc import Iterator

from accelerator.machine import machine_title
from accelerator.report import CostReport
from accelerator.workload import FLOAT_BITS
from analysis.evaluation.lost_score import lost_metric, metric_value_text
from analysis.evaluation.measures import Interval
from analysis.evaluation.user_metric import MetricScore
from analysis.reporting.contents import LayerChoice, Report
from figures.cost.wording import trust_text
from figures.document.markup import (
    Html,
    bullet_list,
    exact_number,
    facts_table,
    html_element,
    html_table,
    paragraph,
)
from figures.style.units import format_bytes, format_count, format_energy, format_share, format_time

EXACT_DB = 300  # beyond it two outputs are equal


def share_value(value: float | None) -> Html:
    """Return a share of 1 in percent, with the exact share as tooltip."""
    return exact_number("unknown" if value is None else f"{100 * value:.2f} %", value)


def interval_text(interval: Interval | None) -> str:
    """Return a 95 % interval of a share in percent."""
    if interval is None:
        return ""
    return f"95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f} %"


def points_interval(interval: Interval | None) -> str:
    """Return a 95 % interval of a difference of shares, in points."""
    if interval is None:
        return ""
    return f"95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f} points"


def sqnr_value(value: float) -> Html:
    """Return an SQNR; equal outputs are exact."""
    return exact_number("exact" if value > EXACT_DB else f"{value:.1f} dB", value)


def summary_paragraph(report: Report) -> Html:
    """Return the result in a few sentences."""
    return html_element("p", " ".join(_summary_sentences(report)), class_="lead")


def _summary_sentences(report: Report) -> Iterator[str]:
    run, found = report.run, report.run.evaluation
    if found.metric is not None:
        yield from _metric_sentences(found.metric, f"{found.samples} {run.cost.noun}s")
    elif found.top1_drop is not None and found.top1_drop_ci95 is not None:
        counted = f"{found.samples} {run.cost.noun}s"
        yield _accuracy_sentence(found.top1_drop, found.top1_drop_ci95, counted)
    elif not found.classes:
        yield (
            f"On {found.samples} {run.cost.noun}s the outputs of the quantized network have an "
            f"SQNR of {found.sqnr_db:.1f} dB beside the float network's."
        )
    else:
        yield (
            f"On {found.samples} {run.cost.noun}s without labels the quantized network answers as "
            f"the float network does in {100 * found.agreement:.2f} % "
            f"({100 * found.agreement_ci95.low:.2f} to {100 * found.agreement_ci95.high:.2f})."
        )
    cost = run.cost
    yield (
        f"{'An image' if cost.noun == 'image' else 'A row'} takes an estimated "
        f"{format_energy(cost.energy_pj)} and "
        f"{format_time(cost.latency_s)} on {machine_title(cost.machine)}"
        f"{_energy_comparison(cost, report)}."
    )


def _metric_sentences(metric: MetricScore, counted: str) -> Iterator[str]:
    lost = lost_metric(metric)
    yield (
        f"On {counted}, {metric.name} goes from "
        f"{metric_value_text(metric, metric.float_value)} to "
        f"{metric_value_text(metric, metric.quantized_value)} "
        f"({'higher' if metric.higher_is_better else 'lower'} is better)."
    )
    if lost is not None:
        yield f"{lost.loss_sentence}."


def _accuracy_sentence(drop: float, interval: Interval, counted: str) -> str:
    ends = f"95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f}"
    if interval.low > 0:
        return f"Quantization loses {100 * drop:.2f} points of top-1 on {counted} ({ends})."
    if interval.high < 0:
        return f"Quantization gains {-100 * drop:.2f} points of top-1 on {counted} (loss: {ends})."
    return (
        f"Quantization makes no measurable difference in top-1 on {counted} "
        f"({100 * drop:.2f} points lost, {ends})."
    )


def _energy_comparison(cost: CostReport, report: Report) -> str:
    if report.model is None or not report.model.at_8_bits.energy_pj:
        return ""
    ratio = cost.energy_pj / report.model.at_8_bits.energy_pj
    as_float = cost.energy_pj / (report.model.as_float.energy_pj or 1.0)
    eight = "as much energy as" if _is_same_ratio(ratio) else f"{_format_change(ratio)} energy than"
    return f": {eight} at 8 bits throughout, and {format_share(as_float)} of float's"


def _is_same_ratio(ratio: float) -> bool:
    return abs(ratio - 1) < 0.0005


def _format_change(ratio: float) -> str:
    return f"{format_share(abs(1 - ratio))} {'less' if ratio < 1 else 'more'}"


def score_cards(report: Report) -> Html:
    """Return the main figures with exact numbers as tooltips."""
    found, cost = report.run.evaluation, report.run.cost
    cells = []
    if found.labelled:
        cells += [
            (
                "Quantized top-1",
                share_value(found.quantized_top1),
                interval_text(found.quantized_top1_ci95),
            ),
            ("Float top-1", share_value(found.float_top1), interval_text(found.float_top1_ci95)),
            (
                "Top-1 lost",
                _points_lost(found.top1_drop),
                points_interval(found.top1_drop_ci95) + ", paired",
            ),
        ]
    if found.classes:
        answers = share_value(found.agreement), interval_text(found.agreement_ci95)
        cells.append(("Same answer as float", *answers))
    else:
        cells.append(("Output SQNR", sqnr_value(found.sqnr_db), "higher is better"))
    cells += [
        (
            f"Energy per {cost.noun}",
            exact_number(format_energy(cost.energy_pj), cost.energy_pj),
            trust_text(cost) + _compare_with_8_bits(report, "energy_pj"),
        ),
        (
            "Latency",
            exact_number(format_time(cost.latency_s), cost.latency_s),
            "estimated" + _compare_with_8_bits(report, "latency_s"),
        ),
        (
            "Weights",
            exact_number(format_bytes(cost.weight_bytes), cost.weight_bytes),
            "as stored" + _compare_with_8_bits(report, "weight_bytes"),
        ),
        (
            "Peak memory",
            exact_number(format_bytes(cost.peak_activation_bytes), cost.peak_activation_bytes),
            f"activations, at {cost.peak_activation_step}",
        ),
    ]
    return html_element(
        "div",
        *(
            html_element(
                "div",
                html_element("div", name, class_="name"),
                html_element("div", value, class_="value"),
                html_element("div", more, class_="more"),
                class_="card",
            )
            for name, value, more in cells
        ),
        class_="cards",
    )


def _points_lost(drop: float | None) -> Html:
    return exact_number("unknown" if drop is None else f"{100 * drop:.2f} points", drop)


def _compare_with_8_bits(report: Report, figure: str) -> str:
    if report.model is None:
        return ""
    eight = getattr(report.model.at_8_bits, figure)
    if not eight:
        return ""
    ratio = getattr(report.run.cost, figure) / eight
    return (
        "; as at 8 bits" if _is_same_ratio(ratio) else f"; {_format_change(ratio)} than at 8 bits"
    )


def origin_sections(report: Report) -> Html:
    """Return the model and the data."""
    run, model = report.run, report.model
    rows: list[tuple[str, object]] = [("Name", run.model)]
    if model is not None:
        rows += [
            (
                "Input, output",
                f"{_format_shape(model.input_shape)}, {_format_shape(model.output_shape)}",
            ),
            ("Layers", f"{model.layers} after folding batch norms, {model.weighted} with weights"),
            ("Parameters", exact_number(format_count(model.parameters), model.parameters)),
            (f"MACs per {run.cost.noun}", exact_number(format_count(model.macs), model.macs)),
            ("Weights in float", format_bytes(model.as_float.weight_bytes)),
        ]
    rows.append(("Digest", html_element("code", run.model_digest)))
    images: list[tuple[str, object]] = [
        ("Name", run.data),
        (
            f"{run.cost.noun.capitalize()}s scored",
            exact_number(str(run.evaluation.samples), run.evaluation.samples),
        ),
        (
            f"{run.cost.noun.capitalize()}s that chose ranges",
            exact_number(str(run.calibration_images), run.calibration_images),
        ),
        ("Labels", "yes" if run.evaluation.labelled else "none"),
        ("Digest", html_element("code", run.data_digest)),
    ]
    return html_element(
        "section",
        html_element(
            "div", html_element("h2", "Model", id="model"), facts_table(rows), class_="together"
        ),
        html_element(
            "div",
            html_element("h2", "Data", id="data"),
            facts_table(images),
            bullet_list(report.notes) if report.notes else "",
            class_="together",
        ),
    )


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def configuration_section(report: Report) -> Html:
    """Return the configuration: the number of layers by bits, and the rules."""
    run = report.run
    content: list[object] = []
    if report.choices:
        content += [paragraph(sentence) for sentence in widths_in_words(report.choices)]
    elif run.cost.layers:
        content.append(
            paragraph("The last table has the bits of each layer, as the machine stores them.")
        )
    default = run.config.get("default", {})
    rules = run.config.get("rules", [])
    if rules:
        rows = [
            (r["select"], _spec_words(r.get("weight")), _spec_words(r.get("activation")))
            for r in rules
        ]
        rows.insert(
            0, ("all", _spec_words(default.get("weight")), _spec_words(default.get("activation")))
        )
        content += [
            html_element("h3", f"The default and {len(rules)} rules over it, in order"),
            html_table(("Layers", "Weights", "Outputs"), rows),
        ]
    elif default:
        content.append(
            facts_table(
                [
                    ("Weights, all layers", _spec_words(default.get("weight"))),
                    ("Outputs, all layers", _spec_words(default.get("activation"))),
                ]
            )
        )
    return html_element(
        "section", html_element("h2", "Configuration", id="configuration"), *content
    )


def _spec_words(spec: object) -> str:
    """Return the effective fields of a rule."""
    if not isinstance(spec, dict) or not spec:
        return ""
    left = set()
    if spec.get("granularity") != "per-group":
        left.add("group_size")
    if spec.get("estimator") != "percentile":
        left.add("percentile")
    if spec.get("scale") == "free":
        left.add("scale")
    return ", ".join(_field_words(key, value) for key, value in spec.items() if key not in left)


def _field_words(key: str, value: object) -> str:
    match key:
        case "bits":
            return "float" if value == FLOAT_BITS else f"{value} bits"
        case "symmetric":
            return "symmetric" if value else "asymmetric"
        case "group_size":
            return f"groups of {value}"
        case "percentile":
            return f"percentile {value}"
        case "scale":
            return f"scale {value}"
        case _:
            return str(value)


def widths_in_words(choices: tuple[LayerChoice, ...]) -> Iterator[str]:
    """Yield the number of layers by bits, weights first."""
    weights = Counter(c.weight_bits for c in choices if c.weight_bits is not None)
    outputs = Counter(c.output_bits for c in choices)
    for what, counts in (("Weights", weights), ("Outputs", outputs)):
        if counts:
            parts = [
                f"{_field_words('bits', bits)} in {_format_layers(count)}"
                for bits, count in sorted(counts.items(), reverse=True)
            ]
            yield f"{what}: {', '.join(parts)}."


def _format_layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
