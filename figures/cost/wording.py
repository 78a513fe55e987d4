"""An estimate with its interval, in words."""

from accelerator.report import Bounds, CostReport
from figures.style.units import format_energy, format_time

ESTIMATED = "estimated"


def trust_text(report: CostReport) -> str:
    """Return the energy's interval and the source of the interval.

    "22 µJ to 32 µJ (this machine's error on 4 measured networks, leave one out: ...)", or "never
    measured: compare choices only". Runs stored before machines had errors say "estimated".
    """
    if report.energy_pj_ci is None:
        return report.trust or ESTIMATED
    low, high = report.energy_pj_ci
    return f"{format_energy(low)} to {format_energy(high)} ({report.trust})"


def energy_text(report: CostReport) -> str:
    """Return the energy with the interval and the machine's error."""
    return f"{format_energy(report.energy_pj)}, {trust_text(report)}"


def latency_interval(report: CostReport) -> str:
    """Return the latency's interval as text after other text; empty for an unknown interval."""
    return _interval_text(report.latency_s_ci)


def _interval_text(bounds: Bounds | None) -> str:
    if bounds is None:
        return ""
    return f": {format_time(bounds[0])} to {format_time(bounds[1])} (90 %)"
