"""A colour for a meaning; the colours are readable on light and dark pages.

A search chose the energy components for the largest distance between two colours under normal
vision, protanopia, deuteranopia and tritanopia (Machado et al. 2009); tests measure the distances.
"""

import math

WEIGHT = "#2F7FC1"
ACTIVATION = "#D9711A"
FLOAT = "#8B9097"
BEFORE = "#A79BE8"
AFTER = "#5D4FB3"
PREDICTED = "#7C6ED4"  # between BEFORE and AFTER: thin lines stay readable on light and dark

COMPONENTS = {
    "mac_pj": "#A3302D",
    "register_pj": "#EB1E0C",
    "sram_pj": "#16DAF2",
    "noc_pj": "#1EA07B",
    "dram_pj": "#255E72",
    "requant_pj": "#BACD6A",
    "static_pj": "#EDC129",
    "weight_memory_pj": "#6133FB",
    "cycle_pj": "#9CCEBF",
    "fixed_pj": "#E623B1",
}
"""Colours by the names of `Energy.parts_by_name()`."""

COMPONENT_NAMES = {
    "mac_pj": "MAC",
    "register_pj": "Registers",
    "sram_pj": "SRAM",
    "noc_pj": "Network on chip",
    "dram_pj": "DRAM",
    "requant_pj": "Requantization",
    "static_pj": "Static",
    "weight_memory_pj": "Weight memory",
    "cycle_pj": "Clock cycles",
    "fixed_pj": "Fixed",
}

BOUNDS = {
    "compute": COMPONENTS["mac_pj"],
    "dram": COMPONENTS["dram_pj"],
    "sram": COMPONENTS["sram_pj"],
}
"""The bound of a layer has the colour of the energy spent there."""

BOUND_NAMES = {"compute": "compute", "dram": "DRAM", "sram": "SRAM"}

_BIT_STOPS = ((2, (194, 22, 47)), (4, (228, 87, 46)), (8, (224, 166, 60)), (16, (120, 165, 190)))


def bits_color(bits: float) -> str:
    """Return the colour of a width: hot for few bits, cool for many bits, grey for float."""
    if bits > 16:
        return FLOAT
    place = min(max(math.log2(max(bits, 1)) - 1, 0.0), 3.0)
    low = min(int(place), 2)
    start, end = _BIT_STOPS[low][1], _BIT_STOPS[low + 1][1]
    mixed = (round(a + (place - low) * (b - a)) for a, b in zip(start, end, strict=True))
    return "#{:02X}{:02X}{:02X}".format(*mixed)


def bits_scale() -> list[list[float | str]]:
    """Return the colours of `bits_color` as Plotly's `colorscale`, over log2(bits) from 1 to 4."""
    return [[place / 3, bits_color(2 ** (place + 1))] for place in range(4)]


def with_opacity(color: str, opacity: float = 0.45) -> str:
    """Return a "#rrggbb" colour as rgba with an opacity."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
