"""The work of calibrate-machine: from a file of measurements to a file of a fitted machine."""

from collections.abc import Collection
from dataclasses import asdict
from functools import cache
from pathlib import Path

from accelerator.calibration.calibrate import Calibration, calibrate_machine
from accelerator.calibration.closer_machine import advise_on_base
from accelerator.calibration.machine_file import machine_with_name, write_machine
from accelerator.calibration.measurement import Measurement
from accelerator.calibration.measurement_file import (
    measurements_of_rows,
    read_measurement_bytes,
    read_uniform_widths,
)
from accelerator.calibration.next_measurement import rank_next_measurements
from accelerator.calibration.questions import find_questions
from accelerator.machine import Machine, load_machine
from accelerator.parts import FitError
from accelerator.validation.networks import NETWORKS, TINY, network_table
from accelerator.workload import Workload
from analysis.cost.sample_workloads import candidate_workloads
from commands.inputs import open_network, read_text_file
from quant.config import config_from_json, uniform_config
from sample_models.registry import SAMPLES

Answer = dict[str, object]


def read_measurements(path: Path) -> tuple[Measurement, ...]:
    """Return the measurements in a CSV file, with the named networks loaded."""
    return measurements_of_rows(read_measurement_bytes(path.read_bytes()), find_workload)


@cache
def find_workload(network: str, config: str) -> Workload:
    """Return the workload of an image for a published table, a sample or a model's file."""
    widths = read_uniform_widths(config)
    if network.lower() in NETWORKS:
        if widths is None:
            raise ValueError(
                f"The config of {network} must be a text such as w8a8; got {config!r}. A published "
                "network is a table of layers without names, so a file cannot name them."
            )
        return network_table(network.lower(), *widths)
    from analysis.cost.workload import build_workload  # noqa: PLC0415

    wish = (
        config_from_json(read_text_file(Path(config)))
        if widths is None
        else uniform_config(*widths)
    )
    if network not in SAMPLES and not Path(network).suffix:
        raise ValueError(
            f"A network must be one of {', '.join(TINY)} of MLPerf Tiny, a sample "
            f"({', '.join(SAMPLES)}) or a model's file; got {network!r}."
        )
    loaded = open_network(network, None, None)
    return build_workload(loaded.name, loaded.graph, wish)


def refuse_questions(base: Machine, rows: tuple[Measurement, ...]) -> None:
    """Raise ValueError with a sentence about the first doubtful measurement."""
    questions = find_questions(base, rows)
    if not questions:
        return
    others = len(questions) - 1
    more = f" {others} more row{'s look' if others > 1 else ' looks'} alike." if others else ""
    raise ValueError(
        f"{questions[0]}{more} Correct the file, or add --accept to fit the rows as they are."
    )


def fit_board(
    base: Machine, rows: tuple[Measurement, ...], source: str, out: Path
) -> tuple[Calibration, Machine]:
    """Fit a machine, write the machine to `out` under the name of the file, and read it back."""
    calibration = advise_on_base(calibrate_machine(base, rows), base, rows)
    machine = machine_with_name(calibration.machine, out.stem)
    networks = ", ".join(dict.fromkeys(row.network for row in rows))
    text = write_machine(machine, f"fitted to {len(rows)} rows of {source} ({networks})")
    out.write_text(f"# {base.title}, fitted to {source}.\n\n{text}", encoding="utf-8")
    return calibration, load_machine(out)


def summarize_fit(
    calibration: Calibration,
    machine: Machine,
    out: Path,
    present: Workload | None,
    measured: Collection[str] = (),
) -> Answer:
    """Return the result of a fit to the networks `measured`, for JSON."""
    answer: Answer = {
        "machine": str(out),
        "scales": asdict(machine.scales),
        "left_out": [
            asdict(one) | {"error": one.error, "inside": one.lies_in_interval}
            for one in calibration.left_out
        ],
        "warnings": list(calibration.warnings),
    }
    for quantity in ("energy", "latency"):
        error = getattr(machine.fit, quantity)
        answer[quantity] = None if error is None else _fit_error_values(error)
    answer["next_measurements"] = _next_measurements(machine, present, measured)
    return answer


def _fit_error_values(error: FitError) -> Answer:
    wanted = ("networks", "mean_error", "worst_error", "noise")
    return {name: getattr(error, name) for name in wanted}


def _next_measurements(
    machine: Machine, present: Workload | None, measured: Collection[str]
) -> list[Answer]:
    """Return published and sample networks not measured yet, by how they narrow the interval."""
    if present is None:
        return []
    tables = candidate_workloads(measured)
    quantity = "energy" if machine.fit and machine.fit.energy else "latency"
    return [asdict(one) for one in rank_next_measurements(machine, present, tables, quantity)]
