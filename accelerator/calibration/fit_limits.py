"""What the rows of a fit cannot tell, in sentences."""

import math
from collections.abc import Iterator
from itertools import combinations

from accelerator.calibration.log_fit import Fits
from accelerator.machine import Machine

UNSEEN = 0.05
"""Share of every row below which a constant is not seen by the rows (our choice)."""
ALIKE = 0.25
"""Spread of the log of the ratio of two shares below which they count as alike (our choice)."""
WORDS = {
    "compute_time": "the time to compute",
    "memory_time": "the time to wait for memory",
    "fixed_time": "the fixed time of an inference",
    "compute_energy": "the energy to compute",
    "memory_energy": "the energy of memory",
    "cycle_energy": "the energy of a clock cycle",
    "static_energy": "the static power",
    "fixed_energy": "the fixed energy of an inference",
}


def explain_fit_limits(base: Machine, fits: Fits) -> Iterator[str]:
    """Name the constants that the rows could not tell apart and that stay at the priors."""
    for quantity, found in fits.items():
        fit = found.fit
        names = tuple(name for name in found.scales if name in WORDS)
        if len(names) < len(found.scales):
            yield (
                f"{quantity}: the rows do not follow the structure of {base.title} (measured over "
                f"estimated varies by a factor of {math.exp(found.spread):.2f}): a cost per MAC by "
                "kind of layer was fitted beside it."
            )
        largest = {name: max(row[place] for row in fit.shares) for place, name in enumerate(names)}
        unseen = [WORDS[name] for name in names if 0 < largest[name] < UNSEEN]
        if unseen:
            yield (
                f"{quantity}: no row spends {100 * UNSEEN:.0f} % or more on {' or '.join(unseen)}: "
                f"{'it stays' if len(unseen) == 1 else 'they stay'} near the base machine's."
            )
        seen = [place for place, name in enumerate(names) if largest[name] >= UNSEEN]
        for one, other in combinations(seen, 2):
            ratios = [math.log(row[one] / row[other]) for row in fit.shares if row[other] > 0]
            if len(ratios) > 1 and max(ratios) - min(ratios) < ALIKE:
                yield (
                    f"{quantity}: the rows cannot tell {WORDS[names[one]]} from "
                    f"{WORDS[names[other]]}: both grow alike in all of them, so their ratio stays "
                    "near the base machine's."
                )
