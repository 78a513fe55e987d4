"""Fitting machines to measurements: against invented boards whose truth is known."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from accelerator import Machine, estimate_workload, load_machine, load_preset, parse_machine
from accelerator.calibration.before_fit import machine_before_fit
from accelerator.calibration.calibrate import PJ_PER_J, calibrate_machine
from accelerator.calibration.linear import invert_matrix, multiply_by_vector
from accelerator.calibration.log_fit import fit_log_factors, prior_covariance
from accelerator.calibration.machine_file import machine_with_name, write_machine
from accelerator.calibration.measurement import Measurement
from accelerator.calibration.measurement_file import (
    measurements_of_rows,
    read_measurement_bytes,
    read_measurement_rows,
    read_uniform_widths,
    workload_of_batch,
)
from accelerator.calibration.next_measurement import rank_next_measurements
from accelerator.calibration.questions import find_questions
from accelerator.interval import describe_machine_error, describe_machine_trust, student_t_95
from accelerator.parts import FittedMac
from accelerator.validation.measurements import rows_for_fit
from accelerator.validation.networks import TINY, network_table

CORTEX = machine_before_fit(load_preset("stm32u575_like"))
GAP9 = machine_before_fit(load_preset("gap9_ne16_like"))


def measured_on(
    board: Machine, names: tuple[str, ...] = TINY, noise: float = 0.0, seed: int = 0
) -> tuple[Measurement, ...]:
    """Return what a board that is exactly like a machine would measure, with noise in the log."""
    dice = random.Random(seed)
    rows = []
    for name in names:
        work = network_table(name)
        report = estimate_workload(work, board)
        rows.append(
            Measurement(
                network=name,
                workload=work,
                latency_s=report.latency_s * math.exp(dice.gauss(0, noise)),
                energy_j=report.energy_pj / PJ_PER_J * math.exp(dice.gauss(0, noise)),
            )
        )
    return tuple(rows)


def board(base: Machine, **factors: float) -> Machine:
    return replace(base, scales=replace(base.scales, **factors))


def test_a_matrix_times_its_inverse_is_one() -> None:
    matrix = [[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]
    columns = list(zip(*invert_matrix(matrix), strict=True))
    for place, column in enumerate(columns):
        unit = multiply_by_vector(matrix, list(column))
        assert unit == pytest.approx([float(place == i) for i in range(3)])
    with pytest.raises(ValueError, match="singular"):
        invert_matrix([[1.0, 1.0], [1.0, 1.0]])


def test_one_factor_is_fitted_as_the_closed_form_says() -> None:
    """One part: the logarithm is the mean residual, drawn to 0 by prior over noise (ridge)."""
    targets = [0.6, 0.6, 0.6]
    fit = fit_log_factors(lambda logs: [(logs[0], [1.0])] * 3, targets, [[4.0]])
    weight = 3 / fit.noise**2
    assert fit.logs[0] == pytest.approx(0.6 * weight / (weight + 1 / 4.0), rel=1e-3)
    assert fit.covariance[0][0] == pytest.approx(1 / (weight + 1 / 4.0), rel=1e-3)


def test_a_prior_holds_what_no_row_tells() -> None:
    rows = [(0.0, [1.0, 0.0])] * 4

    def evaluate(logs: list[float]) -> list[tuple[float, list[float]]]:
        return [(logs[0], shares) for _, shares in rows]

    prior = prior_covariance([0.5, 0.5], [False, False])
    fit = fit_log_factors(evaluate, [1.0] * 4, prior)
    assert fit.logs[1] == pytest.approx(0.0)
    assert fit.covariance[1][1] == pytest.approx(0.25)


def test_a_board_three_times_as_slow_and_hungry_is_found() -> None:
    truth = board(CORTEX, compute_time=3.0, cycle_energy=2.0)
    found = calibrate_machine(CORTEX, measured_on(truth)).machine
    for name in TINY:
        got, real = (estimate_workload(network_table(name), machine) for machine in (found, truth))
        assert got.latency_s == pytest.approx(real.latency_s, rel=0.02)
        assert got.energy_pj == pytest.approx(real.energy_pj, rel=0.02)
    assert found.scales.compute_time == pytest.approx(3.0, rel=0.02)


def test_static_power_and_fixed_time_are_found_where_the_rows_tell_them() -> None:
    truth = replace(CORTEX, overheads=replace(CORTEX.overheads, s_per_inference=0.02))
    rows = measured_on(truth)
    found = calibrate_machine(CORTEX, rows).machine
    fixed = found.overheads.s_per_inference * found.scales.fixed_time
    assert fixed == pytest.approx(0.02, rel=0.15)
    idle = tuple(replace(row, idle_power_w=0.004) for row in rows)
    static = calibrate_machine(CORTEX, idle).machine
    assert static.static_w * static.scales.static_energy == pytest.approx(0.004, rel=0.35)


def test_intervals_hold_nine_of_ten_of_networks_left_out() -> None:
    inside, ratios = [], []
    for seed in range(4):
        truth = board(GAP9, compute_time=1.6, compute_energy=1.5, cycle_energy=0.7)
        for one in calibrate_machine(GAP9, measured_on(truth, noise=0.08, seed=seed)).left_out:
            inside.append(one.lies_in_interval)
            ratios.append(one.high / one.low)
    assert sum(inside) / len(inside) >= 0.9
    assert sum(ratios) / len(ratios) < 2


def test_one_row_fits_too_and_says_that_its_error_is_not_known() -> None:
    row = measured_on(board(CORTEX, compute_time=2.0), ("kws",))
    found = calibrate_machine(CORTEX, row)
    assert not found.left_out
    assert "not known" in describe_machine_error(found.machine)
    report = estimate_workload(network_table("kws"), found.machine)
    assert report.latency_s_ci is not None
    assert report.latency_s_ci[0] < report.latency_s < report.latency_s_ci[1]
    with pytest.raises(ValueError, match="needs a measurement"):
        calibrate_machine(CORTEX, ())


def test_what_the_rows_cannot_tell_is_said() -> None:
    warnings = " ".join(calibrate_machine(CORTEX, measured_on(CORTEX)).warnings)
    assert "stay near the base machine's" in warnings or "stays near" in warnings
    ndp = machine_before_fit(load_preset("ndp120_like"))
    mac = FittedMac(k2_pj_per_bit2=0.1, k1_pj_per_bit=0.0, accumulator_pj_per_bit=0.0, k0_pj=0.0)
    twins = replace(ndp, energy=replace(ndp.energy, mac=mac))
    three = measured_on(twins, ("ic", "kws", "vww"))
    said = " ".join(calibrate_machine(twins, three).warnings)
    assert "cannot tell the energy to compute from the energy of memory" in said


def test_a_base_that_fetches_weights_learns_that_they_stay() -> None:
    edge = load_preset("edge_systolic_8b")
    rows = rows_for_fit("stm32u575_like")
    found = calibrate_machine(edge, rows).machine
    assert found.weight_memory is not None
    assert estimate_workload(network_table("ad"), found).dram_bits == 0


def test_a_machine_that_was_never_measured_says_so_and_has_no_interval() -> None:
    report = estimate_workload(network_table("ic"), load_preset("edge_systolic_8b"))
    assert (report.energy_pj_ci, report.latency_s_ci) == (None, None)
    assert report.trust == "never measured: compare choices only"
    assert describe_machine_trust(load_preset("edge_systolic_8b")).endswith("compare choices only.")


def test_t_is_that_of_the_table() -> None:
    assert student_t_95(1.5) == 6.314
    assert student_t_95(4.9) == 2.132
    assert student_t_95(100) == 1.645


def test_a_fitted_machine_is_the_same_once_written_and_read(tmp_path: Path) -> None:
    found = machine_with_name(calibrate_machine(GAP9, measured_on(GAP9)).machine, "mine")
    text = write_machine(found, "fitted to 4 rows of mine.csv")
    assert replace(parse_machine(text), sources=()) == replace(found, sources=())
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert "4 rows of mine.csv" in load_machine(path).source_of_number("scales.compute_time")
    assert load_machine(path).source_of_number("clock_hz") == GAP9.source_of_number("clock_hz")


@pytest.mark.parametrize("column", ["latency_s", "energy_j"])
@pytest.mark.parametrize("factor", [1e3, 1e-3, 1e6, 1e-6])
@pytest.mark.parametrize("rows", ["one", "all"])
def test_a_wrong_unit_is_asked_about(column: str, factor: float, rows: str) -> None:
    right = rows_for_fit("stm32u575_like")
    wrong = tuple(
        replace(row, **{column: getattr(row, column) * factor})
        if rows == "all" or row.network == "kws"
        else row
        for row in right
    )
    questions = find_questions(CORTEX, wrong)
    assert questions
    assert all(question.startswith("Row ") for question in questions)
    assert len(questions) == (4 if rows == "all" else 1)


@pytest.mark.parametrize(
    "name", ["gap9_ne16_like", "ndp120_like", "stm32u575_like", "stm32l4r5_like"]
)
def test_right_rows_are_not_asked_about(name: str) -> None:
    for base in (name, "stm32u575_like", "edge_systolic_8b"):
        rows = tuple(replace(row, point="") for row in rows_for_fit(name)[:4])
        rows = tuple({row.network: row for row in rows}.values())
        assert find_questions(load_preset(base), rows) == ()


def test_rows_that_contradict_each_other_are_asked_about() -> None:
    row = rows_for_fit("stm32u575_like")[0]
    assert row.latency_s is not None
    twice = (row, replace(row, latency_s=2 * row.latency_s))
    assert "contradict each other" in find_questions(CORTEX, twice)[0]
    idle = (replace(row, idle_power_w=5.0),)
    assert "idle_power_w" in find_questions(CORTEX, idle)[0]


def test_the_next_measurement_narrows_the_interval() -> None:
    found = calibrate_machine(GAP9, rows_for_fit("gap9_ne16_like")[:1]).machine
    tables = {name: network_table(name) for name in TINY}
    ranked = rank_next_measurements(found, network_table("ad"), tables, "energy")
    assert ranked[0].network == "ad"  # nothing tells more of a network than itself
    assert all(one.ratio_after <= one.ratio_now for one in ranked)
    assert rank_next_measurements(CORTEX, network_table("ad"), tables, "energy") == ()


def test_rows_of_a_file() -> None:
    rows = read_measurement_rows(
        "network,latency_s,energy_j,batch,config,note\nic,0.1,,2,w4a8,x\nkws,,2e-4,,,\n"
    )
    assert [row.network for row in rows] == ["ic", "kws"]
    assert (rows[0].batch, rows[0].config, rows[0].energy_j) == (2, "w4a8", None)
    assert (rows[1].batch, rows[1].config, rows[1].latency_s) == (1, "w8a8", None)
    measured = measurements_of_rows(
        rows, lambda name, config: network_table(name, *_widths(config))
    )
    assert sum(op.macs for op in measured[0].workload.ops) == 2 * 12_501_632
    assert measured[0].workload.ops[0].weight_bits == 4


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_rows_as_a_spreadsheet_with_decimal_commas_writes_them(
    separator: str, encoding: str
) -> None:
    lines = ["network;latency_s;energy_j", "ic;0,109;2,5e-3", "kws;0.03;", ""]
    content = "\r\n".join(lines).replace(";", separator).encode(encoding)
    rows = read_measurement_bytes(content)
    assert [(row.network, row.latency_s, row.energy_j) for row in rows] == [
        ("ic", 0.109, 2.5e-3),
        ("kws", 0.03, None),
    ]


def test_bytes_that_are_no_text_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="must be CSV in UTF-8"):
        read_measurement_bytes(b"network,latency_s\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match="must be CSV; got another"):
        read_measurement_bytes(b"network,latency_s\n" + b"a" * 200_000 + b",1\n")


def _widths(config: str) -> tuple[int, int]:
    return read_uniform_widths(config) or (8, 8)


def test_a_batch_repeats_all_work() -> None:
    work = network_table("vww")
    twice = workload_of_batch(work, 2)
    assert sum(op.macs for op in twice.ops) == 2 * sum(op.macs for op in work.ops)
    assert sum(t.elements for t in twice.tensors) == 2 * sum(t.elements for t in work.tensors)
    assert sum(op.shape_weights for op in twice.ops) == sum(op.shape_weights for op in work.ops)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must have the columns network and latency_s or energy_j; got none"),
        ("network,latency_ms\nic,1\n", "must be latency_s; got latency_ms"),
        ("network,energy_uj\nic,1\n", "must be energy_j; got energy_uj"),
        ("network,latency_s\n", "must have 1 to 200 rows; got 0"),
        ("network,latency_s\nic,12 ms\n", "Line 2: latency_s must be a number above 0"),
        ("network,latency_s\nic,-1\n", "Line 2: latency_s must be a number above 0"),
        ("network,latency_s,batch\nic,1,1.5\n", "batch must be a whole number"),
        ("network,latency_s,energy_j\nic,,\n", "must hold latency_s or energy_j"),
        ("network,latency_s\n,1\n", "Line 2 must name a network"),
        ("network;latency_s\nic;1.234,5\n", "above 0 without a unit; got '1.234,5'. Correct"),
        ("network;latency_s\nic;1,5;2\n", "it has more. Remove separators"),
        ("network;latency_s\nic;5,0 ms\n", "above 0 without a unit; got '5,0 ms'. Correct"),
        ("network,latency_s\nic,1,5\n", "Line 2 must have a cell for each column"),
        ('network,latency_s\nic,"0,109"\n', "Write a point for the comma"),
        ("network,latency_s\nic,5 %\n", "above 0 without a unit; got '5 %'"),
        ("network,latency_s,latency_s\nic,1,2\n", "got latency_s twice"),
    ],
)
def test_files_that_cannot_be_read(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_measurement_rows(text)
