"""The quantities that a budget can bound."""

from enum import StrEnum

from accelerator.report import CostReport


class Quantity(StrEnum):
    """A quantity of one image that a budget can bound."""

    ENERGY = "energy"
    LATENCY = "latency"
    SIZE = "size"
    MEMORY = "memory"
    BOPS = "bops"

    def value_in(self, report: CostReport) -> float:
        """Return the quantity in a cost report.

        Units: pJ, s, bytes of the weights, bytes of the activations alive at once, or BOPs.
        """
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

    def interval_in(self, report: CostReport) -> tuple[float, float] | None:
        """Return the 90 % interval of the quantity, in its unit.

        None for what is counted, and for a machine without measurements.
        """
        ends = {Quantity.ENERGY: report.energy_pj_ci, Quantity.LATENCY: report.latency_s_ci}
        return ends.get(self)

    @property
    def unit_of_quantity(self) -> str:
        """The unit of `of`."""
        return _UNITS[self]

    @property
    def is_whole_number(self) -> bool:
        """Whether the quantity is a whole number."""
        return self in (Quantity.SIZE, Quantity.MEMORY, Quantity.BOPS)


_UNITS = {
    Quantity.ENERGY: "pJ",
    Quantity.LATENCY: "s",
    Quantity.SIZE: "bytes",
    Quantity.MEMORY: "bytes",
    Quantity.BOPS: "BOPs",
}
