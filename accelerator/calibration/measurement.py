"""One measured inference of one network on one board."""

from dataclasses import dataclass

from accelerator.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a board took for one run of a workload; either figure may be unknown (None).

    `workload` has the widths and the batch that were measured, so that time in s and energy in J
    are those of the whole batch. `idle_power_w` is the board's power while it waits. `point` names
    an operating point of the machine, or none for its own clock.
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
