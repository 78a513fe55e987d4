"""What a budget bounds."""

from enum import StrEnum

from accelerator.report import CostReport


class Quantity(StrEnum):
    """What a budget bounds, for one image."""

    ENERGY = "energy"
    LATENCY = "latency"
    SIZE = "size"
    MEMORY = "memory"
    BOPS = "bops"

    def of(self, report: CostReport) -> float:
        """Return the figure: pJ, s, bytes of weights, bytes of activations at once, or BOPs."""
        match self:
            case Quantity.ENERGY:
                return report.energy_pj
            case Quantity.LATENCY:
                return report.latency_s
            case Quantity.SIZE:
                return report.weight_bytes
            case Quantity.MEMORY:
                return report.peak_activation_bytes
            case Quantity.BOPS:
                return report.bops

    @property
    def unit(self) -> str:
        """The unit of `of`."""
        return _UNITS[self]

    @property
    def whole(self) -> bool:
        """Whether it comes in whole numbers."""
        return self in (Quantity.SIZE, Quantity.MEMORY, Quantity.BOPS)


_UNITS = {
    Quantity.ENERGY: "pJ",
    Quantity.LATENCY: "s",
    Quantity.SIZE: "bytes",
    Quantity.MEMORY: "bytes",
    Quantity.BOPS: "BOPs",
}
