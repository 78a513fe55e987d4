"""The machine that a fit begins with."""

from dataclasses import replace

from accelerator.machine import Machine, load_preset, preset_names
from accelerator.parts import MacCosts, Scales


def machine_before_fit(machine: Machine) -> Machine:
    """Return the machine before the fit: factors of 1, unknown error."""
    return replace(machine, scales=Scales(), mac_costs=MacCosts(), fit=None)


def machine_to_fit(machine: Machine) -> Machine:
    """Return the machine that a fit begins with, which knows nothing of the rows of another fit.

    A machine fitted to a board would count rows twice, once as its factors and once as rows.
    """
    if machine.fit is None or not machine.fit.base:
        return machine
    if machine.fit.base in preset_names():
        return load_preset(machine.fit.base)
    return machine_before_fit(machine)
