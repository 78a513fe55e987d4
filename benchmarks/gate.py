"""How often the gate is wrong, and what it finds: exact sums over lost and won images.

    python -m benchmarks.gate

No network runs. Every pair (lost, won) of n images has a multinomial chance; the gate's decision on
"drop > limit" is weighed by these chances. A false alarm is "broken" where the true drop is the
limit, a false pass is "holds" there. Power is the chance of "broken" at a larger drop.
Checks that stop when they are decided are drawn 2000 times with a seed.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
from scipy.stats import binom

from analysis.evaluation.intervals import paired_interval
from analysis.gate.early_stop import look_confidences, look_sizes

IMAGES = (32, 64, 128, 256, 500)
LIMITS = (0.0, 0.005, 0.01, 0.02)
CHANGED = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
"""Shares of images whose answer changes."""
DROPS = (0.02, 0.05, 0.1)
LEAST = 1e-9
MOST_FALSE = 0.05
TRIALS = 2000


def chances(n: int, drop: float, changed: float) -> Iterator[tuple[int, int, float]]:
    """Yield (lost, won, chance) for n images of which a share changes and `drop` is lost."""
    for count in range(n + 1):
        weight = binom.pmf(count, n, changed)
        if weight < LEAST:
            continue
        shares = weight * binom.pmf(np.arange(count + 1), count, (changed + drop) / 2 / changed)
        yield from ((lost, count - lost, p) for lost, p in enumerate(shares.tolist()) if p > LEAST)


def rates(n: int, limit: float, drop: float, changed: float) -> tuple[float, float]:
    """Return the chances of "broken" and of "holds" for the condition drop > limit."""
    broken = holds = 0.0
    for lost, won, chance in chances(n, drop, changed):
        found = paired_interval(lost, won, n, 0.95)
        broken += chance * (found.low > limit)
        holds += chance * (found.high <= limit)
    return broken, holds


@cache
def _ends(lost: int, won: int, n: int, confidence: float) -> tuple[float, float]:
    found = paired_interval(lost, won, n, confidence)
    return found.low, found.high


def sequential_rates(n: int, limit: float, drop: float, changed: float) -> tuple[float, ...]:
    """Return the chances of "broken" and "holds", and the mean images, of checks that stop."""
    sizes = look_sizes(n)
    levels = look_confidences(len(sizes), 0.95)
    values = np.random.default_rng(0).random((TRIALS, n))
    lost = (values < (changed + drop) / 2).cumsum(1)
    both = (values < changed).cumsum(1)
    broken = holds = seen = 0
    for row, all_changed in zip(lost, both, strict=True):
        for size, level in zip(sizes, levels, strict=True):
            count = int(row[size - 1])
            low, high = _ends(count, int(all_changed[size - 1]) - count, size, level)
            if low > limit or high <= limit or size == n:
                broken, holds, seen = broken + (low > limit), holds + (high <= limit), seen + size
                break
    return broken / TRIALS, holds / TRIALS, seen / TRIALS


def print_sequential_rates() -> float:
    """Print errors, power and images of checks that stop; return the worst chance of an error."""
    worst = 0.0
    for n in IMAGES[2:]:
        alarm, passed, _ = sequential_rates(n, 0.005, 0.005, 0.03)
        worst = max(worst, alarm, passed)
        powers = []
        for drop in DROPS:
            power, _, seen = sequential_rates(n, 0.005, drop, drop + 0.02)
            powers.append(f"{100 * drop:.0f} points {power:.0%} with {seen:.0f} images")
        print(
            f"{n:4d} images at most, stopping: {alarm:.2%} alarms, {passed:.2%} passes; power: "
            f"{', '.join(powers)}"
        )
    return worst


def main() -> None:
    """Print the worst false alarm and false pass for each number of images, and the power."""
    worst = 0.0
    for n in IMAGES:
        for limit in LIMITS:
            pairs = [rates(n, limit, limit, share) for share in CHANGED if share >= limit]
            alarm, passed = (max(values) for values in zip(*pairs, strict=True))
            worst = max(worst, alarm, passed)
            print(
                f"{n:4d} images, limit {100 * limit:.1f}: {alarm:.2%} alarms, {passed:.2%} passes"
            )
    for n in IMAGES:
        powers = ", ".join(
            f"{100 * drop:.0f} points {rates(n, 0.005, drop, drop + 0.02)[0]:.0%}" for drop in DROPS
        )
        print(f"{n:4d} images, limit 0.5, power: {powers}")
    worst = max(worst, print_sequential_rates())
    verdict = "met" if worst <= MOST_FALSE else "MISSED"
    print(f"worst {worst:.2%}; at most {MOST_FALSE:.0%}: {verdict}")


if __name__ == "__main__":
    main()
