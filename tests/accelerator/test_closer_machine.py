"""Which shipped machine follows the measurements of a board: the board's own kind is found."""

from dataclasses import replace

import pytest

from accelerator.calibration.calibrate import Calibration
from accelerator.calibration.closer_machine import (
    advise_on_base,
    spread_over_rows,
    suggest_closer_base,
)
from accelerator.calibration.measurement import Measurement
from accelerator.machine import load_preset, preset_names
from accelerator.validation.measurements import published_chip_rows, rows_for_fit

SHIPPED = [load_preset(name) for name in preset_names() if "@" not in name]
OLD_RUNTIME = tuple(row.measurement for row in published_chip_rows() if row.use == "other runtime")


def rows_of(name: str) -> tuple[Measurement, ...]:
    return tuple(row for row in rows_for_fit(name) if not row.point)


@pytest.mark.parametrize(
    ("chip", "kind"),
    [("gap9_ne16_like", "GAP9"), ("ndp120_like", "NDP120"), ("stm32u575_like", "STM32")],
)
def test_a_base_of_another_kind_is_told_the_boards_own(chip: str, kind: str) -> None:
    told = suggest_closer_base(load_preset("edge_systolic_8b"), SHIPPED, rows_of(chip))
    assert told is not None
    assert told.startswith(f"The rows follow {kind}")
    assert "on Edge systolic array, 8 bit." in told


def test_rows_of_an_older_runtime_point_to_a_cortex() -> None:
    """These rows no machine was fitted to."""
    told = suggest_closer_base(load_preset("ethos_u55_128_like"), SHIPPED, OLD_RUNTIME)
    assert told is not None
    assert "follow STM32" in told
    assert suggest_closer_base(load_preset("stm32u575_like"), SHIPPED, OLD_RUNTIME) is None


def test_two_networks_are_too_few_to_tell() -> None:
    rows = rows_of("gap9_ne16_like")[:2]
    assert suggest_closer_base(load_preset("edge_systolic_8b"), SHIPPED, rows) is None


def test_a_common_factor_is_no_spread() -> None:
    cortex, rows = load_preset("stm32u575_like"), rows_of("stm32u575_like")
    slow = [replace(row, latency_s=30 * (row.latency_s or 0.0)) for row in rows]
    assert spread_over_rows(cortex, slow) == pytest.approx(spread_over_rows(cortex, rows))


def test_the_advice_joins_the_warnings_of_a_fit() -> None:
    base, rows = load_preset("edge_systolic_8b"), rows_of("ndp120_like")
    told = advise_on_base(Calibration(base, (), ("one",)), base, rows).warnings
    assert told[0] == "one"
    assert "NDP120 like" in told[1]
