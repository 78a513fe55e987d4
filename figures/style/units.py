"""Numbers in readable form: three digits, an SI prefix, a unit."""

import math

_ENERGY = ((1.0, "pJ"), (1e3, "nJ"), (1e6, "µJ"), (1e9, "mJ"), (1e12, "J"))
_TIME = ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
_BYTES = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))
_COUNT = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))

Steps = tuple[tuple[float, str], ...]


def format_energy(pj: float) -> str:
    """Return an energy in pJ as text, such as "1.23 µJ"."""
    return _format_value(pj, _ENERGY)


def format_time(seconds: float) -> str:
    """Return a time in seconds as text, such as "180 µs"."""
    return _format_value(seconds, _TIME)


def format_bytes(size: float) -> str:
    """Return a size in bytes as text in binary units, such as "1.5 MiB"."""
    return _format_value(size, _BYTES)


def format_count(count: float) -> str:
    """Return a count as text, such as "5.4 M"."""
    return _format_value(count, _COUNT)


def format_rate(macs_per_s: float) -> str:
    """Return a rate in MAC/s as text, such as "512 GMAC/s"."""
    number, _, prefix = format_count(macs_per_s).partition(" ")
    return f"{number} {prefix}MAC/s"


def format_share(share: float) -> str:
    """Return a share of 1 as text, such as "71 %"; a small share keeps one decimal."""
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < abs(percent) < 9.95 else f"{percent:.0f} %"


def format_bits(bits: float) -> str:
    """Return a width as text; 32 bits mean float."""
    return "float" if bits >= 32 else f"{bits:.3g} bit"


def energy_scale(max_pj: float) -> tuple[float, str]:
    """Return (factor, unit): pJ times `factor` is in the unit that suits the largest value."""
    return _pick_scale(max_pj, _ENERGY)


def time_scale(max_s: float) -> tuple[float, str]:
    """Return (factor, unit): seconds times `factor` is in `unit`."""
    return _pick_scale(max_s, _TIME)


def bytes_scale(max_bytes: float) -> tuple[float, str]:
    """Return (factor, unit): bytes times `factor` is in `unit`."""
    return _pick_scale(max_bytes, _BYTES)


def _pick_scale(largest: float, steps: Steps) -> tuple[float, str]:
    size, unit = _pick_step(largest, steps)
    return 1 / size, unit


def _format_value(value: float, steps: Steps) -> str:
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "infinite" if value > 0 else "-infinite"
    size, unit = _pick_step(value, steps)
    return f"{_round_digits(value / size)} {unit}".strip()


def _pick_step(value: float, steps: Steps) -> tuple[float, str]:
    """Return the largest step that the value, rounded to three digits, reaches."""
    magnitude = abs(value) if math.isfinite(value) else 0.0
    # 999.6 reads 1000; but 1024 must not drop below the step of 1024.
    rounded = max(magnitude, float(f"{magnitude:.2e}"))
    if rounded == 0:
        return next((step for step in steps if step[0] == 1), steps[0])
    return next((step for step in reversed(steps) if rounded >= step[0]), steps[0])


def _round_digits(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 99.95 else f"{number:.3g}"
