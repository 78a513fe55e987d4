"""The panel of a machine: a front, measured points, and the present experiment."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.cost.quantity import Quantity
from analysis.mixed_precision.pareto_front import Front, Measured
from analysis.mixed_precision.proposal import Proposal


@dataclass(frozen=True, slots=True)
class Panel:
    """A front on a machine with the measured points and the present configuration.

    `answer` is the choice within the bound; `eight` the cost of uniform 8 bits; `rounded` are
    measured points with AdaRound behind the repairs, without a prediction. `near_float` is the
    cheapest choice at most a point below float, which is also the next one to measure.
    """

    front: Front
    measured: tuple[Measured, ...]
    present: Proposal
    answer: Proposal | None
    eight: Mapping[Quantity, float]
    rounded: tuple[Measured, ...] = ()
    near_float: Proposal | None = None

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """Every predicted configuration."""
        answer = () if self.answer is None else (self.answer,)
        return (*self.front.proposals, *answer, *self.front.references, self.present)

    @property
    def full_cost(self) -> float:
        """The cost of uniform 8 bits, in the front's quantity."""
        return self.eight[self.front.quantity]

    @property
    def saved_share(self) -> float | None:
        """The share of the cost of 8 bits that mixed bits save within a point of float, if any."""
        if self.near_float is None:
            return None
        return max(0.0, 1 - self.front.quantity.value_in(self.near_float.cost) / self.full_cost)

    @property
    def runs(self) -> tuple[Measured, ...]:
        """Every measured point, with AdaRound or without."""
        return (*self.measured, *self.rounded)
