"""How the search deals with costs that are no plain sums over layers, in words."""

from collections.abc import Iterable

from analysis.cost.quantity import Quantity
from analysis.mixed_precision.search import MOST_SCENES, BitSearch

_OF_QUANTITY = {
    Quantity.LATENCY: "Latency: the slower of computing and moving data, looked up for each layer "
    "at its own and its neighbours' widths; layers run one after the other, so the sum is exact.",
    Quantity.MEMORY: "Peak memory: the largest of the sums of what is alive at each step; every "
    "step is a limit of its own, so it is exact.",
}


def explain_handling(search: BitSearch, quantities: Iterable[Quantity]) -> tuple[str, ...]:
    """Say for each quantity that is no plain sum how it is dealt with; nothing for the others."""
    asked = tuple(dict.fromkeys(quantities))
    told = [_OF_QUANTITY[quantity] for quantity in asked if quantity in _OF_QUANTITY]
    priced = [str(q) for q in asked if q in (Quantity.ENERGY, Quantity.LATENCY)]
    if priced and search.scenes > 1:
        told.append(
            f"What stays on chip on {search.machine.name} depends on all layers' widths, and "
            f"{' and '.join(priced)} on what stays: {search.scenes} sets are tried at first, "
            f"{MOST_SCENES} at most. Each answer is exact for its set, and priced by the whole "
            "cost model; a set that was not tried may hold a better one."
        )
    return tuple(told)
