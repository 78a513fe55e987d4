"""Doubts about measurements before a fit: wrong units, contradictions."""

import math
from collections.abc import Iterator, Sequence
from statistics import median

from accelerator.calibration.measurement import Measurement
from accelerator.estimate import PJ_PER_J, estimate_workload
from accelerator.machine import Machine, machine_at_point

OUTLIER = 120.0
"""Factor from the other rows that a wrong unit makes and no network does (our choice)."""
FAR_FROM_FIT = 300.0
"""Factor from a fitted machine that a wrong unit makes and no other board of its kind (ours)."""
POWER_FACTOR = 200.0
"""Factor between measured and estimated power that a wrong unit makes (our choice)."""
TWICE = 1.5
"""Factor between two rows of the same network that contradict each other (our choice)."""
LEAST_MACS_PER_S, MOST_MACS_PER_S = 1e4, 1e15
LEAST_PJ_PER_MAC, MOST_PJ_PER_MAC = 1e-3, 1e5
LEAST_W, MOST_W = 1e-6, 1e4


def find_questions(base: Machine, rows: Sequence[Measurement]) -> tuple[str, ...]:
    """Return a sentence for a row that looks like a wrong unit or contradicts another row."""
    reports = [
        estimate_workload(row.workload, machine_at_point(base, row.point) if row.point else base)
        for row in rows
    ]
    latencies = [report.latency_s for report in reports]
    energies = [report.energy_pj / PJ_PER_J for report in reports]
    found: dict[str, str] = {}
    for question in (
        *_implausible_rows(rows),
        *_outlier_rows(rows, "latency_s", latencies),
        *_outlier_rows(rows, "energy_j", energies),
        *_odd_power_rows(rows, latencies, energies),
        *(_rows_far_from_fit(rows, latencies, energies) if base.fit else ()),
        *_contradicting_rows(rows),
    ):
        found.setdefault(*question)
    return tuple(found.values())


def _implausible_rows(rows: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """Ask about rows with impossible speed, energy of a MAC, or power."""
    for row in rows:
        macs = sum(op.macs for op in row.workload.ops) or 1
        if row.latency_s and not LEAST_MACS_PER_S < macs / row.latency_s < MOST_MACS_PER_S:
            yield _question_of_row(row, "latency_s", f"{macs / row.latency_s:.2g} MACs a second")
        if row.energy_j:
            pj = row.energy_j * PJ_PER_J / macs
            if not LEAST_PJ_PER_MAC < pj < MOST_PJ_PER_MAC:
                yield _question_of_row(row, "energy_j", f"{pj:.2g} pJ a MAC")
        if row.latency_s and row.energy_j:
            power = row.energy_j / row.latency_s
            if not LEAST_W < power < MOST_W:
                yield _question_of_row(row, "energy_j", f"{power:.2g} W")


def _outlier_rows(
    rows: Sequence[Measurement], name: str, estimates: Sequence[float]
) -> Iterator[tuple[str, str]]:
    """Ask about rows with a ratio to the estimate far from the ratios of other rows."""
    logs = {
        number: math.log(getattr(row, name) / value)
        for number, (row, value) in enumerate(zip(rows, estimates, strict=True))
        if getattr(row, name) and value
    }
    if len(logs) < 2:
        return
    for number, log in logs.items():
        others = median(value for other, value in logs.items() if other != number)
        factor = math.exp(log - others)
        if max(factor, 1 / factor) >= OUTLIER and (len(logs) > 2 or factor > 1):
            times = f"{factor:.3g} times" if factor > 1 else f"1 / {1 / factor:.3g} of"
            yield _question_of_row(
                rows[number], name, f"{times} what the other rows lead to expect"
            )


def _odd_power_rows(
    rows: Sequence[Measurement], latencies: Sequence[float], energies: Sequence[float]
) -> Iterator[tuple[str, str]]:
    """Ask where energy over latency is far from the power of the base machine."""
    for row, latency, energy in zip(rows, latencies, energies, strict=True):
        if not row.latency_s or not row.energy_j or not energy:
            continue
        power, expected = row.energy_j / row.latency_s, energy / latency
        if max(power / expected, expected / power) >= POWER_FACTOR:
            question = (
                f"Row {row.network}: are latency_s = {row.latency_s:g} in seconds and energy_j = "
                f"{row.energy_j:g} in joules? They mean {power:.3g} W where the base machine takes "
                f"{expected:.3g} W."
            )
            yield row.network, question
        if row.idle_power_w and row.idle_power_w > power:
            question = (
                f"Row {row.network}: is idle_power_w in W? {row.idle_power_w:g} W is more than the "
                f"{power:.3g} W of energy_j over latency_s."
            )
            yield row.network, question


def _rows_far_from_fit(
    rows: Sequence[Measurement], latencies: Sequence[float], energies: Sequence[float]
) -> Iterator[tuple[str, str]]:
    """Ask about rows far from a machine fitted to a board of the kind."""
    for row, latency, energy in zip(rows, latencies, energies, strict=True):
        for name, value in (("latency_s", latency), ("energy_j", energy)):
            measured = getattr(row, name)
            if measured and max(measured / value, value / measured) >= FAR_FROM_FIT:
                yield _question_of_row(
                    row, name, f"{measured / value:.3g} times the base machine's estimate"
                )


def _contradicting_rows(rows: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """Ask about two rows of equal work that differ more than two runs do."""
    for number, row in enumerate(rows):
        for other in rows[:number]:
            if (row.workload, row.point) != (other.workload, other.point):
                continue
            for name in ("latency_s", "energy_j"):
                values = getattr(row, name), getattr(other, name)
                if all(values) and max(values) >= TWICE * min(values):
                    question = (
                        f"Two rows of {row.network} contradict each other: {name} is "
                        f"{values[1]:g} and {values[0]:g}; which one holds?"
                    )
                    yield f"{name} of {row.network}", question


def _question_of_row(row: Measurement, name: str, why: str) -> tuple[str, str]:
    """Return (network of the row, question); the network limits a row to one question."""
    unit = {"latency_s": "seconds (not ms or µs)", "energy_j": "joules (not mJ or µJ)"}[name]
    value = getattr(row, name)
    return (
        row.network,
        f"Row {row.network}: is {name} = {value:g} in {unit}? It means {why}.",
    )
