"""The shipped machines beside measured chips: the bars of the design."""

import sys

import pytest

from accelerator import estimate_workload, load_preset
from accelerator.calibration.before_fit import machine_before_fit
from accelerator.calibration.calibrate import calibrate_machine
from accelerator.validate import main
from accelerator.validation.compare import (
    MachineCheck,
    check_measured_machines,
    check_measured_rows,
)
from accelerator.validation.measurements import published_chip_rows, rows_for_fit
from accelerator.validation.networks import TINY, network_table
from accelerator.validation.refit import measured_machines

CHIPS = ("gap9_ne16_like", "gap9_ne16_like@0.80V", "stm32u575_like", "stm32l4r5_like")


@pytest.fixture(scope="module")
def machines() -> dict[str, MachineCheck]:
    return {check.machine: check for check in check_measured_machines()}


def test_the_tables_have_the_published_macs_and_weights() -> None:
    sizes = {"ic": (12.50, 78), "kws": (2.66, 22), "vww": (7.49, 208), "ad": (0.264, 264)}
    for name, (millions, thousands) in sizes.items():
        ops = network_table(name).ops
        assert sum(op.macs for op in ops) / 1e6 == pytest.approx(millions, rel=0.003)
        assert sum(op.shape_weights for op in ops) / 1e3 == pytest.approx(thousands, rel=0.01)
    convolutions = network_table("alexnet_convolutions")
    assert sum(op.macs for op in convolutions.ops) / 1e6 == pytest.approx(665.8, rel=0.01)


@pytest.mark.parametrize("name", [*CHIPS, "ndp120_like", "ndp120_like@1.1V"])
def test_the_order_of_energy_is_that_of_the_chip(name: str) -> None:
    rows = {
        row.measurement.network: row.measurement
        for row in published_chip_rows()
        if row.preset_name == name and row.is_fitted_row
    }
    energies = {
        network: estimate_workload(row.workload, load_preset(name)).energy_pj
        for network, row in rows.items()
    }
    measured = sorted(rows, key=lambda network: rows[network].energy_j or 0.0)
    assert sorted(energies, key=energies.__getitem__) == measured
    assert len(measured) == (3 if name.startswith("ndp") else 4)


def test_gap9_cycles_are_within_10_percent_with_one_factor() -> None:
    for check in check_measured_rows("gap9_ne16_like"):
        assert check.latency_error is not None
        assert abs(check.latency_error) < 0.10


def test_the_energy_of_a_network_left_out_is_near(machines: dict[str, MachineCheck]) -> None:
    for check in machines.values():
        assert check.worst_error("energy") < 0.20
        assert check.mean_error("energy") < 0.12
        assert check.worst_error("latency") < 0.12
        assert (check.energy_rank, check.latency_rank) == (1.0, 1.0)


@pytest.mark.parametrize("network", TINY)
def test_the_ratio_of_energies_at_two_voltages_is_within_5_percent(network: str) -> None:
    measured = {
        row.point: row.energy_j or 0.0
        for row in rows_for_fit("gap9_ne16_like")
        if row.network == network
    }
    bits = {"ic": 7, "kws": 5, "vww": 5, "ad": 6}[network]
    low, high = (
        estimate_workload(
            network_table(network, bits), load_preset(f"gap9_ne16_like{point}")
        ).energy_pj
        for point in ("", "@0.80V")
    )
    assert high / low == pytest.approx(measured["0.80V"] / measured[""], rel=0.05)


def test_intervals_hold_nine_of_ten_pairs_of_chip_and_network(
    machines: dict[str, MachineCheck],
) -> None:
    left_out = [one for check in machines.values() for one in check.left_out]
    old = [row.measurement for row in published_chip_rows() if row.use == "other runtime"]
    left_out += calibrate_machine(machine_before_fit(load_preset("stm32u575_like")), old).left_out
    for quantity in ("energy", "latency"):
        pairs = [one for one in left_out if one.quantity == quantity]
        assert len(pairs) == 26
        assert sum(one.lies_in_interval for one in pairs) >= 0.9 * len(pairs)
        assert sum(one.high / one.low for one in pairs) / len(pairs) < 2


def test_the_files_hold_what_a_new_fit_gives(machines: dict[str, MachineCheck]) -> None:
    assert set(machines) == set(measured_machines())
    for name, check in machines.items():
        fit = load_preset(name).fit
        assert fit is not None
        assert fit.energy is not None
        assert fit.latency is not None
        for error, quantity in ((fit.energy, "energy"), (fit.latency, "latency")):
            assert error.mean_error == pytest.approx(check.mean_error(quantity), abs=2e-3)
            assert error.worst_error == pytest.approx(check.worst_error(quantity), abs=2e-3)


def test_every_measured_row_has_a_source_and_lies_in_its_interval() -> None:
    for row in published_chip_rows():
        assert len(row.measurement.source) > 10
        if not row.is_fitted_row:
            continue
        report = estimate_workload(row.measurement.workload, load_preset(row.preset_name))
        assert report.energy_pj_ci is not None
        low, high = report.energy_pj_ci
        assert low < 1e12 * (row.measurement.energy_j or 0.0) < high


def test_the_command_prints_every_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["accelerator.validate"])
    main()
    printed = capsys.readouterr().out
    assert printed.count("MLPerf") == 0
    assert printed.count("\n") == len(published_chip_rows()) + 3 + len(measured_machines())
    assert "STM32U575" in printed
    assert "8 of 8 inside" in printed
