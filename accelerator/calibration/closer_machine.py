"""Another machine that follows measurements more closely than the base of a fit."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from accelerator.calibration.calibrate import Calibration
from accelerator.calibration.measurement import Measurement
from accelerator.estimate import estimate_workload
from accelerator.machine import Machine, load_preset, preset_names

FEWEST = 3
"""Networks from which a ranking of machines is told: two points fit nearly any (our choice)."""
POOR, CLOSER = 0.3, 0.5
"""A base is poor from this spread on; another must leave half the spread at most (our choice)."""


def suggest_closer_base(
    base: Machine, others: Iterable[Machine], rows: Sequence[Measurement]
) -> str | None:
    """Return a sentence that names a machine whose estimates follow the rows more closely.

    The measure is the spread of log(measured / estimated): a common factor costs nothing, since a
    fit finds it. None where the base is good, no other is much better, or networks are few.
    """
    if len({row.network for row in rows}) < FEWEST:
        return None
    own = spread_over_rows(base, rows)
    if own < POOR:
        return None
    spread, closest = min(
        ((spread_over_rows(one, rows), one) for one in others if one.name != base.name),
        key=lambda pair: pair[0],
        default=(math.inf, base),
    )
    if spread > CLOSER * own:
        return None
    return (
        f"The rows follow {closest.title} more closely: measured over estimated varies by a factor "
        f"of {math.exp(spread):.2f} there, by {math.exp(own):.2f} on {base.title}. Starting from "
        "it may give narrower intervals."
    )


def advise_on_base(
    calibration: Calibration, base: Machine, rows: Sequence[Measurement]
) -> Calibration:
    """Return a calibration with the advice on another base among its warnings."""
    others = (load_preset(name) for name in preset_names() if "@" not in name)
    told = suggest_closer_base(base, others, rows)
    return (
        calibration
        if told is None
        else replace(calibration, warnings=(*calibration.warnings, told))
    )


def spread_over_rows(machine: Machine, rows: Sequence[Measurement]) -> float:
    """Return the standard deviation of log(measured / estimated), of latency or else of energy.

    The larger of both where rows have both.
    """
    ratios: dict[str, list[float]] = {"latency": [], "energy": []}
    for row in rows:
        report = estimate_workload(row.workload, machine)
        for name, measured, estimate in (
            ("latency", row.latency_s, report.latency_s),
            ("energy", row.energy_j, report.energy_pj),
        ):
            if measured and estimate > 0:
                ratios[name].append(math.log(measured / estimate))
    return max(map(_standard_deviation, ratios.values()))


def _standard_deviation(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
