"""Prediction intervals of an estimate on a machine fitted to measurements.

The logarithm of an estimate is, near the fit, linear in the logarithms of the fitted factors: the
derivative by a factor is the share of the factor's part in the whole. With the covariance of the
logarithms of the factors and the remaining noise, the interval is the interval of a linear model:
estimate times exp(+- t sqrt(noise^2 + x' C x)), with Student's t of the fit's freedom.
"""

import math
from collections.abc import Mapping, Sequence

from accelerator.energy import Energy
from accelerator.engines.mac_costs import MAC_CLASSES, sum_by_class
from accelerator.machine import Machine
from accelerator.parts import FitError
from accelerator.report import Bounds, LayerCost

# Student's t of 95 % on one side, hence of a 90 % interval, by degrees of freedom.
_T95 = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 8: 1.860, 10: 1.812, 15: 1.753}
_NORMAL95 = 1.645
MAC_TIME = tuple(f"{name}_cycles" for name in MAC_CLASSES)
MAC_ENERGY = tuple(f"{name}_pj" for name in MAC_CLASSES)
"""Factors of a fit that a machine keeps in `mac_costs`."""


def student_t_95(freedom: float) -> float:
    """Return Student's t exceeded by 5 % of the values; between table entries, the larger.

    >>> student_t_95(1.0)
    6.314
    """
    smaller = [n for n in _T95 if n <= freedom]
    if not smaller:
        return _T95[1]
    return _T95[max(smaller)] if freedom < 30 else _NORMAL95


def energy_factor_shares(energy: Energy, layers: Sequence[LayerCost]) -> dict[str, float]:
    """Return the share of the energy under each fitted factor."""
    total = energy.total_pj or 1.0
    pairs = ((layer.work.mac_class, layer.work.energy_pj) for layer in layers)
    work = sum_by_class(pairs, MAC_CLASSES)
    compute = energy.mac_pj + energy.register_pj + energy.noc_pj + energy.requant_pj - sum(work)
    memory = energy.sram_pj + energy.dram_pj + energy.weight_memory_pj
    return {
        "compute_energy": compute / total,
        "memory_energy": memory / total,
        "cycle_energy": energy.cycle_pj / total,
        "static_energy": energy.static_pj / total,
        "fixed_energy": energy.fixed_pj / total,
        **{name: part / total for name, part in zip(MAC_ENERGY, work, strict=True)},
    }


def latency_factor_shares(machine: Machine, layers: Sequence[LayerCost]) -> dict[str, float]:
    """Return the share of the latency under each fitted factor."""
    total = sum(layer.latency_s for layer in layers) or 1.0
    memory = sum(layer.memory_s for layer in layers)
    fixed = machine.overheads.s_per_inference * machine.scales.fixed_time
    overhead = sum(layer.overhead_s for layer in layers)
    pairs = ((layer.work.mac_class, layer.work.latency_s) for layer in layers)
    work = sum_by_class(pairs, MAC_CLASSES)
    return {
        "compute_time": (total - memory - overhead - sum(work)) / total,
        "memory_time": memory / total,
        "fixed_time": fixed / total,
        **{name: part / total for name, part in zip(MAC_TIME, work, strict=True)},
    }


def energy_bounds(machine: Machine, energy: Energy, layers: Sequence[LayerCost]) -> Bounds | None:
    """Return the 90 % interval of an energy in pJ; None for a machine without measurements.

    The part of the energy that follows the time has the error of the fitted time besides.
    """
    error = error_of_quantity(machine, "energy")
    if error is None:
        return None
    shares = energy_factor_shares(energy, layers)
    timed = (shares["cycle_energy"] + shares["static_energy"]) * _spread_of_time(machine, layers)
    return _bounds_from_shares(energy.total_pj, shares, error, timed)


def latency_bounds(machine: Machine, layers: Sequence[LayerCost]) -> Bounds | None:
    """Return the 90 % interval of a latency in s; None for a machine without measurements."""
    error = error_of_quantity(machine, "latency")
    total = sum(layer.latency_s for layer in layers)
    return (
        None
        if error is None
        else _bounds_from_shares(total, latency_factor_shares(machine, layers), error)
    )


NEVER_MEASURED = "never measured: compare choices only"


def describe_machine_error(machine: Machine, quantity: str = "energy") -> str:
    """Return a text such as "this machine's error on 4 measured networks, leave one out".

    `quantity` is "energy" or "latency".
    """
    error = error_of_quantity(machine, quantity)
    if error is None:
        return NEVER_MEASURED
    if error.mean_error is None or error.worst_error is None:
        return "fitted to 1 measured network: its error on others is not known"
    return (
        f"this machine's error on {error.networks} measured networks, leave one out: "
        f"{100 * error.mean_error:.0f} % on average, {100 * error.worst_error:.0f} % at worst"
    )


def describe_machine_trust(machine: Machine) -> str:
    """Return a sentence on how far a machine's energy and latency are from measured chips."""
    energy, latency = (
        describe_machine_error(machine, quantity) for quantity in ("energy", "latency")
    )
    if energy == latency:
        return f"{machine.title}: {energy}."
    return f"{machine.title}: energy, {energy}; latency, {latency}."


def error_of_quantity(machine: Machine, quantity: str) -> FitError | None:
    """Return a machine's error of "energy" or "latency"; None without measurements."""
    if machine.fit is None:
        return None
    return machine.fit.energy if quantity == "energy" else machine.fit.latency


def spread_of_log(shares: Mapping[str, float], error: FitError, other: float = 0.0) -> float:
    """Return the standard deviation of the logarithm of a prediction; `other` is a part of it."""
    return math.hypot(error.noise, _spread_of_factors(shares, error), other)


def _spread_of_factors(shares: Mapping[str, float], error: FitError) -> float:
    x = [shares[name] for name in error.scales]
    size = len(x)
    spread = sum(
        x[row] * x[column] * error.covariance[row * size + column]
        for row in range(size)
        for column in range(size)
    )
    return math.sqrt(max(spread, 0.0))


def _spread_of_time(machine: Machine, layers: Sequence[LayerCost]) -> float:
    """Return the standard deviation of the logarithm of a time by the fit, without the noise."""
    error = error_of_quantity(machine, "latency")
    return (
        0.0 if error is None else _spread_of_factors(latency_factor_shares(machine, layers), error)
    )


def _bounds_from_shares(
    value: float, shares: Mapping[str, float], error: FitError, other: float = 0.0
) -> Bounds:
    factor = math.exp(student_t_95(error.freedom) * spread_of_log(shares, error, other))
    return value / factor, value * factor
