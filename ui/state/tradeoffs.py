"""What the page Trade-offs asks and keeps, as plain values."""

from dataclasses import dataclass, field

from accelerator.machine import Machine
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.choices import Pin, Rules, Together
from analysis.mixed_precision.forecast import Foresight
from analysis.mixed_precision.pareto_front import Front
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.recipe_noise import (
    USUAL_CHOICES,
    RecipeChoice,
    RecipeNoise,
    chosen_recipes,
)
from analysis.mixed_precision.recipe_search import RecipeSearch
from analysis.mixed_precision.useful_bits import restrict_to_useful_bits
from analysis.network import Network
from analysis.sensitivity.sweep import DEFAULT_BITS
from analysis.study import Study
from quant.assignment import bits_by_part
from quant.config import QuantConfig
from quant.passes.recipe import Recipe
from quant.spec import FLOAT_BITS, Granularity

POINTS = 12
MEASURED = 3  # points that a front measures unless a person asks for others
MOST_MEASURED = 10
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
    """The question of the page Trade-offs; `others` are machines beside the present machine.

    `pinned` layers keep their present bits; `edge_bits` of 0 leave the first and the last layer
    free. Weights choose among `granularities`; without granularities, weights keep their own.
    `recipes` are the repairs that take part, and `measured` is the number of points to measure with
    the front.
    """

    quantity: Quantity = Quantity.ENERGY
    others: tuple[str, ...] = ()
    bits: tuple[int, ...] = DEFAULT_BITS
    edge_bits: int = 0
    together: Together = Together.LAYER
    pinned: tuple[str, ...] = ()
    granularities: tuple[Granularity, ...] = ()
    recipes: tuple[RecipeChoice, ...] = USUAL_CHOICES
    measured: int = MEASURED

    def choice_rules(self, machine: Machine, network: Network, config: QuantConfig) -> Rules:
        """Return the rules of a choice of bits, without widths that bring the machine no gain.

        BOPs count bits on all machines alike, so all widths stay.
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

    def repairs(self, study: Study, present: Recipe) -> tuple[Recipe, ...]:
        """Return the recipes that take part; `present` is the recipe of the experiment."""
        return chosen_recipes(self.recipes, present, study.equalizable_pairs())

    def needed_widths(self, network: Network, config: QuantConfig) -> tuple[int, ...]:
        """Return the widths with a needed sensitivity: usual, requested and present widths."""
        present = set(bits_by_part(config, network.graph).values())
        found = {*DEFAULT_BITS, *self.bits, self.edge_bits, *present} - {0, FLOAT_BITS}
        return tuple(sorted(found, reverse=True))


class Against:
    """The units of a bound; a bound in points limits the loss, and the search cuts the cost."""

    EIGHT = "% of W8A8"
    PRESENT = "% of present"
    UNIT = "absolute"
    POINTS = "points below float"
    ALL = (POINTS, EIGHT, PRESENT, UNIT)


STARTS = {Against.EIGHT: 60.0, Against.PRESENT: 80.0, Against.UNIT: 10.0, Against.POINTS: 1.0}


@dataclass(frozen=True, slots=True)
class PointRequest:
    """The requested point: at most `most`, in the unit `against`."""

    against: str = Against.POINTS
    most: float = STARTS[Against.POINTS]


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """The fronts of a question, machine by machine, with the searches for further points.

    `noises` are the noises under the recipes that take part.
    """

    wish: FrontRequest
    network: Network
    noises: tuple[RecipeNoise, ...]
    searches: dict[str, RecipeSearch]
    fronts: dict[str, Front]


@dataclass(eq=False)
class TradeoffWork:
    """Fronts by the key of their question, answers to bounds, and the predictors.

    `noises` are by configuration without bits and data, then by recipe. `missing` are questions
    without a front in the store. `early` are fronts of a search that still measures points.
    `picked` is a machine and a point. `rounded` tells whether AdaRound follows the repairs of a
    measured or loaded point, `blocks` whether block reconstruction follows.
    """

    found: dict[str, Found] = field(default_factory=dict)
    answers: dict[object, Proposal | str] = field(default_factory=dict)
    noises: dict[str, dict[Recipe, RecipeNoise]] = field(default_factory=dict)
    foresights: dict[object, Foresight | None] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    early: dict[str, Found] = field(default_factory=dict)
    picked: tuple[str, str] | None = None
    rounded: bool = False
    blocks: bool = False
    wish: FrontRequest | None = None
    target: PointRequest = field(default_factory=PointRequest)
