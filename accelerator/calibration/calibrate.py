"""Fit a machine's estimates to measurements of a board."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from accelerator.calibration.before_fit import machine_to_fit
from accelerator.calibration.fit_limits import explain_fit_limits
from accelerator.calibration.linear import Matrix
from accelerator.calibration.log_fit import (
    OWN,
    UNKNOWN,
    FactorFit,
    Fits,
    LogFit,
    NoisePrior,
    fit_log_factors,
    prior_covariance,
    sum_scaled_parts,
)
from accelerator.calibration.mac_parts import (
    begin_walks,
    choose_structure,
    extend_prior,
    machine_with_factors,
)
from accelerator.calibration.measurement import Measurement
from accelerator.dram.residency import count_stored_bits
from accelerator.estimate import estimate_workload
from accelerator.interval import (
    MAC_ENERGY,
    MAC_TIME,
    energy_factor_shares,
    latency_factor_shares,
)
from accelerator.machine import Machine, machine_at_point
from accelerator.parts import (
    FitError,
    MachineFit,
    Residency,
    Signed,
    WeightMemory,
)
from accelerator.prices import set_access_prices
from accelerator.report import CostReport
from accelerator.widths import choose_widths, make_mode_chooser

TIME_SCALES = ("compute_time", "memory_time", "fixed_time")
ENERGY_SCALES = (
    "compute_energy",
    "memory_energy",
    "cycle_energy",
    "static_energy",
    "fixed_energy",
)
SMALL_SHARE = 0.005
"""Part of the smallest measurement with which a constant starts that the machine lacks: ours."""
CLEARLY = 0.8
"""The spread of another memory of weights, as a part of the first one's, to be preferred."""
SMALL_BYTES = 2 << 20
"""Weights that a board with a chip of its own for networks keeps on it (our choice)."""
PJ_PER_J = 1e12


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A measurement unseen by the fit: value, prediction and 90 % interval, in J or s."""

    network: str
    point: str
    quantity: str
    measured: float
    predicted: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Prediction over measurement, less one."""
        return self.predicted / self.measured - 1

    @property
    def lies_in_interval(self) -> bool:
        """Whether the measurement lies in the interval."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted machine, predictions for left-out networks, and questions the rows leave open."""

    machine: Machine
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]


def calibrate_machine(base: Machine, rows: Sequence[Measurement]) -> Calibration:
    """Fit a machine's factors to measurements, and measure the error with each network left out.

    The time's factors are fitted first, then the energy's: part of the energy follows the time. A
    machine that a fit has made is fitted anew from the machine before that fit.

    Raises:
        ValueError: the rows are empty, or a row names an unknown operating point.
    """
    if not rows:
        raise ValueError("A fit needs a measurement; got none. Add a row for a network.")
    base = machine_to_fit(base)
    machine, fits = _fit_both_bases(base, rows)
    networks = tuple(dict.fromkeys(row.network for row in rows))
    left_out: list[LeftOut] = []
    for network in networks if len(networks) > 1 else ():
        others = [row for row in rows if row.network != network]
        without, _ = _fit_both_bases(base, others)
        for row in rows:
            if row.network == network:
                left_out += _predict_row(without, row)
    errors = {
        quantity: _error_with_left_out(machine, quantity, rows, left_out)
        for quantity in ("energy", "latency")
    }
    fit = MachineFit(energy=errors["energy"], latency=errors["latency"], base=base.name)
    machine = replace(machine, fit=fit)
    return Calibration(machine, tuple(left_out), tuple(explain_fit_limits(base, fits)))


def _fit_both_bases(base: Machine, rows: Sequence[Measurement]) -> tuple[Machine, Fits]:
    """Fit the base, and a base that fetches weights once more with weights on chip; keep one.

    Networks of up to `SMALL_BYTES` are taken to lie on chip unless the rows clearly contradict: two
    networks often cannot tell.
    """
    machine, fits = _fit_time_and_energy(base, rows)
    if base.weights_resident is not Residency.NEVER:
        return machine, fits
    other, other_fits = _fit_time_and_energy(_machine_with_weight_memory(base, rows), rows)
    spread, other_spread = (sum(one.spread for one in f.values()) for f in (fits, other_fits))
    memory = other.weight_memory
    small = memory is not None and memory.size_bytes <= SMALL_BYTES
    stays = CLEARLY * other_spread < spread if small else other_spread < CLEARLY * spread
    return (other, other_fits) if stays else (machine, fits)


def _machine_with_weight_memory(base: Machine, rows: Sequence[Measurement]) -> Machine:
    """Give a machine a memory for the weights of every measured network, and for the borders."""
    choose = make_mode_chooser(base)
    sizes = [
        sum(count_stored_bits(op, choose_widths(op, base, choose)) for op in row.workload.ops)
        for row in rows
    ]
    size = max(SMALL_BYTES, 1 << (max(sizes) // 8).bit_length())
    price = set_access_prices(base).sram.weight_read_pj_per_bit
    return replace(
        base,
        weights_resident=Residency.AUTO,
        borders_on_chip=True,
        weight_memory=WeightMemory(size_bytes=size, read_pj_per_bit=price, bits_per_cycle=None),
    )


def _fit_time_and_energy(base: Machine, rows: Sequence[Measurement]) -> tuple[Machine, Fits]:
    """Fit time, then energy; return the machine with errors and the raw fits."""
    machine = replace(_machine_with_units(base, rows), fit=None)
    fits: Fits = {}
    timed = [row for row in rows if row.latency_s is not None]
    if timed:
        machine, fits["latency"] = _fit_latency_factors(base, machine, timed)
    priced = [row for row in rows if row.energy_j is not None]
    if priced:
        machine, fits["energy"] = _fit_energy_factors(base, machine, priced)
    errors = {
        quantity: FitError(
            networks=0,
            mean_error=None,
            worst_error=None,
            noise=one.fit.noise,
            freedom=one.fit.freedom,
            scales=one.scales,
            covariance=tuple(Signed(value) for row in one.fit.covariance for value in row),
        )
        for quantity, one in fits.items()
    }
    fitted = MachineFit(energy=errors.get("energy"), latency=errors.get("latency"))
    return replace(machine, fit=fitted), fits


def _machine_with_units(base: Machine, rows: Sequence[Measurement]) -> Machine:
    """Give the machine small constants for missing constants, so that a factor can find a value."""
    overheads, static_w = base.overheads, base.static_w
    times = [row.latency_s for row in rows if row.latency_s is not None]
    energies = [row.energy_j for row in rows if row.energy_j is not None]
    powers = [row.energy_j / row.latency_s for row in rows if row.energy_j and row.latency_s]
    if times and not overheads.s_per_inference:
        overheads = replace(overheads, s_per_inference=SMALL_SHARE * min(times))
    if energies and not overheads.pj_per_inference:
        overheads = replace(overheads, pj_per_inference=SMALL_SHARE * min(energies) * PJ_PER_J)
    idle = [row.idle_power_w for row in rows if row.idle_power_w is not None]
    if idle:
        static_w = math.exp(sum(map(math.log, idle)) / len(idle)) / base.scales.static_energy
    elif not static_w and powers:
        static_w = SMALL_SHARE * min(powers)
    return replace(base, overheads=overheads, static_w=static_w)


def _fit_latency_factors(
    base: Machine, machine: Machine, rows: Sequence[Measurement]
) -> tuple[Machine, FactorFit]:
    """Fit the factors of the time in s."""
    known = base.overheads.s_per_inference > 0
    cycles = [_estimate_row(machine, row).latency_s * machine.clock_hz for row in rows]
    measured = [(row.latency_s or 1.0) * machine.clock_hz for row in rows]
    found = choose_structure(machine, rows, cycles, measured, MAC_TIME)
    machine, names = found.machine, (*TIME_SCALES, *found.scales)
    common = [True, True, False]
    prior = prior_covariance([OWN, OWN, OWN if known else UNKNOWN], common)
    prior = extend_prior(prior, common) if found.scales else prior
    starts = begin_walks(names, "fixed_time", found)
    fits = [_settle_stages(machine, names, rows, prior, found.noise, start) for start in starts]
    fit = min(fits, key=lambda one: one.misfit)
    return machine_with_factors(machine, names, fit.logs), FactorFit(names, fit, found.spread)


def _settle_stages(
    machine: Machine,
    names: Sequence[str],
    rows: Sequence[Measurement],
    prior: Matrix,
    noise: NoisePrior,
    logs: list[float],
) -> LogFit:
    """Fit the time from a start; a few rounds settle the limiting stage of a layer."""
    targets = [math.log(row.latency_s or 1.0) for row in rows]
    for _ in range(_ROUNDS):
        scaled, parts = machine_with_factors(machine, names, logs), []
        for row in rows:
            placed = _machine_at_row(scaled, row)
            report = estimate_workload(row.workload, placed)
            shares = latency_factor_shares(placed, report.layers)
            rest = 1.0 - sum(shares[name] for name in names)
            at_one = [shares[n] / math.exp(x) for n, x in zip(names, logs, strict=True)]
            parts.append([report.latency_s * share for share in (*at_one, rest)])
        fit = fit_log_factors(partial(sum_scaled_parts, parts), targets, prior, noise, logs)
        moved = max(abs(a - b) for a, b in zip(fit.logs, logs, strict=True))
        logs = fit.logs
        if moved < 1e-3:
            break
    return fit


def _fit_energy_factors(
    base: Machine, machine: Machine, rows: Sequence[Measurement]
) -> tuple[Machine, FactorFit]:
    """Fit the factors of the energy in pJ, which is a sum once the time is known."""
    energies = [(row.energy_j or 1.0) * PJ_PER_J for row in rows]
    estimates = [_estimate_row(machine, row).energy_pj for row in rows]
    found = choose_structure(machine, rows, estimates, energies, MAC_ENERGY)
    machine, shares, totals = found.machine, [], []
    for row in rows:
        report = _estimate_row(machine, row)
        shares.append(energy_factor_shares(report.energy, report.layers))
        totals.append(report.energy_pj)
    names = tuple(name for name in ENERGY_SCALES if any(share[name] for share in shares))
    idle = any(row.idle_power_w is not None for row in rows)
    lacking = {
        "static_energy": not base.static_w and not idle,
        "fixed_energy": not base.overheads.pj_per_inference,
    }
    own = [UNKNOWN if lacking.get(name) else OWN for name in names]
    if idle and "static_energy" in names:
        own[names.index("static_energy")] = IDLE
    common = [not lacking.get(name) and not (idle and name == "static_energy") for name in names]
    prior = prior_covariance(own, common)
    prior = extend_prior(prior, common) if found.scales else prior
    names = (*names, *found.scales)
    parts = [
        [share[name] * total for name in names] for share, total in zip(shares, totals, strict=True)
    ]
    targets = list(map(math.log, energies))
    evaluate = partial(sum_scaled_parts, parts)
    fit = min(
        (
            fit_log_factors(evaluate, targets, prior, found.noise, start)
            for start in begin_walks(names, "fixed_energy", found)
        ),
        key=lambda one: one.misfit,
    )
    return machine_with_factors(machine, names, fit.logs), FactorFit(names, fit, found.spread)


_ROUNDS = 4
IDLE = 0.15
"""Prior standard deviation of the logarithm of a static power that was measured (our choice)."""


def _machine_at_row(machine: Machine, row: Measurement) -> Machine:
    return machine_at_point(machine, row.point) if row.point else machine


def _estimate_row(machine: Machine, row: Measurement) -> CostReport:
    return estimate_workload(row.workload, _machine_at_row(machine, row))


def _predict_row(machine: Machine, row: Measurement) -> list[LeftOut]:
    """Return a machine's predictions of a row, for each fitted quantity."""
    report, found = _estimate_row(machine, row), []
    for quantity, measured, value, bounds in (
        ("latency", row.latency_s, report.latency_s, report.latency_s_ci),
        ("energy", row.energy_j, report.energy_pj / PJ_PER_J, report.energy_pj_ci),
    ):
        if measured is None or bounds is None:
            continue
        unit = PJ_PER_J if quantity == "energy" else 1.0
        low, high = bounds[0] / unit, bounds[1] / unit
        found.append(LeftOut(row.network, row.point, quantity, measured, value, low, high))
    return found


def _error_with_left_out(
    machine: Machine, quantity: str, rows: Sequence[Measurement], left_out: Sequence[LeftOut]
) -> FitError | None:
    """Return the error of a quantity, with the errors for left-out networks."""
    error: FitError | None = getattr(machine.fit, quantity)
    if error is None:
        return None
    name = "energy_j" if quantity == "energy" else "latency_s"
    networks = len({row.network for row in rows if getattr(row, name) is not None})
    sizes = [abs(one.error) for one in left_out if one.quantity == quantity]
    if not sizes:
        return replace(error, networks=networks)
    return replace(
        error,
        networks=networks,
        mean_error=sum(sizes) / len(sizes),
        worst_error=max(sizes),
    )
