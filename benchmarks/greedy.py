"""The baseline: demote one choice after the other, the least sensitive first."""

from collections.abc import Callable

from analysis.cost.quantity import Quantity
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.search import BitSearch

Rank = Callable[[float, float], float]  # of the noise that a step adds and the cost that it saves


def least_sensitive(noise: float, saved: float) -> float:
    """Rank a step by its noise alone, however little it saves."""
    del saved
    return noise


def best_bargain(noise: float, saved: float) -> float:
    """Rank a step by its noise for what it saves; steps that save nothing come last."""
    return noise / saved if saved > 0 else float("inf")


def demote(search: BitSearch, quantity: Quantity, most: float, rank: Rank) -> Proposal | None:
    """Start at the widest bits; take the step of lowest rank until `quantity` is at most `most`.

    None where the narrowest bits still cost more.
    """
    choice = [0] * len(search.knobs)
    while quantity.value_in(search.costs.cost_report(choice)) > most:
        steps = [i for i, knob in enumerate(search.knobs) if choice[i] + 1 < len(knob.bits)]
        if not steps:
            return None
        choice[min(steps, key=_ranking(search, quantity, choice, rank).__getitem__)] += 1
    return search.judge_config("Greedy", search.costs.config_of_choice(choice))


def _ranking(
    search: BitSearch, quantity: Quantity, choice: list[int], rank: Rank
) -> dict[int, float]:
    """Return the rank of demoting each knob by one step from `choice`."""
    sums = search.costs.quantity_sums(quantity, search.costs.residents_on_chip(choice))
    now = max(total.value_at(choice) for total in sums)
    found = {}
    for i, knob in enumerate(search.knobs):
        if choice[i] + 1 < len(knob.bits):
            after = [*choice[:i], choice[i] + 1, *choice[i + 1 :]]
            noise = search.noise.value_at(after) - search.noise.value_at(choice)
            found[i] = rank(noise, now - max(total.value_at(after) for total in sums))
    return found
