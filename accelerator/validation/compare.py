"""Estimates beside measurements: row by row, machine by machine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accelerator.calibration.calibrate import PJ_PER_J, LeftOut
from accelerator.estimate import estimate_workload
from accelerator.machine import load_preset
from accelerator.validation.measurements import ChipRow, published_chip_rows
from accelerator.validation.refit import measured_machines, refit_machine


@dataclass(frozen=True, slots=True)
class RowCheck:
    """An estimate beside a measurement, in J and s."""

    row: ChipRow
    latency_s: float
    energy_j: float

    @property
    def latency_error(self) -> float | None:
        """Estimated over measured time, less one; None without a measured time."""
        measured = self.row.measurement.latency_s
        return None if measured is None else self.latency_s / measured - 1

    @property
    def energy_error(self) -> float | None:
        """Estimated over measured energy, less one; None without a measured energy."""
        measured = self.row.measurement.energy_j
        return None if measured is None else self.energy_j / measured - 1


@dataclass(frozen=True, slots=True)
class MachineCheck:
    """A fitted machine: predictions for left-out networks, and the quality of the ranking.

    Rank correlations are Spearman's, over the networks of an operating point, for the worst point.
    """

    machine: str
    left_out: tuple[LeftOut, ...]
    energy_rank: float
    latency_rank: float

    def mean_error(self, quantity: str) -> float:
        """Return the mean size of the error for networks left out, "energy" or "latency"."""
        sizes = [abs(one.error) for one in self.left_out if one.quantity == quantity]
        return sum(sizes) / len(sizes)

    def worst_error(self, quantity: str) -> float:
        """Return the largest error for a network left out, "energy" or "latency"."""
        return max(abs(one.error) for one in self.left_out if one.quantity == quantity)


def check_measured_rows(machine: str | None = None) -> tuple[RowCheck, ...]:
    """Estimate every measured row, or the rows of one machine without the machine's point."""
    return tuple(_checks_of_rows(machine))


def _checks_of_rows(machine: str | None) -> Iterator[RowCheck]:
    for row in published_chip_rows():
        if machine is None or row.machine == machine:
            report = estimate_workload(row.measurement.workload, load_preset(row.preset_name))
            energy_pj = report.energy_pj - (report.energy.dram_pj if row.is_without_dram else 0.0)
            yield RowCheck(row, report.latency_s, energy_pj / PJ_PER_J)


def check_measured_machines() -> tuple[MachineCheck, ...]:
    """Fit every measured machine again, with each network left out in turn."""
    return tuple(map(_check_one_machine, measured_machines()))


def _check_one_machine(name: str) -> MachineCheck:
    rows = [check for check in check_measured_rows(name) if check.row.is_fitted_row]
    points = dict.fromkeys(check.row.measurement.point for check in rows)
    by_point = [[c for c in rows if c.row.measurement.point == point] for point in points]
    energy = min(
        rank_correlation(
            [c.energy_j for c in checks], [c.row.measurement.energy_j or 0.0 for c in checks]
        )
        for checks in by_point
    )
    latency = min(
        rank_correlation(
            [c.latency_s for c in checks], [c.row.measurement.latency_s or 0.0 for c in checks]
        )
        for checks in by_point
    )
    return MachineCheck(name, refit_machine(name).left_out, energy, latency)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation of two lists without equal values, from -1 to 1.

    >>> rank_correlation([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
    0.5
    """
    ranks = [
        {place: rank for rank, place in enumerate(sorted(range(len(v)), key=v.__getitem__))}
        for v in (first, second)
    ]
    size = len(first)
    if size < 2:
        return 1.0
    squares = sum((ranks[0][place] - ranks[1][place]) ** 2 for place in range(size))
    return 1 - 6 * squares / (size * (size**2 - 1))


def validation_report_lines() -> Iterator[str]:
    """Yield the lines printed by `python -m accelerator.validate`."""
    heads = (f"{'chip':38}", f"{'network':8}", f"{'energy uJ':>10}", f"{'estimate':>10}")
    yield " ".join((*heads, f"{'error':>7} {'time ms':>9} {'estimate':>9} {'error':>7}  use"))
    for check in check_measured_rows():
        measured = check.row.measurement
        yield (
            f"{check.row.chip:38} {measured.network:8} "
            f"{_number_text(measured.energy_j, 1e6):>10} {1e6 * check.energy_j:10.4g} "
            f"{_percent_text(check.energy_error):>7} {_number_text(measured.latency_s, 1e3):>9} "
            f"{1e3 * check.latency_s:9.4g} {_percent_text(check.latency_error):>7}  {check.row.use}"
        )
    yield ""
    yield "Leaving out one network: mean error, worst error, measurements in the 90 % interval"
    for machine in check_measured_machines():
        yield f"{machine.machine}: " + "; ".join(
            _machine_summary(machine, quantity) for quantity in ("energy", "latency")
        )


def _machine_summary(machine: MachineCheck, quantity: str) -> str:
    left_out = [one for one in machine.left_out if one.quantity == quantity]
    rank = machine.energy_rank if quantity == "energy" else machine.latency_rank
    width = sum(one.high / one.low for one in left_out) / len(left_out)
    return (
        f"{quantity} {100 * machine.mean_error(quantity):.1f} %, "
        f"{100 * machine.worst_error(quantity):.1f} %, "
        f"{sum(one.lies_in_interval for one in left_out)} of {len(left_out)} inside, "
        f"upper / lower end {width:.2f}, rank correlation {rank:.2f}"
    )


def _number_text(value: float | None, factor: float) -> str:
    return "-" if value is None else f"{factor * value:.4g}"


def _percent_text(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.1f} %"
