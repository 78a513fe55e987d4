"""Fitting the shipped machines to the measured rows again, and writing the files."""

from dataclasses import replace

from accelerator.calibration.before_fit import machine_before_fit
from accelerator.calibration.calibrate import Calibration, calibrate_machine
from accelerator.calibration.machine_file import write_machine
from accelerator.machine import MACHINES, Machine, load_preset, preset_names
from accelerator.parts import FitError, MachineFit, Scales, Signed
from accelerator.validation.measurements import rows_for_fit

SOURCE = "fitted to MLPerf Tiny rows of accelerator/validation/measured.csv"


def measured_machines() -> tuple[str, ...]:
    """Return the shipped machines with measured rows for a fit, without points."""
    return tuple(name for name in preset_names() if "@" not in name and rows_for_fit(name))


def refit_machine(name: str) -> Calibration:
    """Fit a shipped machine to the measured rows, from the numbers before the fit."""
    return calibrate_machine(machine_before_fit(load_preset(name)), rows_for_fit(name))


def write_refitted_machine(name: str) -> None:
    """Fit a shipped machine again and write the file; the comment at the head stays."""
    path = MACHINES / f"{name}.toml"
    comment = path.read_text(encoding="utf-8").partition("\n")[0]
    base, machine = load_preset(name), refit_machine(name).machine
    # constants that the machine does not have keep out of its file: their factors say nothing
    machine = replace(
        machine,
        overheads=base.overheads,
        static_w=base.static_w,
        scales=_round_machine_scales(machine),
    )
    text = write_machine(replace(machine, fit=_round_machine_fit(machine)), SOURCE)
    path.write_text(f"{comment}\n\n{text}", encoding="utf-8")


def _round_machine_scales(machine: Machine) -> Scales:
    names = Scales.__slots__
    return Scales(**{name: round(getattr(machine.scales, name), 4) for name in names})


def _round_machine_fit(machine: Machine) -> MachineFit:
    fit = machine.fit or MachineFit(energy=None, latency=None)
    return MachineFit(energy=_round_fit_error(fit.energy), latency=_round_fit_error(fit.latency))


def _round_fit_error(error: FitError | None) -> FitError | None:
    if error is None or error.mean_error is None or error.worst_error is None:
        return error
    return replace(
        error,
        mean_error=round(error.mean_error, 4),
        worst_error=round(error.worst_error, 4),
        noise=round(error.noise, 4),
        freedom=round(error.freedom, 2),
        covariance=tuple(Signed(round(value, 5)) for value in error.covariance),
    )
