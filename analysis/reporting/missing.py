"""The limits of a report in words, since silence would read as "no problems"."""

from collections.abc import Iterator
from dataclasses import replace

from accelerator.machine import machine_title
from accelerator.workload import FLOAT_BITS
from analysis.reporting.contents import LayerChoice, Report
from analysis.sensitivity.sweep import Depth

FEW_IMAGES = 500


def list_unmeasured(report: Report, *, calibrated: bool) -> Report:
    """Return the report with the list of unmeasured quantities."""
    missing = (
        *_general_limits(),
        *_score_limits(report),
        *_reason_limits(report, calibrated=calibrated),
    )
    return replace(report, missing=(*missing, *_cost_limits(report)))


def _general_limits() -> Iterator[str]:
    yield (
        "Energy, latency and memory are estimated by an analytic cost model; nothing ran on the "
        "machine."
    )
    yield (
        "Accuracy is that of simulated quantization: integers are represented exactly, products "
        "are summed in float."
    )


def _score_limits(report: Report) -> Iterator[str]:
    found = report.run.evaluation
    if not found.classes:
        yield (
            "The model's output is no row of classes, so accuracy is undefined; SQNR and "
            "cosine of the outputs, and a metric where named, replace accuracy."
        )
    elif not found.labelled:
        yield (
            "The data has no labels, so accuracy is unknown; agreement with the float network and "
            "SQNR replace accuracy."
        )
    if found.samples < FEW_IMAGES:
        yield f"Scores rest on {found.samples} images; their intervals are wide."
    yield f"Other data than {report.run.data} were not looked at."


def _reason_limits(report: Report, *, calibrated: bool) -> Iterator[str]:
    if report.model is None:
        yield (
            "The model was not loaded for this report: model size, ranges and the cost of other "
            "widths are missing."
        )
    if report.sensitivity is None:
        yield "No sensitivity sweep of this configuration is known: no layer was measured alone."
    elif report.sensitivity.depth is not Depth.EXACT:
        yield f"Sensitivities were predicted ({report.sensitivity.depth}), not measured."
    elif not report.noise:
        yield "The sensitivity sweep does not hold the bits of this configuration."
    else:
        chosen = {c.layer for c in report.choices if not _is_float_choice(c)}
        unknown = len(chosen - set(report.noise))
        if unknown:
            yield f"The sensitivity of {unknown} layers at the chosen bits is unknown."
    if report.suspects is not None and not calibrated:
        yield "Ranges of activations were not examined: no image was calibrated on for the report."
    if report.run.recipe and report.repairs is None:
        yield "The effect of each repair was not recorded; only the repaired network was scored."
    if report.front is None:
        yield "No front of other choices of bits was computed for this report."
    elif not report.front.measured:
        yield "The front is predicted; of its points only the chosen configuration was measured."


def _is_float_choice(choice: LayerChoice) -> bool:
    return choice.weight_bits in (None, FLOAT_BITS) and choice.output_bits == FLOAT_BITS


def _cost_limits(report: Report) -> Iterator[str]:
    cost = report.run.cost
    machine = machine_title(cost.machine)
    host = [layer.layer for layer in cost.layers if layer.on_host]
    if host:
        yield (
            f"{len(host)} layers cannot run on {machine} as configured; the cost is a rough "
            "guess for a host."
        )
    if cost.illustrative:
        yield (
            f"The maker of {machine} never published energies; the numbers are placeholders, "
            "good for comparing configurations and not machines."
        )
    if report.machine is None:
        yield f"The file of {machine} is missing: the sources of the numbers are unknown."
