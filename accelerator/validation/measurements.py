"""Measured rows of chips: rows for the fit of shipped machines, and rows for checks."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from accelerator.calibration.measurement import Measurement
from accelerator.validation.networks import network_table

FILE = Path(__file__).with_name("measured.csv")
FITTED, WITHOUT_DRAM = "fit", "without DRAM"
"""Uses of a row: a machine is fitted to the row; its energy is that of the chip alone. Other rows
are only compared."""


@dataclass(frozen=True, slots=True)
class ChipRow:
    """A published measurement, the machine that stands for the chip, and the row's purpose."""

    chip: str
    machine: str
    use: str
    measurement: Measurement

    @property
    def is_fitted_row(self) -> bool:
        """Whether the machine was fitted to the row."""
        return self.use == FITTED

    @property
    def is_without_dram(self) -> bool:
        """Whether the measured energy excludes the chip's DRAM."""
        return self.use == WITHOUT_DRAM

    @property
    def preset_name(self) -> str:
        """The preset's name at the operating point of the row."""
        point = self.measurement.point
        return f"{self.machine}@{point}" if point else self.machine


@cache
def published_chip_rows() -> tuple[ChipRow, ...]:
    """Return the published rows, chip by chip."""
    return tuple(_read_chip_rows())


def rows_for_fit(machine: str) -> tuple[Measurement, ...]:
    """Return the rows for the fit of a shipped machine; empty for an unmeasured machine."""
    base = machine.partition("@")[0]
    return tuple(
        row.measurement
        for row in published_chip_rows()
        if row.machine == base and row.is_fitted_row
    )


def _read_chip_rows() -> Iterator[ChipRow]:
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rate = float(row["inferences_per_s"])
            batch = int(row["batch"])
            workload = network_table(
                row["network"], int(row["weight_bits"]), int(row["activation_bits"]), batch
            )
            measurement = Measurement(
                network=row["network"],
                workload=workload,
                latency_s=batch / rate,
                energy_j=1e-6 * batch * float(row["energy_uj"]) if row["energy_uj"] else None,
                point=row["point"],
                source=row["source"],
            )
            yield ChipRow(row["chip"], row["machine"], row["use"], measurement)
