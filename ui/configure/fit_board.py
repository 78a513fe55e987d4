"""The form that fits a machine to measurements of the user's board."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from accelerator.calibration.before_fit import machine_to_fit
from accelerator.calibration.calibrate import Calibration, LeftOut, calibrate_machine
from accelerator.calibration.closer_machine import advise_on_base
from accelerator.calibration.machine_file import machine_with_name, write_machine
from accelerator.calibration.measurement_file import (
    DEFAULT_CONFIG,
    MeasurementRow,
    measurements_of_rows,
    read_measurement_bytes,
    read_uniform_widths,
)
from accelerator.calibration.next_measurement import NextMeasurement, rank_next_measurements
from accelerator.calibration.questions import find_questions
from accelerator.interval import describe_machine_trust
from accelerator.machine import Machine
from accelerator.validation.networks import TINY, describe_networks, network_table
from accelerator.workload import Workload
from analysis.cost.sample_workloads import candidate_workloads
from analysis.cost.table_network import TableNetwork
from analysis.cost.workload import build_workload
from analysis.network import Network, prepare_network
from figures.style.units import format_energy, format_time
from model_io.load import load_model
from model_io.onnx_export.plain_onnx import write_plain_onnx
from quant.config import QuantConfig, uniform_config
from sample_models.registry import SAMPLES
from ui.plain_text import plain
from ui.state.workspace import Workspace

PRESENT = "this network"
EMPTY_ROWS = 4
PJ_PER_J = 1e12
_RESULT = "configure.fit.result"


@dataclass(frozen=True, slots=True)
class FitResult:
    """The result of the last fit: the machine with its errors, and the best next measurements."""

    calibration: Calibration
    machine: Machine
    text: str
    following: tuple[NextMeasurement, ...]


def board_fit_section(workspace: Workspace, network: Network, config: QuantConfig) -> None:
    """Show the form, fit the machine on request, and show the result."""
    st.markdown(
        "Two to five measured inferences fit the present machine to your board. Time and energy "
        "are those of one inference, in seconds and joules; either may be empty."
    )
    rows = _rows_from_file() or _rows_from_table()
    name = st.text_input("Name of the machine", "my_board", key="configure.fit.name")
    accept = st.checkbox("The values are right as they are", key="configure.fit.accept")
    if st.button("Fit", key="configure.fit.go", icon=":material/tune:", disabled=not rows):
        try:
            _fit_machine(
                workspace, network, config, rows, name.strip() or "my_board", accept=accept
            )
        except ValueError as error:
            st.error(plain(str(error)))
    result = st.session_state.get(_RESULT)
    if result is not None:
        _show_fit(result)
    _offer_tiny_networks()


def _rows_from_file() -> tuple[MeasurementRow, ...]:
    """Return the rows of an uploaded CSV file; an empty tuple without a file."""
    uploaded = st.file_uploader(
        "Measurements (CSV with network, latency_s, energy_j)", type="csv", key="configure.fit.file"
    )
    if uploaded is None:
        return ()
    try:
        return read_measurement_bytes(uploaded.getvalue())
    except ValueError as error:
        st.error(plain(str(error)))
        return ()


def _rows_from_table() -> tuple[MeasurementRow, ...]:
    """Return the rows of the table with a time or an energy."""
    column = st.column_config
    empty: list[dict[str, Any]] = [
        {
            "network": PRESENT if number == 0 else TINY[number - 1],
            "latency_s": None,
            "energy_j": None,
            "config": "" if number == 0 else DEFAULT_CONFIG,
            "idle_power_w": None,
        }
        for number in range(EMPTY_ROWS)
    ]
    edited: list[dict[str, Any]] = st.data_editor(
        empty,
        key="configure.fit.rows",
        num_rows="dynamic",
        hide_index=True,
        width="stretch",
        column_config={
            "network": column.SelectboxColumn("Network", options=[PRESENT, *TINY, *SAMPLES]),
            "latency_s": column.NumberColumn("Latency (s)", min_value=0.0, format="%.6g"),
            "energy_j": column.NumberColumn("Energy (J)", min_value=0.0, format="%.6g"),
            "config": column.TextColumn("Configuration", help="Such as w8a8; empty: the present"),
            "idle_power_w": column.NumberColumn("Idle power (W)", min_value=0.0, format="%.6g"),
        },
    )
    return tuple(
        MeasurementRow(
            network=row["network"] or PRESENT,
            latency_s=row["latency_s"] or None,
            energy_j=row["energy_j"] or None,
            config=row["config"] or "",
            idle_power_w=row["idle_power_w"] or None,
        )
        for row in edited
        if row.get("latency_s") or row.get("energy_j")
    )


def _fit_machine(
    workspace: Workspace,
    network: Network,
    config: QuantConfig,
    rows: Sequence[MeasurementRow],
    name: str,
    *,
    accept: bool,
) -> None:
    """Fit the present machine to rows, make the result the present machine, and keep the result."""
    present = build_workload(network.name, network.graph, config)

    def find_workload(wanted: str, widths: str) -> Workload:
        if wanted == PRESENT and not widths:
            return present
        pair = read_uniform_widths(widths or DEFAULT_CONFIG)
        if pair is None:
            raise ValueError(f"A configuration must be a text such as w8a8; got {widths!r}.")
        if wanted in TINY:
            return network_table(wanted, *pair)
        graph = network.graph if wanted == PRESENT else _sample_network(wanted).graph
        return build_workload(wanted, graph, uniform_config(*pair))

    base = machine_to_fit(workspace.machine)
    measurements = measurements_of_rows(rows, find_workload)
    questions = () if accept else find_questions(base, measurements)
    if questions:
        st.warning(f"{questions[0]} If it is right, tick the box above and fit again.")
        return
    with st.spinner("Fitting"):
        fitted = calibrate_machine(base, measurements)
        calibration = advise_on_base(fitted, base, measurements)
    machine = machine_with_name(calibration.machine, name)
    named = ", ".join(dict.fromkeys(row.network for row in rows))
    text = write_machine(machine, f"fitted to {len(rows)} measurements on your board ({named})")
    quantity = "energy" if machine.fit and machine.fit.energy else "latency"
    measured = {row.network for row in rows}
    others = candidate_workloads(measured)
    following = rank_next_measurements(machine, present, others, quantity)
    workspace.add_machine(machine)
    st.session_state[_RESULT] = FitResult(calibration, machine, text, following)
    st.rerun()


def _sample_network(name: str) -> Network:
    if name not in SAMPLES:
        raise ValueError(
            f"A network must be {PRESENT!r}, a sample or one of {', '.join(TINY)}; got {name!r}. "
            "A file is fitted with cli.py calibrate-machine."
        )
    loaded = load_model(name)
    return prepare_network(
        loaded.name, loaded.module, loaded.expected_inputs, loaded.digest, loaded.batch
    )


def _show_fit(result: FitResult) -> None:
    """Show the result of a fit: errors, warnings, the file, and the best next measurement."""
    st.success(describe_machine_trust(result.machine), icon=":material/check:")
    for warning in result.calibration.warnings:
        st.caption(f":material/info: {warning}")
    if result.calibration.left_out:
        st.dataframe(
            [_left_out_row(one) for one in result.calibration.left_out],
            hide_index=True,
            width="stretch",
            alt="What the fit predicts of each network that it had not seen",
        )
    if result.following:
        best = result.following[0]
        st.markdown(
            f"Measure **{best.network}** next: the interval of this network's {best.quantity} "
            f"then spans a factor of {best.ratio_after:.2f} instead of {best.ratio_now:.2f}."
        )
    st.download_button(
        "Machine (TOML)",
        result.text,
        f"{result.machine.name}.toml",
        key="configure.fit.save",
        icon=":material/download:",
        on_click="ignore",
    )


def _left_out_row(one: LeftOut) -> dict[str, str]:
    unit = PJ_PER_J if one.quantity == "energy" else 1.0
    write = format_energy if one.quantity == "energy" else format_time
    return {
        "network": one.network,
        "quantity": one.quantity,
        "measured": write(unit * one.measured),
        "predicted without it": write(unit * one.predicted),
        "90 % interval": f"{write(unit * one.low)} to {write(unit * one.high)}",
        "error": f"{100 * one.error:+.1f} %",
        "inside": "yes" if one.lies_in_interval else "no",
    }


def _offer_tiny_networks() -> None:
    """Offer the shapes of MLPerf Tiny as ONNX files with random weights, to be measured."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        titles = dict(describe_networks())
        name = st.selectbox(
            "A network to measure",
            TINY,
            key="configure.fit.tiny",
            format_func=lambda one: f"{one}: {titles[one]}",
        )
        st.download_button(
            "ONNX with random weights",
            lambda: _random_onnx_file(name),
            f"{name}.onnx",
            key="configure.fit.onnx",
            icon=":material/download:",
            on_click="ignore",
        )


def _random_onnx_file(name: str) -> bytes:
    network = TableNetwork(name)
    return write_plain_onnx(network, network.input_shape)
