"""Print how far the shipped machines are from measured chips: python -m accelerator.validate."""

import sys

from accelerator.validation.compare import validation_report_lines
from accelerator.validation.refit import measured_machines, write_refitted_machine

REFIT = "--refit"
"""Fit the measured machines again and write their files first."""


def main() -> None:
    """Print each measured row beside its estimate, and each machine's error."""
    if REFIT in sys.argv[1:]:
        for name in measured_machines():
            write_refitted_machine(name)
    for line in validation_report_lines():
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
