"""The commands machines and calibrate-machine: the machines, and the accuracy of the estimates."""

from pathlib import Path
from typing import Annotated

import typer

from accelerator.machine import Machine, load_preset, preset_names
from accelerator.validation.compare import (
    check_measured_machines,
    check_measured_rows,
    validation_report_lines,
)
from commands.app import app
from commands.inputs import open_machine
from commands.options import JsonOption
from commands.output import errors_as_sentences, print_line, write_answer

ValidateOption = Annotated[
    bool, typer.Option("--validate", help="Estimate what chips were measured at, and the error.")
]
BaseOption = Annotated[
    str, typer.Option("--machine", help="Where to start: a preset's name or a TOML file.")
]
MeasurementsOption = Annotated[
    Path,
    typer.Option(
        help="CSV with the columns network, latency_s, energy_j (one may be empty) and, if you "
        "like, config (w8a8 or a file), batch, idle_power_w, point. Network: a sample, a file, or "
        "one of ic, kws, vww, ad of MLPerf Tiny. Time and energy are those of the whole batch."
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="The fitted machine's TOML file.")]
AcceptOption = Annotated[
    bool, typer.Option("--accept", help="Fit rows that look wrong as they are.")
]
PresentOption = Annotated[
    str | None,
    typer.Option("--model", help="Name the measurement that this network's estimate needs most."),
]


@app.command("machines")
def list_machines(*, validate: ValidateOption = False, out: JsonOption = "-") -> None:
    """List the machines whose cost can be estimated, or check them against measured chips."""
    with errors_as_sentences(out):
        if not validate:
            write_answer(out, [_machine_facts(load_preset(name)) for name in preset_names()])
        elif out == "-":
            for line in validation_report_lines():
                typer.echo(line)
        else:
            write_answer(out, _validation_values())


@app.command(name="calibrate-machine")
def calibrate_board_machine(
    *,
    machine: BaseOption,
    measurements: MeasurementsOption,
    out: OutOption,
    accept: AcceptOption = False,
    model: PresentOption = None,
    answer: JsonOption = "-",
) -> None:
    """Fit a machine to measurements of a board: two to five rows are enough to begin."""
    with errors_as_sentences(answer), errors_as_sentences(str(out), "--out"):
        from accelerator.calibration.before_fit import machine_to_fit  # noqa: PLC0415
        from commands.work.calibrate_board import (  # noqa: PLC0415
            find_workload,
            fit_board,
            read_measurements,
            refuse_questions,
            summarize_fit,
        )

        base = machine_to_fit(open_machine(machine))
        rows = read_measurements(measurements)
        if not accept:
            refuse_questions(base, rows)
        calibration, fitted = fit_board(base, rows, measurements.name, out)
        print_line(f"Wrote {out}")
        for warning in calibration.warnings:
            print_line(f"Warning: {warning}")
        measured = {row.network.lower() for row in rows}
        present = None if model is None else find_workload(model, "w8a8")
        write_answer(answer, summarize_fit(calibration, fitted, out, present, measured))


def _machine_facts(machine: Machine) -> dict[str, object]:
    wanted = ("name", "title", "illustrative", "technology_nm", "clock_hz")
    errors = {
        quantity: getattr(getattr(machine.fit, quantity, None), "mean_error", None)
        for quantity in ("energy", "latency")
    }
    return {key: getattr(machine, key) for key in wanted} | {
        f"{quantity}_error": error for quantity, error in errors.items()
    }


def _validation_values() -> dict[str, object]:
    """Return rows and machines of the validation, for JSON."""
    rows = [
        {
            "chip": check.row.chip,
            "machine": check.row.preset_name,
            "network": check.row.measurement.network,
            "use": check.row.use,
            "source": check.row.measurement.source,
            "measured_energy_j": check.row.measurement.energy_j,
            "energy_j": check.energy_j,
            "energy_error": check.energy_error,
            "measured_latency_s": check.row.measurement.latency_s,
            "latency_s": check.latency_s,
            "latency_error": check.latency_error,
        }
        for check in check_measured_rows()
    ]
    machines = [
        {
            "machine": check.machine,
            "energy_mean_error": check.mean_error("energy"),
            "energy_worst_error": check.worst_error("energy"),
            "energy_rank_correlation": check.energy_rank,
            "latency_mean_error": check.mean_error("latency"),
            "latency_worst_error": check.worst_error("latency"),
            "latency_rank_correlation": check.latency_rank,
        }
        for check in check_measured_machines()
    ]
    return {"rows": rows, "machines": machines}
