import math

import pytest

from figures.style.units import (
    bytes_scale,
    energy_scale,
    format_bits,
    format_bytes,
    format_count,
    format_energy,
    format_rate,
    format_share,
    format_time,
    time_scale,
)


@pytest.mark.parametrize(
    ("pj", "text"),
    [
        (0.0, "0 pJ"), (0.0123, "0.0123 pJ"), (1.0, "1 pJ"), (999.4, "999 pJ"), (999.6, "1 nJ"),
        (1234.0, "1.23 nJ"), (12_340.0, "12.3 nJ"), (1.23e6, "1.23 µJ"), (1.144e8, "114 µJ"),
        (1.52e9, "1.52 mJ"), (3e12, "3 J"), (5e15, "5000 J"), (-2500.0, "-2.5 nJ"),
        (math.nan, "unknown"), (math.inf, "infinite"),
    ],
)  # fmt: skip
def test_energy(pj: float, text: str) -> None:
    assert format_energy(pj) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (2e-9, "2 ns"), (1.804e-4, "180 µs"), (0.0144, "14.4 ms"), (0.9999, "1 s"),
     (90.0, "90 s"), (1e-12, "0.001 ns")],
)  # fmt: skip
def test_time(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1000, "1000 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"),
     (5 * 2**20, "5 MiB"), (3 * 2**30, "3 GiB")],
)  # fmt: skip
def test_bytes(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (7, "7"), (999, "999"), (5_400_000, "5.4 M"), (12_345, "12.3 k"), (2e9, "2 G")],
)
def test_count(count: float, text: str) -> None:
    assert format_count(count) == text


def test_rate_share_and_bits() -> None:
    assert format_rate(5.12e11) == "512 GMAC/s"
    assert format_rate(7.0) == "7 MAC/s"
    assert [format_share(share) for share in (0.0, 0.004, 0.0996, 0.714, 1.0)] == [
        "0 %", "0.4 %", "10 %", "71 %", "100 %",
    ]  # fmt: skip
    assert [format_bits(bits) for bits in (4, 6.31, 32)] == ["4 bit", "6.31 bit", "float"]


@pytest.mark.parametrize(
    ("largest", "factor", "unit"),
    [(0.0, 1.0, "pJ"), (2e6, 1e-6, "µJ"), (999.9, 1e-3, "nJ"), (7e9, 1e-9, "mJ")],
)
def test_one_scale_for_an_axis(largest: float, factor: float, unit: str) -> None:
    found = energy_scale(largest)
    assert found[0] == pytest.approx(factor)
    assert found[1] == unit


def test_scales_of_time_and_size() -> None:
    assert time_scale(2e-3) == (1e3, "ms")
    assert bytes_scale(3000) == (1 / 1024, "KiB")
