"""Noise energies at the output that layers make alone: what the choice of bits adds up."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from analysis.evaluation.measures import Array
from analysis.prediction.gaussian_process import Shares
from analysis.sensitivity.sweep import CellScore, Sensitivity, View
from quant.assignment import Cell, Knob
from quant.errors import QuantError
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Side
from quant.spec import FLOAT_BITS

Noise = dict[Cell, float]


@dataclass(frozen=True, slots=True)
class Summed:
    """What the parts of a network do alone, added up.

    `energy` is that of the noise as a share of the output's; `divergence` the sum of mean KL
    divergences in nats, None where outputs are no classes; `shares` of the energy by part.
    """

    energy: float
    divergence: float | None = None
    shares: Shares = ()

    def scaled(self, factor: float) -> "Summed":
        """Return the same mixture with `factor` times the energy."""
        divergence = None if self.divergence is None else factor * self.divergence
        return Summed(factor * self.energy, divergence, self.shares)


UNKNOWN = Summed(math.nan)


@dataclass(frozen=True, slots=True)
class NoiseTable:
    """Noise energies and KL divergences of parts alone; the latter None where some are unknown."""

    energies: Noise
    divergences: Noise | None

    def sum_up(self, cells: Iterable[Cell]) -> Summed:
        """Return what the parts make together, to first order.

        Raises:
            QuantError: one is not known.
        """
        chosen = tuple(cells)
        energies = np.array([noise_of(self.energies, cell) for cell in chosen])
        total = float(energies.sum())
        shares = tuple((energies / total).tolist()) if total > 0 else ()
        if self.divergences is None:
            return Summed(total, None, shares)
        return Summed(total, sum(noise_of(self.divergences, c) for c in chosen), shares)


def noise_table(graph: FloatGraph, *known: Sensitivity) -> NoiseTable:
    """Return what is known of all parts; a later sensitivity counts over an earlier one.

    Raises:
        QuantError: layers were not judged alone, each in a float network.
    """
    energies: Noise = {}
    divergences: Noise = {}
    complete = True
    for sensitivity in known:
        energies |= _table(graph, sensitivity, lambda score: 10 ** (-score.sqnr_db / 10))
        complete &= all(score.kl is not None for score in sensitivity.scores)
        divergences |= _table(graph, sensitivity, lambda score: max(score.kl or 0.0, 0.0))
    return NoiseTable(energies, divergences if complete and divergences else None)


def _table(graph: FloatGraph, known: Sensitivity, value: Callable[[CellScore], float]) -> Noise:
    if known.sweep.view is not View.ONLY:
        raise QuantError(
            f"Noise adds up over layers judged alone; got the view {known.sweep.view}. "
            "Sweep in the view only."
        )
    chosen = known.sweep.config.resolve(graph.layers)
    found = {}
    for score in known.scores:
        layer, side = score.question.layer, score.question.side
        grain = chosen[layer].weight.granularity if side is Side.WEIGHTS else None
        found[(layer, side), score.question.bits, grain] = value(score)
    return found


def noise_of(noise: Noise, cell: Cell) -> float:
    """Return a part's noise energy.

    Raises:
        QuantError: it is not known.
    """
    (layer, side), bits, grain = cell
    if bits == FLOAT_BITS:
        return 0.0
    if cell not in noise:
        raise QuantError(
            f"The sensitivity to {side} of {layer!r} at {bits} bits"
            f"{'' if grain is None else f', {grain},'} must be known; it is not. "
            "Add these to the sweep, or leave them out of the choice."
        )
    return noise[cell]


def knob_noises(noise: Noise, knob: Knob) -> Array:
    """Return the noise energy of each option of a knob: the sum over its parts."""
    options = range(len(knob.bits))
    return np.array([sum(noise_of(noise, cell) for cell in knob.cells(o)) for o in options])
