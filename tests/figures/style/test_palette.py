import itertools
import math

import pytest

from accelerator.report import Energy
from figures.style import palette

# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
VISIONS = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}  # fmt: skip
DARK, LIGHT = "#0E1117", "#FFFFFF"
ROLES = {
    "weight": palette.WEIGHT, "activation": palette.ACTIVATION, "float": palette.FLOAT,
    "before": palette.BEFORE, "after": palette.AFTER,
}  # fmt: skip
ALL = ROLES | palette.COMPONENTS


def linear(color: str) -> list[float]:
    shares = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]


def luminance(color: str) -> float:
    red, green, blue = linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def seen(color: str, vision: str) -> tuple[float, float, float]:
    """CIE Lab of a colour as someone with that vision sees it."""
    rgb = linear(color)
    r, g, b = (
        min(1.0, max(0.0, sum(w * c for w, c in zip(row, rgb, strict=True))))
        for row in VISIONS[vision]
    )
    white = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in white)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def nearest(colors: dict[str, str], vision: str) -> float:
    pairs = itertools.combinations(colors.values(), 2)
    return min(math.dist(seen(a, vision), seen(b, vision)) for a, b in pairs)


@pytest.mark.parametrize("vision", VISIONS)
def test_what_stands_side_by_side_can_be_told_apart(vision: str) -> None:
    # 2.3 is a just noticeable difference
    assert nearest(palette.COMPONENTS, vision) > 20
    both = {"weight": palette.WEIGHT, "activation": palette.ACTIVATION, "float": palette.FLOAT}
    assert nearest(both, vision) > 25
    assert nearest({"b": palette.BEFORE, "a": palette.AFTER}, vision) > 25


def test_no_colour_has_two_meanings() -> None:
    assert len(set(ALL.values())) == len(ALL)
    assert nearest(ALL, "normal") > 10


@pytest.mark.parametrize("name", ALL)
def test_colours_are_seen_on_light_and_dark(name: str) -> None:
    assert contrast(ALL[name], LIGHT) > 1.65
    assert contrast(ALL[name], DARK) > 2.5


def test_every_component_has_a_colour_and_a_name() -> None:
    assert set(palette.COMPONENTS) == set(Energy().parts_by_name()) == set(palette.COMPONENT_NAMES)


def test_before_and_after_share_a_hue() -> None:
    hues = [math.atan2(lab[2], lab[1]) for lab in (seen(palette.BEFORE, "normal"),
                                                   seen(palette.AFTER, "normal"))]  # fmt: skip
    assert abs(hues[0] - hues[1]) < math.radians(15)
    assert luminance(palette.AFTER) < luminance(palette.BEFORE)


def test_few_bits_are_hot_and_float_is_grey() -> None:
    reds = [linear(palette.bits_color(bits)) for bits in (2, 3, 4, 6, 8, 12, 16)]
    warmth = [color[0] - color[2] for color in reds]
    assert warmth[-1] == min(warmth)
    assert warmth[0] > 0 > warmth[-1]
    assert palette.bits_color(32) == palette.FLOAT
    assert palette.bits_color(2) == "#C2162F"
    assert palette.bits_color(1) == palette.bits_color(2)
    assert len({palette.bits_color(bits) for bits in range(2, 17)}) == 15


def test_bit_scale_is_the_same_scale() -> None:
    scale = palette.bits_scale()
    assert [entry[0] for entry in scale] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [entry[1] for entry in scale] == [palette.bits_color(b) for b in (2, 4, 8, 16)]


def test_fading() -> None:
    assert palette.with_opacity("#FF8000", 0.5) == "rgba(255,128,0,0.5)"
