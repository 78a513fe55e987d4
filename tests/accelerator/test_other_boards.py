"""Fits of boards that no constant of a machine comes from: MLPerf Tiny, networks left out in turn.

The figures are inferences a second of the logs of rounds v0.7 to v1.3, performance or energy mode.
"""

import math
from dataclasses import replace

import pytest

from accelerator import estimate_workload, load_preset, parse_machine
from accelerator.calibration.before_fit import machine_before_fit
from accelerator.calibration.calibrate import Calibration, calibrate_machine
from accelerator.calibration.machine_file import write_machine
from accelerator.calibration.measurement import Measurement
from accelerator.machine import Machine
from accelerator.validation.networks import network_table

BOARDS = {
    "H7A3, runtime of v0.7": {"ad": 437.867, "ic": 14.197, "kws": 44.819, "vww": 15.522},
    "L4R5, TVM": {"ad": 85.332, "ic": 2.570, "kws": 6.941, "vww": 2.956},
    "U385, runtime of v1.3": {"ad": 185.2, "ic": 5.4875, "kws": 20.735, "vww": 10.143},
    "nRF5340, TVM with CMSIS-NN": {"ad": 159.579, "ic": 3.163, "kws": 13.143, "vww": 4.310},
}
CORTEX = machine_before_fit(load_preset("stm32u575_like"))


def rows_of(rates: dict[str, float]) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(network=name, workload=network_table(name), latency_s=1 / rate)
        for name, rate in rates.items()
    )


@pytest.fixture(scope="module")
def calibrations() -> list[Calibration]:
    return [calibrate_machine(CORTEX, rows_of(rates)) for rates in BOARDS.values()]


def test_three_networks_predict_the_fourth_on_boards_of_the_kind(
    calibrations: list[Calibration],
) -> None:
    """Eight boards, two Cortex-M bases: 90 % inside, mean width 2.3; before 84 % and 3.7."""
    left_out = [one for found in calibrations for one in found.left_out]
    assert sum(one.lies_in_interval for one in left_out) >= 15
    assert sum(one.high / one.low for one in left_out) / len(left_out) < 2.4
    errors = [abs(math.log(one.predicted / one.measured)) for one in left_out]
    assert math.exp(sum(errors) / len(errors)) < 1.3


@pytest.mark.parametrize("name", ["edge_systolic_8b", "gap9_ne16_like"])
def test_a_base_of_another_structure_predicts_too(name: str) -> None:
    """Before the costs per MAC the intervals of these spanned factors of 40 to 600."""
    base = machine_before_fit(load_preset(name))
    structure = f"do not follow the structure of {base.title} (measured"
    found = calibrate_machine(base, rows_of(BOARDS["H7A3, runtime of v0.7"]))
    assert all(one.lies_in_interval for one in found.left_out)
    assert sum(one.high / one.low for one in found.left_out) / 4 < 7
    assert any(structure in text for text in found.warnings)
    assert not any(name in text for text in found.warnings)


def _costs_per_mac(machine: Machine) -> float:
    return machine.mac_costs.dense_cycles + machine.mac_costs.separable_cycles


def test_a_board_of_the_bases_structure_needs_no_costs_per_mac(
    calibrations: list[Calibration],
) -> None:
    found = dict(zip(BOARDS, calibrations, strict=True))
    assert _costs_per_mac(found["U385, runtime of v1.3"].machine) == 0
    assert _costs_per_mac(found["L4R5, TVM"].machine) > 0


def test_costs_per_mac_are_written_and_read(calibrations: list[Calibration]) -> None:
    machine = calibrations[1].machine
    again = parse_machine(write_machine(machine, "fitted to 4 rows"))
    assert replace(again, sources=()) == replace(machine, sources=())
    assert again.source_of_number("mac_costs.dense_cycles") == "fitted to 4 rows"


def test_costs_per_mac_follow_clock_macs_and_widths() -> None:
    work = network_table("ad")
    macs = sum(op.macs for op in work.ops)
    plain = estimate_workload(work, CORTEX)
    costs = replace(CORTEX.mac_costs, linear_cycles=2.0, linear_pj=10.0, dense_cycles=100.0)
    report = estimate_workload(work, replace(CORTEX, mac_costs=costs))
    assert report.latency_s - plain.latency_s == pytest.approx(2 * macs / CORTEX.clock_hz)
    cycles = CORTEX.overheads.pj_per_cycle * 2 * macs
    assert report.energy_pj - plain.energy_pj == pytest.approx(10 * macs + cycles, rel=1e-4)
    assert report.energy_pj == pytest.approx(sum(layer.energy_pj for layer in report.layers))
    wide = network_table("ad", 8, 16)
    slow, base = (
        estimate_workload(wide, one) for one in (replace(CORTEX, mac_costs=costs), CORTEX)
    )
    assert slow.latency_s - base.latency_s == pytest.approx(4 * macs / CORTEX.clock_hz)
