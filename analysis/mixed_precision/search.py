"""Which bits for which layer: the least noise within budgets, or the least cost within a loss."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from accelerator.machine import Machine, Storage
from accelerator.report import CostReport
from analysis.cost.estimate import cost
from analysis.cost.quantity import Quantity
from analysis.cost.workload import Entropies
from analysis.mixed_precision.choices import Rules, find_knobs
from analysis.mixed_precision.cost_tables import PRICED, BitCosts, Stays
from analysis.mixed_precision.cost_terms import Limit, Sum
from analysis.mixed_precision.integer_program import solve
from analysis.mixed_precision.proposal import Budget, BudgetError, Proposal
from analysis.mixed_precision.useful_bits import explain_gains
from analysis.network import Network
from analysis.prediction.noise_table import UNKNOWN, Noise, Summed, knob_noises, noise_table
from analysis.prediction.predictor import Predictor, first_predictor
from analysis.sensitivity.sweep import Sensitivity
from quant.assignment import Knob, cells_of, parts_of, with_bits
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.simulation.plan import Side

ROUNDS = 4
MOST_SCENES = 8  # sets of values on chip that are tried
CLOSE = 1e-3  # of a bound on the noise, relative: what passes for settled
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
        others: Sequence[Sensitivity] = (),
        predictor: Predictor | None = None,
    ) -> None:
        self.network, self.machine, self.rules = network, machine, rules
        self.sensitivity, self.config = sensitivity, sensitivity.sweep.config
        self.predictor = predictor or first_predictor(sensitivity)
        self.table = noise_table(network.graph, *others, sensitivity)
        energies = self.table.energies
        knobs = find_knobs(network.graph, self.config, rules)
        compressed = machine.weight_storage is Storage.ENTROPY
        self.knobs = knobs if compressed else tuple(_quietest(energies, knob) for knob in knobs)
        self.noise = Sum({i: knob_noises(energies, k) for i, k in enumerate(self.knobs)})
        self.costs = BitCosts(network, self.config, machine, self.knobs, entropies)
        self._first = self._scenes()
        self.reference = self.judge("reference", reference or self.uniform(8, 8))

    @property
    def scenes(self) -> int:
        """How many sets of values on chip are tried at first; 1 where bits do not change them."""
        return len(self._first)

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
        try:
            summed = self.table.sum_up(cells_of(config, self.network.graph))
        except QuantError:
            summed = UNKNOWN
        report = cost(self.network, config, self.machine, self.costs.entropies)
        return Proposal(name, config, summed, self.predictor.predict(summed), report)

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
        if most_loss is None:
            return self._proposal(name, self._cheapest(quantity, caps, most_noise), start)
        kept: _Found | None = None
        like, bound = self.reference.summed, 0.0
        for _ in range(ROUNDS):  # what noise costs in accuracy depends on the layers that make it
            most = min(self.predictor.most_noise(most_loss, like), most_noise or math.inf)
            if kept is not None and math.isclose(most, bound, rel_tol=CLOSE):
                break
            bound, found = most, self._cheapest(quantity, caps, most)
            like = self._summed(found.choice)
            loss = self.predictor.predict(like).loss
            good = loss is not None and loss <= most_loss + ROUNDING
            if good and (kept is None or quantity.of(found.report) < quantity.of(kept.report)):
                kept = found
        return self._proposal(name, kept or found, start)

    def _cheapest(
        self, quantity: Quantity, caps: Mapping[Quantity, float], most_noise: float | None
    ) -> _Found:
        """Return the choice with the least of a quantity, of equal ones that with the least noise.

        Raises:
            BudgetError: no choice keeps the bounds.
        """
        found = self._search(quantity, caps, most_noise)
        if found is None:
            raise self._unreachable(caps, most_noise)
        least = min(caps.get(quantity, math.inf), quantity.of(found.report))
        return self._search(None, {**caps, quantity: least}, most_noise) or found

    def _summed(self, choice: Sequence[int]) -> Summed:
        """Return what the parts of a choice make together."""
        return self.table.sum_up(cells_of(self.costs.configuration(choice), self.network.graph))

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
        summed = self._summed(found.choice)
        return Proposal(
            name,
            self.costs.configuration(found.choice),
            summed,
            self.predictor.predict(summed),
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


def _quietest(noise: Noise, knob: Knob) -> Knob:
    """Return the knob with one granularity for each width: where all cost the same, the quietest.

    Only the size of compressed weights depends on granularity.
    """
    if len(set(knob.bits)) == len(knob.bits):
        return knob
    values = knob_noises(noise, knob)
    best: dict[int, int] = {}
    for option, bits in enumerate(knob.bits):
        if bits not in best or values[option] < values[best[bits]]:
            best[bits] = option
    kept = tuple(best.values())
    return Knob(knob.parts, tuple(best), tuple(knob.grains[option] for option in kept))


_OF_QUANTITY = {
    Quantity.LATENCY: "Latency: the slower of computing and moving data, looked up for each layer "
    "at its own and its neighbours' widths; layers run one after the other, so the sum is exact.",
    Quantity.MEMORY: "Peak memory: the largest of the sums of what is alive at each step; every "
    "step is a limit of its own, so it is exact.",
}


def explain_handling(search: BitSearch, quantities: Iterable[Quantity]) -> tuple[str, ...]:
    """Say for each quantity that is no plain sum how it is dealt with; nothing for the others."""
    asked = tuple(dict.fromkeys(quantities))
    told = [_OF_QUANTITY[quantity] for quantity in asked if quantity in _OF_QUANTITY]
    priced = [str(q) for q in asked if q in (Quantity.ENERGY, Quantity.LATENCY)]
    if priced and search.scenes > 1:
        told.append(
            f"What stays on chip on {search.machine.name} depends on all layers' widths, and "
            f"{' and '.join(priced)} on what stays: {search.scenes} sets are tried at first, "
            f"{MOST_SCENES} at most. Each answer is exact for its set, and priced by the whole "
            "cost model; a set that was not tried may hold a better one."
        )
    return tuple(told)
