"""Activations in memory over time, as sums over knobs."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from accelerator.memory import Lifetime
from analysis.mixed_precision.cost_terms import Limit, Sum, add_sums


def alive_sums(stored: Mapping[str, Sum], lives: Sequence[Lifetime]) -> dict[int, Sum]:
    """Return for each step the bytes of what is alive then; `stored` has the bytes by name."""
    steps: dict[int, list[Sum]] = {}
    for life in lives:
        for step in range(life.first, life.last + 1):
            steps.setdefault(step, []).append(stored[life.name])
    return {step: add_sums(found) for step, found in steps.items()}


def room_limits(
    stored: Mapping[str, Sum], lives: Sequence[Lifetime], residents: Collection[str], free: float
) -> Iterator[Limit]:
    """Yield what must hold at each step for all residents to fit into `free` bytes.

    Steps at which they fit at any width are left out.
    """
    inside = [life for life in lives if life.name in residents]
    for total in alive_sums(stored, inside).values():
        most = sum(float(values.max()) for values in total.knobs.values())
        if total.constant + most > free:
            yield Limit(total, free)
