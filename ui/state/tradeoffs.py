"""What the page Trade-offs asks and keeps, as plain values."""

from dataclasses import dataclass, field
from typing import Any

from accelerator.machine import Machine
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.choices import Pin, Rules, Together
from analysis.mixed_precision.forecast import Foresight
from analysis.mixed_precision.pareto_front import Front
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.search import BitSearch
from analysis.mixed_precision.useful_bits import restrict_to_useful_bits
from analysis.network import Network
from analysis.sensitivity.sweep import DEFAULT_BITS, Sensitivity
from quant.assignment import bits_by_part
from quant.config import QuantConfig
from quant.spec import FLOAT_BITS, Granularity

POINTS = 12
MOST_MACHINES = 3
UNITS = {
    Quantity.ENERGY: ("nJ", 1e3),
    Quantity.LATENCY: ("µs", 1e-6),
    Quantity.SIZE: ("KiB", 1024.0),
    Quantity.MEMORY: ("KiB", 1024.0),
    Quantity.BOPS: ("M", 1e6),
}
"""What an absolute budget is written in, and how many of the quantity's own unit that is."""


@dataclass(frozen=True, slots=True)
class FrontRequest:
    """What is asked as a person puts it; `others` are machines beside the present one.

    `pinned` layers keep the bits that they have now; `edge_bits` of 0 leave first and last free.
    Weights may choose among `granularities`; without any they keep their own.
    """

    quantity: Quantity = Quantity.ENERGY
    others: tuple[str, ...] = ()
    bits: tuple[int, ...] = DEFAULT_BITS
    edge_bits: int = 0
    together: Together = Together.LAYER
    pinned: tuple[str, ...] = ()
    granularities: tuple[Granularity, ...] = ()

    def choice_rules(self, machine: Machine, network: Network, config: QuantConfig) -> Rules:
        """Return what a choice must obey; widths that bring a machine nothing are left out.

        BOPs count bits whatever the machine makes of them.
        """
        chosen = config.resolve_layers(network.graph.layers)
        weighted = {layer.name for layer in network.graph.layers if layer.weight is not None}
        pins = tuple(
            Pin(
                name,
                chosen[name].weight.bits if name in weighted else None,
                chosen[name].activation.bits,
            )
            for name in self.pinned
        )
        grains = self.granularities or None
        rules = Rules(self.bits, pins, self.edge_bits or None, self.together, grains)
        return rules if self.quantity is Quantity.BOPS else restrict_to_useful_bits(machine, rules)

    def needed_widths(self, network: Network, config: QuantConfig) -> tuple[int, ...]:
        """Return all bits that a sensitivity is needed for, the usual ones and the present's."""
        present = set(bits_by_part(config, network.graph).values())
        found = {*DEFAULT_BITS, *self.bits, self.edge_bits, *present} - {0, FLOAT_BITS}
        return tuple(sorted(found, reverse=True))


class Against:
    """What a bound is measured in; in points it bounds the loss, and the cost is made least."""

    EIGHT = "% of W8A8"
    PRESENT = "% of present"
    UNIT = "absolute"
    POINTS = "points lost"
    ALL = (EIGHT, PRESENT, UNIT, POINTS)


STARTS = {Against.EIGHT: 60.0, Against.PRESENT: 80.0, Against.UNIT: 10.0, Against.POINTS: 1.0}


@dataclass(frozen=True, slots=True)
class PointRequest:
    """The one point that is asked for: at most `most`, measured in `against`."""

    against: str = Against.EIGHT
    most: float = STARTS[Against.EIGHT]


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """The fronts that were found for a wish, machine by machine, and what can search on.

    `others` are the sensitivities of weights at other granularities.
    """

    wish: FrontRequest
    network: Network
    sensitivity: Sensitivity
    others: tuple[Sensitivity, ...]
    searches: dict[str, BitSearch]
    fronts: dict[str, Front]


@dataclass(eq=False)
class TradeoffWork:
    """Fronts by what they were found from, answers to targets, and what predicts.

    `sensitivities` are by configuration without bits and data, and so are `others`, those of
    weights at other granularities; `missing` are questions the store has no front of. `picked` is
    a machine and a point.
    """

    found: dict[str, Found] = field(default_factory=dict)
    answers: dict[Any, Proposal | str] = field(default_factory=dict)
    sensitivities: dict[str, Sensitivity] = field(default_factory=dict)
    others: dict[str, tuple[Sensitivity, ...]] = field(default_factory=dict)
    foresights: dict[Any, Foresight | None] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    picked: tuple[str, str] | None = None
    wish: FrontRequest | None = None
    target: PointRequest = field(default_factory=PointRequest)
