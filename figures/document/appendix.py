"""The last pages of the report: how to reproduce the run, and every layer in full."""

import json

from accelerator.report import LayerCost
from accelerator.workload import WEIGHT_KINDS
from analysis.reporting.contents import LayerChoice, Report
from analysis.reporting.reproduce import (
    CONFIG_FILE,
    PREPROCESS_FILE,
    command_for_run,
    repairs_beyond_command,
)
from analysis.runs.json_values import plain_from_result
from figures.document.markup import (
    Html,
    exact_number,
    facts_table,
    html_element,
    html_table,
    paragraph,
)
from figures.document.plots import script_json
from figures.document.summary import sqnr_value
from figures.style.units import format_energy, format_time


def reproduce_section(report: Report) -> Html:
    """Return versions, seed, digests, the command, and the files that the command names."""
    run = report.run
    content: list[object] = [
        facts_table(
            [
                ("Run", html_element("code", run.id)),
                ("Model digest", html_element("code", run.model_digest)),
                ("Data digest", html_element("code", run.data_digest)),
                ("Seed", exact_number(str(run.seed), run.seed)),
                *((name, version) for name, version in run.versions.items()),
                ("Took", f"{run.seconds:.1f} s"),
            ]
        )
    ]
    if report.origin is not None:
        content += [
            html_element("p", "The same figures come from:", class_="before"),
            html_element("pre", command_for_run(run, report.origin)),
        ]
        left = repairs_beyond_command(run)
        if left:
            content.append(
                paragraph(f"The command has no option for {', '.join(left)}; use the app.")
            )
    files = [("config", CONFIG_FILE, run.config), ("run", "run.json", plain_from_result(run))]
    if report.origin is not None and report.origin.preprocess and report.origin.data is not None:
        files.append(("preprocess", PREPROCESS_FILE, json.loads(report.origin.preprocess)))
    links: list[object] = ["In this file: "]
    for key, name, _ in files:
        link = html_element("a", name, data_file=key, download=name, href="#reproduce")
        links += [link, ". " if key == files[-1][0] else ", "]
    content.append(html_element("p", *links, class_="screen"))
    for key, name, value in files:
        content.append(html_element("script", script_json(value), type="application/json", id=key))
        if name == PREPROCESS_FILE:
            content += [html_element("h3", name), html_element("pre", json.dumps(value, indent=1))]
    content += [html_element("h3", CONFIG_FILE), html_element("pre", config_text(run.config))]
    return html_element("section", html_element("h2", "To reproduce it", id="reproduce"), *content)


def config_text(config: dict[str, object]) -> str:
    """Return a configuration as JSON with one line per rule."""
    parts = []
    for key, value in config.items():
        if isinstance(value, list) and value:
            lines = ",\n  ".join(json.dumps(item) for item in value)
            parts.append(f'"{key}": [\n  {lines}\n ]')
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n " + ",\n ".join(parts) + "\n}"


def layers_section(report: Report) -> Html:
    """Return a row for each layer: configured bits, the machine's bits, costs."""
    choices = {choice.layer: choice for choice in report.choices}
    heads = (
        "Layer",
        "Kind",
        "Configured W/A",
        "Computed",
        "Stored",
        "Output",
        "Energy",
        "Latency",
        "Limited by",
        "SQNR",
    )
    rows = [_layer_row(layer, choices, report) for layer in report.run.cost.layers]
    warned = _layers_by_remark(report)
    return html_element(
        "section",
        html_element("h2", "Every layer", id="layers"),
        html_element(
            "p",
            "Bits of the second operand and the input: configured, computed, and stored; bits "
            "of the output as configured. Several passes stand behind a factor.",
            class_="soft before",
        ),
        html_table(heads, rows, numeric=(6, 7, 9), class_="wide layers"),
        *(
            [
                html_element("h3", "Remarks of the cost model"),
                html_table(("Remark", "Layers"), warned, class_="wide"),
            ]
            if warned
            else []
        ),
    )


def _layers_by_remark(report: Report) -> list[tuple[str, str]]:
    """Return each remark once, with the layers of the remark."""
    about: dict[str, list[str]] = {}
    for layer in report.run.cost.layers:
        for remark in layer.warnings:
            about.setdefault(remark, []).append(layer.layer)
    return [(remark, ", ".join(layers)) for remark, layers in about.items()]


def _layer_row(
    layer: LayerCost, choices: dict[str, LayerChoice], report: Report
) -> tuple[object, ...]:
    weighted = layer.kind in WEIGHT_KINDS or layer.compute_weight_bits
    choice = choices.get(layer.layer)
    sqnr = report.run.layer_sqnr_db.get(layer.layer)
    passes = f" x {layer.passes}" if layer.passes > 1 else ""
    done = _format_pair(layer.compute_weight_bits, layer.compute_activation_bits)
    return (
        layer.layer,
        str(layer.kind),
        _format_pair(layer.requested_weight_bits, layer.requested_activation_bits)
        if weighted
        else "",
        "on host" if layer.on_host else f"{done}{passes}" if layer.macs else "",
        f"{_format_bits(layer.stored_weight_bits)}/{_format_bits(layer.stored_activation_bits)}",
        "" if choice is None else _format_bits(choice.output_bits),
        exact_number(format_energy(layer.energy_pj), layer.energy_pj),
        exact_number(format_time(layer.latency_s), layer.latency_s),
        layer.bound,
        "" if sqnr is None else sqnr_value(sqnr),
    )


def _format_pair(weight: float, activation: float) -> str:
    return f"{_format_bits(weight)}/{_format_bits(activation)}"


def _format_bits(bits: float) -> str:
    if not bits:
        return "-"
    return "float" if bits >= 32 else f"{bits:.3g}"
