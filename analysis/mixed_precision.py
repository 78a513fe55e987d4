"""Which bits for which layer: the least noise within budgets, or the least cost within a loss."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from accelerator.machine import Machine
from accelerator.report import CostReport
from analysis.bit_costs import BitCosts
from analysis.bit_gains import explain_gains
from analysis.bit_knobs import Rules, find_knobs
from analysis.bit_program import solve
from analysis.bit_sums import Limit, Sum
from analysis.bit_wiring import bits_of, parts_of, with_bits
from analysis.experiment import cost
from analysis.network import Network
from analysis.noise import knob_noises, noise_energies, noise_of
from analysis.prediction import Prediction, Predictor, first_predictor
from analysis.quantities import Quantity
from analysis.questions import Sensitivity
from analysis.workload import Entropies
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.simulation import Side

ROUNDS = 6
PATIENCE = 3  # rounds after which a limit is tightened though other activations stay on chip
ROUNDING = 1e-9  # of a limit: what sums of floats may be off by


class BudgetError(QuantError):
    """No choice of bits keeps the budgets."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a quantity may be: in its own unit, or as a share of the reference's."""

    quantity: Quantity
    most: float
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration with its predicted quality and its estimated cost; nothing is measured.

    `noise` is the sum of noise energies of layers alone, as a share of the output's energy.
    `proven` says that no choice within the rules is better by more than a millionth where the
    same activations stay on chip; `seconds` is the time of the search.
    """

    name: str
    config: QuantConfig
    noise: float
    prediction: Prediction
    cost: CostReport
    proven: bool = False
    seconds: float = 0.0

    def predicted_by(self, predictor: Predictor) -> "Proposal":
        """Return the same with another prediction."""
        return replace(self, prediction=predictor.predict(self.noise))


@dataclass(frozen=True, slots=True)
class _Found:
    choice: tuple[int, ...]
    value: float
    report: CostReport
    proven: bool


class BitSearch:
    """Searches the bits of one network on one machine; what it prices it keeps.

    Objective and budgets are sums (`BitCosts`), so an integer program solves them exactly. What
    does not add up is which activations find room on chip and whether all weights do: sums hold
    where the same stays. So the program is solved for what stays at the widest and at the narrowest
    bits, then again for what stays in its own answer until that no longer moves; each answer is
    priced by the cost model, and a limit that the true cost breaks is tightened by the excess.

    Raises:
        QuantError: a sensitivity at some bits is not known, or pins and rules do not fit.
    """

    def __init__(
        self,
        network: Network,
        sensitivity: Sensitivity,
        machine: Machine,
        rules: Rules,
        reference: QuantConfig | None = None,
        entropies: Entropies | None = None,
    ) -> None:
        self.network, self.machine, self.rules = network, machine, rules
        self.config = sensitivity.sweep.config
        self.knobs = find_knobs(network.graph, self.config, rules)
        self.predictor = first_predictor(sensitivity)
        self._noise = noise_energies(sensitivity)
        self.noise = Sum({i: knob_noises(self._noise, k) for i, k in enumerate(self.knobs)})
        self.costs = BitCosts(network, self.config, machine, self.knobs, entropies)
        self.reference = self.judge("reference", reference or self.uniform(8, 8))

    def uniform(self, weight_bits: int, activation_bits: int) -> QuantConfig:
        """Return the configuration of the sweep with these bits everywhere; rules do not count."""
        bits = {Side.WEIGHTS: weight_bits, Side.ACTIVATIONS: activation_bits}
        graph = self.network.graph
        return with_bits(self.config, graph, {part: bits[part[1]] for part in parts_of(graph)})

    def judge(self, name: str, config: QuantConfig) -> Proposal:
        """Predict and price any configuration.

        Where a sensitivity is not known, its noise is not either: nan.
        """
        bits = bits_of(config, self.network.graph)
        try:
            noise = sum(noise_of(self._noise, part, width) for part, width in bits.items())
        except QuantError:
            noise = math.nan
        report = cost(self.network, config, self.machine, self.costs.entropies)
        return Proposal(name, config, noise, self.predictor.predict(noise), report)

    def best(self, budgets: Sequence[Budget], name: str = "Mixed") -> Proposal:
        """Return the choice with the least predicted noise that keeps all budgets.

        Raises:
            BudgetError: there is none; the sentence says what is the least within reach.
        """
        start = time.perf_counter()
        caps = self._caps(budgets)
        found = self._search(None, caps)
        if found is None:
            raise self._unreachable(caps)
        return self._proposal(name, found, start)

    def cheapest(
        self,
        quantity: Quantity,
        budgets: Sequence[Budget] = (),
        *,
        most_noise: float | None = None,
        most_loss: float | None = None,
        name: str = "Cheapest",
    ) -> Proposal:
        """Return the choice with the least of a quantity; of equal ones that with the least noise.

        `most_noise` bounds the sum of noise energies, `most_loss` the predicted loss, a share.

        Raises:
            BudgetError: no choice keeps the bounds.
            QuantError: nothing measured tells how loss follows from noise.
        """
        start = time.perf_counter()
        caps = self._caps(budgets)
        if most_loss is not None:
            most_noise = min(self.predictor.most_noise(most_loss), most_noise or math.inf)
        found = self._search(quantity, caps, most_noise)
        if found is None:
            raise self._unreachable(caps, most_noise)
        caps[quantity] = min(caps.get(quantity, math.inf), quantity.of(found.report))
        return self._proposal(name, self._search(None, caps, most_noise) or found, start)

    def least(self, quantity: Quantity) -> float:
        """Return the least of a quantity that the rules allow, in its own unit."""
        found = self._search(quantity, {})
        if found is None:
            raise self._unreachable({})
        return quantity.of(found.report)

    def _caps(self, budgets: Sequence[Budget]) -> dict[Quantity, float]:
        caps: dict[Quantity, float] = {}
        for budget in budgets:
            unit = budget.quantity.of(self.reference.cost) if budget.relative else 1.0
            caps[budget.quantity] = min(caps.get(budget.quantity, math.inf), budget.most * unit)
        return caps

    def _proposal(self, name: str, found: _Found, start: float) -> Proposal:
        noise = self.noise.at(found.choice)
        return Proposal(
            name,
            self.costs.configuration(found.choice),
            noise,
            self.predictor.predict(noise),
            found.report,
            found.proven,
            time.perf_counter() - start,
        )

    def _search(
        self,
        goal: Quantity | None,
        caps: Mapping[Quantity, float],
        most_noise: float | None = None,
    ) -> _Found | None:
        """Return the best choice that truly keeps all caps; the goal None is the noise."""
        best: _Found | None = None
        for first in self._starts():
            around, tight = first, dict(caps)
            for number in range(ROUNDS):
                answer = self._solve(goal, tight, most_noise, around)
                if answer is None:
                    break
                over = _excess(answer.report, caps)
                if not over and (best is None or answer.value < best.value):
                    best = answer
                settled = self.costs.scene(around) == self.costs.scene(answer.choice)
                if settled and not over:
                    break
                if settled or number >= PATIENCE:
                    for quantity, excess in over.items():
                        tight[quantity] -= excess * (1 + ROUNDING) + ROUNDING * caps[quantity]
                around = answer.choice
        return best

    def _starts(self) -> list[tuple[int, ...]]:
        """Return the widest choice, and the narrowest where other values stay on chip."""
        widest = tuple(0 for _ in self.knobs)
        narrowest = tuple(len(knob.bits) - 1 for knob in self.knobs)
        same = self.costs.scene(widest) == self.costs.scene(narrowest)
        return [widest] if same else [widest, narrowest]

    def _solve(
        self,
        goal: Quantity | None,
        caps: Mapping[Quantity, float],
        most_noise: float | None,
        around: tuple[int, ...],
    ) -> _Found | None:
        objective = (self.noise,) if goal is None else self.costs.sums(goal, around)
        limits = [] if most_noise is None else [Limit(self.noise, most_noise)]
        for quantity, most in caps.items():
            whole = math.floor(most * (1 + ROUNDING)) if quantity.whole else most
            limits += [Limit(total, whole) for total in self.costs.sums(quantity, around)]
        found = solve([len(knob.bits) for knob in self.knobs], objective, limits)
        if found is None:
            return None
        report = self.costs.report(found.choice)
        value = self.noise.at(found.choice) if goal is None else goal.of(report)
        return _Found(found.choice, value, report, found.proven)

    def _unreachable(
        self, caps: Mapping[Quantity, float], most_noise: float | None = None
    ) -> BudgetError:
        """Say what is asked and what is within reach."""
        told = []
        for quantity, most in caps.items():
            least, unit = self.least(quantity), quantity.of(self.reference.cost)
            told.append(
                f"{quantity} to {most:.4g} {quantity.unit} ({most / unit:.3f} of the reference), "
                f"where {least:.4g} ({least / unit:.3f}) is the least within reach"
            )
        if most_noise is not None:
            quietest = sum(float(values.min()) for values in self.noise.knobs.values())
            told.append(f"noise to {most_noise:.3g}, where {quietest:.3g} is the least")
        return BudgetError(
            f"No choice of bits brings {' and '.join(told)}. Allow more, offer narrower bits, or "
            f"pin fewer layers. {explain_gains(self.machine)}"
        )


def _excess(report: CostReport, caps: Mapping[Quantity, float]) -> dict[Quantity, float]:
    """Return by how much the true cost is over each cap that it breaks."""
    over = {quantity: quantity.of(report) - most for quantity, most in caps.items()}
    return {q: excess for q, excess in over.items() if excess > ROUNDING * abs(caps[q])}
