"""A measured inference of a network on a board."""

from dataclasses import dataclass

from accelerator.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Time and energy of a board for one run of a workload; a figure may be unknown (None).

    `workload` has the measured widths and batch, so that time in s and energy in J hold for the
    whole batch. `idle_power_w` is the power of the waiting board. `point` names an operating point
    of the machine; empty for the machine's main clock.
    """

    network: str
    workload: Workload
    latency_s: float | None = None
    energy_j: float | None = None
    idle_power_w: float | None = None
    point: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("latency_s", "energy_j", "idle_power_w"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e9:
                raise ValueError(
                    f"{name} of {self.network} must be a positive number, got {value}; correct the "
                    "row or leave the cell empty"
                )
        if self.latency_s is None and self.energy_j is None:
            raise ValueError(
                f"A row must hold latency_s or energy_j; that of {self.network} holds neither. "
                "Fill one in."
            )
