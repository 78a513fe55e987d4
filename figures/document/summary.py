"""The first page: what came out, on which model and data, with which configuration."""

from collections import Counter
from collections.abc import Iterator

from accelerator.report import CostReport
from accelerator.workload import FLOAT_BITS
from analysis.evaluation.measures import Interval
from analysis.reporting.contents import LayerChoice, Report
from figures.document.markup import Html, bullets, facts, number, paragraph, table, tag
from figures.style.units import format_bytes, format_count, format_energy, format_share, format_time

EXACT_DB = 300  # beyond it two outputs are the same numbers


def share(value: float | None) -> Html:
    """Return a share of 1 in percent, with the exact share beside it."""
    return number("unknown" if value is None else f"{100 * value:.2f} %", value)


def spread(interval: Interval | None) -> str:
    """Return a 95 % interval of a share in percent."""
    if interval is None:
        return ""
    return f"95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f} %"


def points(interval: Interval | None) -> str:
    """Return a 95 % interval of a difference of shares, in points."""
    if interval is None:
        return ""
    return f"95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f} points"


def decibels(value: float) -> Html:
    """Return an SQNR; outputs that are the same numbers are exact."""
    return number("exact" if value > EXACT_DB else f"{value:.1f} dB", value)


def summary(report: Report) -> Html:
    """Return what came out in a few sentences."""
    return tag("p", " ".join(_sentences(report)), class_="lead")


def _sentences(report: Report) -> Iterator[str]:
    run, found = report.run, report.run.evaluation
    if found.top1_drop is not None and found.top1_drop_ci95 is not None:
        yield _accuracy(found.top1_drop, found.top1_drop_ci95, found.samples)
    elif not found.classes:
        yield (
            f"On {found.samples} samples the outputs of the quantized network have an SQNR of "
            f"{found.sqnr_db:.1f} dB beside the float network's."
        )
        if found.metric is not None:
            yield (
                f"{found.metric.name} goes from {found.metric.float_value:.4g} to "
                f"{found.metric.quantized_value:.4g} "
                f"({'higher' if found.metric.higher_is_better else 'lower'} is better)."
            )
    else:
        yield (
            f"On {found.samples} images without labels the quantized network answers as the float "
            f"network does in {100 * found.agreement:.2f} % "
            f"({100 * found.agreement_ci95.low:.2f} to {100 * found.agreement_ci95.high:.2f})."
        )
    cost = run.cost
    yield (
        f"An image takes an estimated {format_energy(cost.energy_pj)} and "
        f"{format_time(cost.latency_s)} on {cost.machine}"
        f"{_relative(cost, report)}."
    )


def _accuracy(drop: float, interval: Interval, samples: int) -> str:
    ends = f"95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f}"
    if interval.low > 0:
        return f"Quantization loses {100 * drop:.2f} points of top-1 on {samples} images ({ends})."
    if interval.high < 0:
        return (
            f"Quantization gains {-100 * drop:.2f} points of top-1 on {samples} images (loss: "
            f"{ends})."
        )
    return (
        f"Quantization makes no measurable difference in top-1 on {samples} images "
        f"({100 * drop:.2f} points lost, {ends})."
    )


def _relative(cost: CostReport, report: Report) -> str:
    if report.model is None or not report.model.at_8_bits.energy_pj:
        return ""
    ratio = cost.energy_pj / report.model.at_8_bits.energy_pj
    as_float = cost.energy_pj / (report.model.as_float.energy_pj or 1.0)
    eight = "as much energy as" if _same(ratio) else f"{_change(ratio)} energy than"
    return f": {eight} at 8 bits throughout, and {format_share(as_float)} of float's"


def _same(ratio: float) -> bool:
    return abs(ratio - 1) < 0.0005


def _change(ratio: float) -> str:
    return f"{format_share(abs(1 - ratio))} {'less' if ratio < 1 else 'more'}"


def cards(report: Report) -> Html:
    """Return the figures at a glance, exact ones behind them."""
    found, cost = report.run.evaluation, report.run.cost
    cells = []
    if found.labelled:
        cells += [
            ("Quantized top-1", share(found.quantized_top1), spread(found.quantized_top1_ci95)),
            ("Float top-1", share(found.float_top1), spread(found.float_top1_ci95)),
            ("Top-1 lost", _lost(found.top1_drop), points(found.top1_drop_ci95) + ", paired"),
        ]
    if found.classes:
        answers = share(found.agreement), spread(found.agreement_ci95)
        cells.append(("Same answer as float", *answers))
    else:
        cells.append(("Output SQNR", decibels(found.sqnr_db), "higher is better"))
    cells += [
        (
            "Energy an image",
            number(format_energy(cost.energy_pj), cost.energy_pj),
            "estimated, ±40 %" + _against(report, "energy_pj"),
        ),
        (
            "Latency",
            number(format_time(cost.latency_s), cost.latency_s),
            "estimated" + _against(report, "latency_s"),
        ),
        (
            "Weights",
            number(format_bytes(cost.weight_bytes), cost.weight_bytes),
            "as stored" + _against(report, "weight_bytes"),
        ),
        (
            "Peak memory",
            number(format_bytes(cost.peak_activation_bytes), cost.peak_activation_bytes),
            f"activations, at {cost.peak_activation_step}",
        ),
    ]
    return tag(
        "div",
        *(
            tag(
                "div",
                tag("div", name, class_="name"),
                tag("div", value, class_="value"),
                tag("div", more, class_="more"),
                class_="card",
            )
            for name, value, more in cells
        ),
        class_="cards",
    )


def _lost(drop: float | None) -> Html:
    return number("unknown" if drop is None else f"{100 * drop:.2f} points", drop)


def _against(report: Report, figure: str) -> str:
    if report.model is None:
        return ""
    eight = getattr(report.model.at_8_bits, figure)
    if not eight:
        return ""
    ratio = getattr(report.run.cost, figure) / eight
    return "; as at 8 bits" if _same(ratio) else f"; {_change(ratio)} than at 8 bits"


def origin_sections(report: Report) -> Html:
    """Return the model and the data."""
    run, model = report.run, report.model
    rows: list[tuple[str, object]] = [("Name", run.model)]
    if model is not None:
        rows += [
            ("Input, output", f"{_by(model.input_shape)}, {_by(model.output_shape)}"),
            ("Layers", f"{model.layers} after folding batch norms, {model.weighted} with weights"),
            ("Parameters", number(format_count(model.parameters), model.parameters)),
            ("MACs an image", number(format_count(model.macs), model.macs)),
            ("Weights in float", format_bytes(model.as_float.weight_bytes)),
        ]
    rows.append(("Digest", tag("code", run.model_digest)))
    images: list[tuple[str, object]] = [
        ("Name", run.data),
        ("Images scored", number(str(run.evaluation.samples), run.evaluation.samples)),
        ("Images that chose ranges", number(str(run.calibration_images), run.calibration_images)),
        ("Labels", "yes" if run.evaluation.labelled else "none"),
        ("Digest", tag("code", run.data_digest)),
    ]
    return tag(
        "section",
        tag("div", tag("h2", "Model", id="model"), facts(rows), class_="together"),
        tag(
            "div",
            tag("h2", "Data", id="data"),
            facts(images),
            bullets(report.notes) if report.notes else "",
            class_="together",
        ),
    )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def configuration_section(report: Report) -> Html:
    """Return the chosen configuration: how many layers have which bits, and the rules."""
    run = report.run
    content: list[object] = []
    if report.choices:
        content += [paragraph(sentence) for sentence in widths_in_words(report.choices)]
    elif run.cost.layers:
        content.append(paragraph("Bits by layer stand in the last table, as the machine saw them."))
    default = run.config.get("default", {})
    rules = run.config.get("rules", [])
    if rules:
        rows = [(r["select"], _words(r.get("weight")), _words(r.get("activation"))) for r in rules]
        rows.insert(0, ("all", _words(default.get("weight")), _words(default.get("activation"))))
        content += [
            tag("h3", f"The default and {len(rules)} rules over it, in order"),
            table(("Layers", "Weights", "Outputs"), rows),
        ]
    elif default:
        content.append(
            facts(
                [
                    ("Weights, all layers", _words(default.get("weight"))),
                    ("Outputs, all layers", _words(default.get("activation"))),
                ]
            )
        )
    return tag("section", tag("h2", "Configuration", id="configuration"), *content)


def _words(spec: object) -> str:
    """Return the fields that a rule sets; those that mean nothing where others stand are left."""
    if not isinstance(spec, dict) or not spec:
        return ""
    left = set()
    if spec.get("granularity") != "per-group":
        left.add("group_size")
    if spec.get("estimator") != "percentile":
        left.add("percentile")
    if spec.get("scale") == "free":
        left.add("scale")
    return ", ".join(_word(key, value) for key, value in spec.items() if key not in left)


def _word(key: str, value: object) -> str:
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
    """Yield how many layers have which bits, weights first."""
    weights = Counter(c.weight_bits for c in choices if c.weight_bits is not None)
    outputs = Counter(c.output_bits for c in choices)
    for what, counts in (("Weights", weights), ("Outputs", outputs)):
        if counts:
            told = [
                f"{_word('bits', bits)} in {_layers(count)}"
                for bits, count in sorted(counts.items(), reverse=True)
            ]
            yield f"{what}: {', '.join(told)}."


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
