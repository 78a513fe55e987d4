"""Sentences on the treatment of costs that are no plain sums."""

from collections.abc import Iterable
from typing import Protocol

from accelerator.machine import Machine
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.search import MAX_SCENES


class Explained(Protocol):
    """A search with explained costs."""

    @property
    def machine(self) -> Machine:
        """The machine."""

    @property
    def scene_count(self) -> int:
        """The number of on-chip sets tried at first."""


_HANDLING = {
    Quantity.LATENCY: "Latency: the slower of computing and moving data, looked up for each layer "
    "at the widths of the layer and its neighbours; layers run one after the other, so the sum is "
    "exact.",
    Quantity.MEMORY: "Peak memory: the largest sum of the bytes alive at each step; every step is "
    "a separate limit, so the result is exact.",
}


def explain_handling(search: Explained, quantities: Iterable[Quantity]) -> tuple[str, ...]:
    """Return a sentence for each quantity that is no plain sum; plain sums need none."""
    distinct = tuple(dict.fromkeys(quantities))
    sentences = [_HANDLING[quantity] for quantity in distinct if quantity in _HANDLING]
    priced = [str(q) for q in distinct if q in (Quantity.ENERGY, Quantity.LATENCY)]
    if priced and search.scene_count > 1:
        sentences.append(
            f"Which values stay on chip on {search.machine.title} depends on the widths of all "
            f"layers, and {' and '.join(priced)} depends on these values: {search.scene_count} "
            f"sets are tried at first, {MAX_SCENES} at most. Each answer is exact for one set, and "
            "priced by the whole cost model; a set that was not tried may hold a better answer."
        )
    return tuple(sentences)
