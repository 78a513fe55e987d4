"""Which bits for which layer: the least noise within budgets, or the least cost within a loss."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accelerator.machine import Machine
from accelerator.report import CostReport
from analysis.bit_costs import PRICED, BitCosts, Stays
from analysis.bit_gains import explain_gains
from analysis.bit_knobs import Rules, find_knobs
from analysis.bit_program import solve
from analysis.bit_sums import Limit, Sum
from analysis.bit_wiring import bits_of, parts_of, with_bits
from analysis.experiment import cost
from analysis.network import Network
from analysis.noise import knob_noises, noise_energies, noise_of
from analysis.prediction import first_predictor
from analysis.proposal import Budget, BudgetError, Proposal
from analysis.quantities import Quantity
from analysis.questions import Sensitivity
from analysis.workload import Entropies
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.simulation import Side

ROUNDS = 4
MOST_SCENES = 8  # sets of values on chip that are tried
ROUNDING = 1e-9  # of a limit: what sums of floats may be off by


@dataclass(frozen=True, slots=True)
class _Found:
    choice: tuple[int, ...]
    value: float
    report: CostReport
    proven: bool


class BitSearch:
    """Searches the bits of one network on one machine; what it prices it keeps.

    Objective and budgets are sums (`BitCosts`), so an integer program solves them exactly. What
    does not add up is which activations find room on chip, and whether all weights do. So the
    program is solved for each set that stays at one of the widths everywhere, and for what stays
    with the answers, under the constraint that the set has room; the best answer counts. Every
    answer is priced by the cost model, and a limit that the true cost breaks is tightened by the
    excess. On machines where bits do not move anything off the chip there is one set.

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
        self._first = self._scenes()
        self.reference = self.judge("reference", reference or self.uniform(8, 8))

    def _scenes(self) -> tuple[Stays, ...]:
        """Return what stays on chip where every knob is at its widest, its second, and so on."""
        most = max(len(knob.bits) for knob in self.knobs)
        places = (tuple(min(i, len(k.bits) - 1) for k in self.knobs) for i in range(most))
        return tuple(dict.fromkeys(map(self.costs.stays, places)))

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
        waiting = list(self._first)
        seen = set(waiting)
        for stays in waiting:
            answer = self._settle(goal, caps, most_noise, stays)
            if answer is None:
                continue
            if best is None or answer.value < best.value:
                best = answer
            true = self.costs.stays(answer.choice)
            if true not in seen and len(seen) < MOST_SCENES:
                seen.add(true)
                waiting.append(true)
        return best

    def _settle(
        self,
        goal: Quantity | None,
        caps: Mapping[Quantity, float],
        most_noise: float | None,
        stays: Stays,
    ) -> _Found | None:
        """Solve where `stays` stays on chip; tighten the limits that the true cost breaks."""
        tight = dict(caps)
        for _ in range(ROUNDS):
            answer = self._solve(goal, tight, most_noise, stays)
            if answer is None:
                return None
            over = _excess(answer.report, caps)
            if not over:
                return answer
            for quantity, excess in over.items():
                tight[quantity] -= excess * (1 + ROUNDING) + ROUNDING * caps[quantity]
        return None

    def _solve(
        self,
        goal: Quantity | None,
        caps: Mapping[Quantity, float],
        most_noise: float | None,
        stays: Stays,
    ) -> _Found | None:
        objective = (self.noise,) if goal is None else self.costs.sums(goal, stays)
        limits = [] if most_noise is None else [Limit(self.noise, most_noise)]
        if len(self._first) > 1 and any(q in PRICED for q in (goal, *caps)):
            limits += self.costs.room(stays)
        for quantity, most in caps.items():
            whole = math.floor(most * (1 + ROUNDING)) if quantity.whole else most
            limits += [Limit(total, whole) for total in self.costs.sums(quantity, stays)]
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
