"""Noise energies at the output that layers make alone: what the choice of bits adds up."""

import numpy as np

from analysis.bit_knobs import Knob
from analysis.bit_sums import Array
from analysis.bit_wiring import Part
from analysis.questions import Sensitivity, View
from quant.errors import QuantError
from quant.spec import FLOAT_BITS

Noise = dict[tuple[Part, int], float]


def noise_energies(sensitivity: Sensitivity) -> Noise:
    """Return the noise energy, as a share of the output's, that each part makes alone.

    Raises:
        QuantError: layers were not judged alone, each in a float network.
    """
    if sensitivity.sweep.view is not View.ONLY:
        raise QuantError(
            f"Noise adds up over layers judged alone; got the view {sensitivity.sweep.view}. "
            "Sweep in the view only."
        )
    return {
        ((score.question.layer, score.question.side), score.question.bits): 10
        ** (-score.sqnr_db / 10)
        for score in sensitivity.scores
    }


def noise_of(noise: Noise, part: Part, bits: int) -> float:
    """Return a part's noise energy.

    Raises:
        QuantError: it is not known.
    """
    if bits == FLOAT_BITS:
        return 0.0
    if (part, bits) not in noise:
        layer, side = part
        raise QuantError(
            f"The sensitivity to {side} of {layer!r} at {bits} bits must be known; it is not. "
            "Add these bits to the sweep, or leave them out of the choice."
        )
    return noise[part, bits]


def knob_noises(noise: Noise, knob: Knob) -> Array:
    """Return the noise energy of each option of a knob: the sum over its parts."""
    return np.array([sum(noise_of(noise, part, bits) for part in knob.parts) for bits in knob.bits])
