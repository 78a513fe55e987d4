"""Costs per MAC beside the parts of a base machine whose structure the board does not have.

A base of another structure than the board's fits the rows that it sees and errs on others. The fit
then has three more parts: the MACs of dense convolutions, of depthwise and 1x1 convolutions, and of
matrices. Over the boards of MLPerf Tiny the cost of a MAC by kind of layer varies less than the
distance of most machines from most boards; the rows decide how much of each part there is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelerator.calibration.linear import Matrix
from accelerator.calibration.log_fit import COMMON, NoisePrior
from accelerator.calibration.measurement import Measurement
from accelerator.engines.mac_costs import DENSE, MAC_CLASSES, class_of_macs, count_mac_slots
from accelerator.interval import MAC_ENERGY, MAC_TIME
from accelerator.machine import Machine
from accelerator.widths import choose_widths, make_mode_chooser
from accelerator.workload import GEMM_KINDS

OTHER_TIME, OTHER_ENERGY = 0.12, 0.15
"""Spreads of log(measured / base's estimate) from which the base's structure is doubted: of time,
and of energy, whose estimate has the fitted time already (our choices)."""
DENSE_RATIO = 0.7
"""Prior cost of a MAC of a dense convolution over that of a separable one: the mean of ten boards
of MLPerf Tiny, where dense kernels use a value that was read more often."""
START_SHARE = 0.5
"""Cost of all MACs over the base's estimate before the fit (our choice)."""
ALL_MACS, ONE_CLASS = 2.0, 0.35
"""Prior standard deviations of logarithms: of the MACs beside the base's parts, and of a class
beside the other classes (the spread over ten boards of MLPerf Tiny)."""
STRUCTURE_DOUBT = 0.7
"""Part of the spread of a base that the rows follow, by which it is doubted all the same (ours)."""
LARGE_FIXED = 4.0
"""Logarithm of the second start of a fixed cost (our choice)."""
NOISE, NOISE_FREEDOM = 0.13, 6.0
DOUBT, MOST_DOUBT = 0.3, 0.25
"""Part of the better structure's spread that stays as noise (our choice, made in sight of ten
boards of MLPerf Tiny with their networks left out)."""


@dataclass(frozen=True, slots=True)
class Structure:
    """The machine to begin with, the factors on costs per MAC (none: no such costs), the noise.

    `spread` is the standard deviation of log(measured / the base's estimate) over the rows.
    """

    machine: Machine
    scales: tuple[str, ...]
    noise: NoisePrior
    spread: float


def choose_structure(
    machine: Machine,
    rows: Sequence[Measurement],
    estimated: Sequence[float],
    measured: Sequence[float],
    names: tuple[str, ...],
) -> Structure:
    """Give the machine costs per MAC where the rows do not follow the machine's structure.

    `estimated` and `measured` hold, row by row, clock cycles for `names` of `MAC_TIME`, or pJ for
    those of `MAC_ENERGY`.
    """
    spread = spread_of_ratios(measured, estimated)
    has_costs = any(getattr(machine.mac_costs, name) for name in names)
    if spread <= (OTHER_TIME if names == MAC_TIME else OTHER_ENERGY) and not has_costs:
        return Structure(machine, (), NoisePrior(doubt=STRUCTURE_DOUBT * spread), spread)
    slots = [_weigh_mac_slots(row, machine) for row in rows]
    doubt = min(DOUBT * min(spread, spread_of_ratios(measured, slots)), MOST_DOUBT)
    prior = NoisePrior(NOISE, NOISE_FREEDOM, doubt)
    if not has_costs:
        ratios = [math.log(one / slot) for one, slot in zip(estimated, slots, strict=True)]
        start = START_SHARE * math.exp(sum(ratios) / len(ratios))
        weights = (DENSE_RATIO, 1.0, 1.0)
        costs = {name: start * weight for name, weight in zip(names, weights, strict=True)}
        machine = replace(machine, mac_costs=replace(machine.mac_costs, **costs))
    return Structure(machine, names, prior, spread)


def spread_of_ratios(measured: Sequence[float], estimated: Sequence[float]) -> float:
    """Return the standard deviation of log(measured / estimated).

    >>> spread_of_ratios([2.0, 4.0], [1.0, 2.0])
    0.0
    """
    if len(measured) < 2:
        return 0.0
    ratios = [math.log(one / other) for one, other in zip(measured, estimated, strict=True)]
    mean = sum(ratios) / len(ratios)
    return math.sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / (len(ratios) - 1))


def _weigh_mac_slots(row: Measurement, machine: Machine) -> float:
    """Return the MACs of a row as the prior weighs the classes; at least 1."""
    choose = make_mode_chooser(machine)
    total = 0.0
    for op in row.workload.ops:
        if op.kind in GEMM_KINDS:
            weight = DENSE_RATIO if class_of_macs(op) == DENSE else 1.0
            total += weight * count_mac_slots(op, choose_widths(op, machine, choose))
    return max(total, 1.0)


def machine_with_factors(machine: Machine, names: Sequence[str], logs: Sequence[float]) -> Machine:
    """Return the machine with factors multiplied by the exponentials of `logs`."""
    scales: dict[str, float] = {}
    costs: dict[str, float] = {}
    for name, value in zip(names, logs, strict=True):
        own, place = (
            (machine.mac_costs, costs)
            if name in (*MAC_TIME, *MAC_ENERGY)
            else (machine.scales, scales)
        )
        place[name] = getattr(own, name) * math.exp(value)
    return replace(
        machine,
        scales=replace(machine.scales, **scales),
        mac_costs=replace(machine.mac_costs, **costs),
    )


def begin_walks(names: Sequence[str], fixed: str, found: Structure) -> list[list[float]]:
    """Return the starts of a fit: at the machine's constants, and with a large `fixed` cost.

    A fixed cost that starts small has no slope where the costs per MAC can move instead.
    """
    zero = [0.0] * len(names)
    return [zero, [LARGE_FIXED * (name == fixed) for name in names]] if found.scales else [zero]


def extend_prior(prior: Matrix, common: Sequence[bool]) -> Matrix:
    """Return the prior of factors with those of the three classes of MACs behind.

    The classes share the error of the factors marked `common`, and a common error of their own.
    """
    classes = len(MAC_CLASSES)
    shared = [COMMON**2 if one else 0.0 for one in common]
    rows = [[*row, *[shared[place]] * classes] for place, row in enumerate(prior)]
    for place in range(classes):
        own = [
            COMMON**2 + ALL_MACS**2 + (ONE_CLASS**2 if place == other else 0.0)
            for other in range(classes)
        ]
        rows.append([*shared, *own])
    return rows
