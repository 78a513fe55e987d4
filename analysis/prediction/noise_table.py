"""Noise energy at the output for each layer alone: the terms that the choice of bits adds up."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from analysis.evaluation.measures import Array
from analysis.prediction.gaussian_process import Shares
from analysis.prediction.trial import ConfigTrial
from analysis.sensitivity.sweep import CellScore, Sensitivity, View
from quant.assignment import Cell, Knob
from quant.errors import QuantError
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Side
from quant.spec import FLOAT_BITS

Noise = dict[Cell, float]
Trials = dict[tuple[Cell, ...], ConfigTrial]


@dataclass(frozen=True, slots=True)
class NoiseSum:
    """The noise of several parts of a network, each measured alone, added up.

    `energy` is the noise energy as a share of the output's energy; `divergence` the sum of mean KL
    divergences in nats, None without classes; `shares` the share of each part in the energy.
    `trial` is a trial of the whole network, None before one.
    """

    energy: float
    divergence: float | None = None
    shares: Shares = ()
    trial: ConfigTrial | None = None

    def scale_energy(self, factor: float) -> "NoiseSum":
        """Return the same mixture of noise, untried, with `factor` times the energy."""
        divergence = None if self.divergence is None else factor * self.divergence
        return NoiseSum(factor * self.energy, divergence, self.shares)


UNKNOWN_SUM = NoiseSum(math.nan)


@dataclass(frozen=True, slots=True)
class NoiseTable:
    """Noise energy and KL divergence of each part alone; divergences are None where incomplete.

    `trials` holds the trials of whole networks, by the cells; a later trial joins the mapping.
    """

    energies: Noise
    divergences: Noise | None
    trials: Trials = field(default_factory=dict)

    def sum_cells(self, cells: Iterable[Cell]) -> NoiseSum:
        """Return the sum over the cells, the noise of the whole to first order.

        Raises:
            QuantError: the table lacks a cell.
        """
        chosen = tuple(cells)
        energies = np.array([noise_of_cell(self.energies, cell) for cell in chosen])
        total = float(energies.sum())
        shares = tuple((energies / total).tolist()) if total > 0 else ()
        trial = self.trials.get(chosen)
        if self.divergences is None:
            return NoiseSum(total, None, shares, trial)
        divergence = sum(noise_of_cell(self.divergences, cell) for cell in chosen)
        return NoiseSum(total, divergence, shares, trial)


def build_noise_table(
    graph: FloatGraph, *known: Sensitivity, trials: Trials | None = None
) -> NoiseTable:
    """Return the noise of all parts; a later sensitivity overrides an earlier one.

    The table looks trials up in `trials`.

    Raises:
        QuantError: a sensitivity did not quantize each layer alone in a float network.
    """
    energies: Noise = {}
    divergences: Noise = {}
    complete = True
    for sensitivity in known:
        energies |= _value_by_cell(graph, sensitivity, lambda score: 10 ** (-score.sqnr_db / 10))
        complete &= all(score.kl is not None for score in sensitivity.scores)
        divergences |= _value_by_cell(graph, sensitivity, lambda score: max(score.kl or 0.0, 0.0))
    whole = divergences if complete and divergences else None
    return NoiseTable(energies, whole, {} if trials is None else trials)


def _value_by_cell(
    graph: FloatGraph, known: Sensitivity, value: Callable[[CellScore], float]
) -> Noise:
    if known.sweep.view is not View.ONLY:
        raise QuantError(
            f"Noise adds up over layers judged alone; got the view {known.sweep.view}. "
            "Sweep in the view only."
        )
    chosen = known.sweep.config.resolve_layers(graph.layers)
    values = {}
    for score in known.scores:
        layer, side = score.question.layer, score.question.side
        grain = chosen[layer].weight.granularity if side is Side.WEIGHTS else None
        values[(layer, side), score.question.bits, grain] = value(score)
    return values


def noise_of_cell(noise: Noise, cell: Cell) -> float:
    """Return the noise energy of a part; 0 for float.

    Raises:
        QuantError: `noise` lacks the part.
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


def noise_by_option(noise: Noise, knob: Knob) -> Array:
    """Return the noise energy (options,) of each option of a knob, summed over the parts."""
    options = range(len(knob.bits))
    return np.array(
        [sum(noise_of_cell(noise, cell) for cell in knob.cells_at_option(o)) for o in options]
    )
