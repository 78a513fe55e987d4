"""Finds bits for each layer: least noise within budgets, or least cost within a loss."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accelerator.machine import Machine, Storage
from accelerator.report import CostReport
from analysis.cost.estimate import estimate_config_cost
from analysis.cost.quantity import Quantity
from analysis.cost.workload import Entropies
from analysis.mixed_precision.choices import Rules, find_free_knobs
from analysis.mixed_precision.cost_tables import PRICED, BitCosts, Stays
from analysis.mixed_precision.cost_terms import Limit, Sum
from analysis.mixed_precision.integer_program import solve_integer_program
from analysis.mixed_precision.proposal import Budget, BudgetError, Proposal
from analysis.mixed_precision.useful_bits import explain_machine_gains
from analysis.network import Network
from analysis.prediction.noise_table import (
    UNKNOWN_SUM,
    Noise,
    NoiseSum,
    Trials,
    build_noise_table,
    noise_by_option,
)
from analysis.prediction.predictor import Predictor, predictor_from_sweep
from analysis.sensitivity.sweep import Sensitivity
from quant.assignment import Knob, cells_of_config, config_with_bits, parts_of_graph
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.passes.recipe import Recipe
from quant.simulation.plan import Side

ROUNDS = 4
LOSS_ROUNDS = 12
TIGHTEN = 0.7  # of a noise bound whose choice loses more than is allowed
MAX_SCENES = 8  # at most so many sets of values on chip are tried
NOISE_TOLERANCE = 1e-3  # relative change of the noise bound that counts as converged
ROUNDING = 1e-9  # relative to a limit: error of float sums


@dataclass(frozen=True, slots=True)
class _Candidate:
    choice: tuple[int, ...]
    value: float
    report: CostReport
    proven: bool


class BitSearch:
    """Searches the bits of one network on one machine; prices are cached.

    Objective and budgets are sums (`BitCosts`), so an integer program solves the search exactly.
    The set of activations on chip, and the residency of the weights, is no sum. Therefore the
    program is solved for the sets of values on chip at uniform widths, and for the sets of the
    answers, with the constraint that the set fits; the best answer counts. The cost model prices
    every answer; a limit broken by the true cost is tightened by the excess. Machines with a fixed
    on-chip set have one set. `network` and `sensitivity` describe the state after the float passes
    of `recipe`; the proposals carry the recipe.

    Raises:
        QuantError: a sensitivity at some bits is unknown, or pins and rules do not fit.
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
        recipe: Recipe = (),
        trials: Trials | None = None,
    ) -> None:
        self.network, self.machine, self.rules = network, machine, rules
        self.recipe = recipe
        self.sensitivity, self.config = sensitivity, sensitivity.sweep.config
        self.predictor = predictor or predictor_from_sweep(sensitivity, network.chance)
        self.table = build_noise_table(network.graph, *others, sensitivity, trials=trials)
        energies = self.table.energies
        knobs = find_free_knobs(network.graph, self.config, rules)
        compressed = machine.weight_storage is Storage.ENTROPY
        self.knobs = (
            knobs if compressed else tuple(_quietest_options(energies, knob) for knob in knobs)
        )
        self.noise = Sum({i: noise_by_option(energies, k) for i, k in enumerate(self.knobs)})
        self.costs = BitCosts(network, self.config, machine, self.knobs, entropies)
        self._first = self._on_chip_scenes()
        self.reference = self.judge_config("reference", reference or self.uniform_config(8, 8))

    @property
    def scene_count(self) -> int:
        """The number of on-chip sets tried at first; 1 where the set does not depend on bits."""
        return len(self._first)

    def _on_chip_scenes(self) -> tuple[Stays, ...]:
        """Return the on-chip sets with every knob at its widest, second widest, ... width."""
        most = max(len(knob.bits) for knob in self.knobs)
        places = (tuple(min(i, len(k.bits) - 1) for k in self.knobs) for i in range(most))
        return tuple(dict.fromkeys(map(self.costs.residents_on_chip, places)))

    def uniform_config(self, weight_bits: int, activation_bits: int) -> QuantConfig:
        """Return the configuration of the sweep with uniform bits, regardless of the rules."""
        bits = {Side.WEIGHTS: weight_bits, Side.ACTIVATIONS: activation_bits}
        graph = self.network.graph
        return config_with_bits(
            self.config, graph, {part: bits[part[1]] for part in parts_of_graph(graph)}
        )

    def judge_config(self, name: str, config: QuantConfig) -> Proposal:
        """Predict and price a configuration; an unknown sensitivity makes the noise nan."""
        try:
            summed = self.table.sum_cells(cells_of_config(config, self.network.graph))
        except QuantError:
            summed = UNKNOWN_SUM
        report = estimate_config_cost(self.network, config, self.machine, self.costs.entropies)
        said = self.predictor.predict_network(summed)
        return Proposal(name, config, summed, said, report, recipe=self.recipe)

    def unknown(self, name: str, config: QuantConfig, recipe: Recipe) -> Proposal:
        """Price a configuration under another recipe, with unknown noise."""
        report = estimate_config_cost(self.network, config, self.machine, self.costs.entropies)
        said = self.predictor.predict_network(UNKNOWN_SUM)
        return Proposal(name, config, UNKNOWN_SUM, said, report, recipe=recipe)

    def least_noise_choice(self, budgets: Sequence[Budget], name: str = "Mixed") -> Proposal:
        """Return the choice with the least predicted noise within the budgets.

        Raises:
            BudgetError: no choice keeps the budgets; the sentence names the least possible values.
        """
        start = time.perf_counter()
        caps = self._caps_by_quantity(budgets)
        found = self._search_best_candidate(None, caps)
        if found is None:
            raise self._unreachable_budget_error(caps)
        return self._candidate_proposal(name, found, start)

    def cheapest_choice(
        self,
        quantity: Quantity,
        budgets: Sequence[Budget] = (),
        *,
        most_noise: float | None = None,
        most_loss: float | None = None,
        name: str = "Cheapest",
    ) -> Proposal:
        """Return the choice with the least of a quantity; among equal choices, the least noise.

        `most_noise` bounds the sum of noise energies, `most_loss` the predicted loss, a share.

        Raises:
            BudgetError: no choice keeps the bounds.
            QuantError: no measurement relates noise to loss.
        """
        start = time.perf_counter()
        caps = self._caps_by_quantity(budgets)
        if most_loss is None:
            return self._candidate_proposal(
                name, self._cheapest_candidate(quantity, caps, most_noise), start
            )
        kept: _Candidate | None = None
        like, bound, tight = self.reference.summed, 0.0, most_noise or math.inf
        for _ in range(LOSS_ROUNDS):  # the loss from noise depends on the layers behind the noise
            most = min(self.predictor.most_noise_energy(most_loss, like), tight)
            if kept is not None and math.isclose(most, bound, rel_tol=NOISE_TOLERANCE):
                break
            bound, found = most, self._cheapest_candidate(quantity, caps, most)
            like = self._summed_noise(found.choice)
            loss = self.predictor.predict_network(like).loss
            good = loss is not None and loss <= most_loss + ROUNDING
            if good and (
                kept is None or quantity.value_in(found.report) < quantity.value_in(kept.report)
            ):
                kept = found
            if kept is not None and (not good or math.isfinite(tight)):
                break
            tight = tight if good else TIGHTEN * bound
        return self._candidate_proposal(name, kept or found, start)

    def _cheapest_candidate(
        self, quantity: Quantity, caps: Mapping[Quantity, float], most_noise: float | None
    ) -> _Candidate:
        """Return the choice with the least of a quantity; among equal choices, the least noise.

        Raises:
            BudgetError: no choice keeps the bounds.
        """
        found = self._search_best_candidate(quantity, caps, most_noise)
        if found is None:
            raise self._unreachable_budget_error(caps, most_noise)
        least = min(caps.get(quantity, math.inf), quantity.value_in(found.report))
        return self._search_best_candidate(None, {**caps, quantity: least}, most_noise) or found

    def _summed_noise(self, choice: Sequence[int]) -> NoiseSum:
        """Return the sum over the parts of a choice."""
        return self.table.sum_cells(
            cells_of_config(self.costs.config_of_choice(choice), self.network.graph)
        )

    def least_possible_quantity(self, quantity: Quantity) -> float:
        """Return the least possible quantity within the rules, in the unit of the quantity."""
        found = self._search_best_candidate(quantity, {})
        if found is None:
            raise self._unreachable_budget_error({})
        return quantity.value_in(found.report)

    def _caps_by_quantity(self, budgets: Sequence[Budget]) -> dict[Quantity, float]:
        caps: dict[Quantity, float] = {}
        for budget in budgets:
            unit = budget.quantity.value_in(self.reference.cost) if budget.relative else 1.0
            caps[budget.quantity] = min(caps.get(budget.quantity, math.inf), budget.most * unit)
        return caps

    def _candidate_proposal(self, name: str, found: _Candidate, start: float) -> Proposal:
        summed = self._summed_noise(found.choice)
        return Proposal(
            name,
            self.costs.config_of_choice(found.choice),
            summed,
            self.predictor.predict_network(summed),
            found.report,
            found.proven,
            time.perf_counter() - start,
            self.recipe,
        )

    def _search_best_candidate(
        self,
        goal: Quantity | None,
        caps: Mapping[Quantity, float],
        most_noise: float | None = None,
    ) -> _Candidate | None:
        """Return the best choice with true cost within the caps; no goal means the least noise."""
        best: _Candidate | None = None
        waiting = list(self._first)
        seen = set(waiting)
        for stays in waiting:
            answer = self._settle_scene(goal, caps, most_noise, stays)
            if answer is None:
                continue
            if best is None or answer.value < best.value:
                best = answer
            true = self.costs.residents_on_chip(answer.choice)
            if true not in seen and len(seen) < MAX_SCENES:
                seen.add(true)
                waiting.append(true)
        return best

    def _settle_scene(
        self,
        goal: Quantity | None,
        caps: Mapping[Quantity, float],
        most_noise: float | None,
        stays: Stays,
    ) -> _Candidate | None:
        """Solve with `stays` on chip; tighten the limits broken by the true cost."""
        tight = dict(caps)
        for _ in range(ROUNDS):
            answer = self._solve_scene(goal, tight, most_noise, stays)
            if answer is None:
                return None
            over = _excess_by_quantity(answer.report, caps)
            if not over:
                return answer
            for quantity, excess in over.items():
                tight[quantity] -= excess * (1 + ROUNDING) + ROUNDING * caps[quantity]
        return None

    def _solve_scene(
        self,
        goal: Quantity | None,
        caps: Mapping[Quantity, float],
        most_noise: float | None,
        stays: Stays,
    ) -> _Candidate | None:
        objective = (self.noise,) if goal is None else self.costs.quantity_sums(goal, stays)
        limits = [] if most_noise is None else [Limit(self.noise, most_noise)]
        if len(self._first) > 1 and any(q in PRICED for q in (goal, *caps)):
            limits += self.costs.on_chip_limits(stays)
        for quantity, most in caps.items():
            whole = math.floor(most * (1 + ROUNDING)) if quantity.is_whole_number else most
            limits += [Limit(total, whole) for total in self.costs.quantity_sums(quantity, stays)]
        solution = solve_integer_program([len(knob.bits) for knob in self.knobs], objective, limits)
        if solution is None:
            return None
        report = self.costs.cost_report(solution.choice)
        value = self.noise.value_at(solution.choice) if goal is None else goal.value_in(report)
        return _Candidate(solution.choice, value, report, solution.proven)

    def _unreachable_budget_error(
        self, caps: Mapping[Quantity, float], most_noise: float | None = None
    ) -> BudgetError:
        """Return an error with the requested and the least possible values."""
        limits = []
        for quantity, most in caps.items():
            least, unit = (
                self.least_possible_quantity(quantity),
                quantity.value_in(self.reference.cost),
            )
            limits.append(
                f"{quantity} to {most:.4g} {quantity.unit_of_quantity} ({most / unit:.3f} of the "
                "reference), "
                f"where {least:.4g} ({least / unit:.3f}) is the least within reach"
            )
        if most_noise is not None:
            quietest = sum(float(values.min()) for values in self.noise.knobs.values())
            limits.append(f"noise to {most_noise:.3g}, where {quietest:.3g} is the least")
        return BudgetError(
            f"No choice of bits brings {' and '.join(limits)}. Allow more, offer narrower bits, or "
            f"pin fewer layers. {explain_machine_gains(self.machine)}"
        )


def _excess_by_quantity(
    report: CostReport, caps: Mapping[Quantity, float]
) -> dict[Quantity, float]:
    """Return the excess of the true cost over each broken cap."""
    over = {quantity: quantity.value_in(report) - most for quantity, most in caps.items()}
    return {q: excess for q, excess in over.items() if excess > ROUNDING * abs(caps[q])}


def _quietest_options(noise: Noise, knob: Knob) -> Knob:
    """Return the knob with one granularity per width: among equal costs, the least noise.

    Only the size of compressed weights depends on granularity.
    """
    if len(set(knob.bits)) == len(knob.bits):
        return knob
    values = noise_by_option(noise, knob)
    best: dict[int, int] = {}
    for option, bits in enumerate(knob.bits):
        if bits not in best or values[option] < values[best[bits]]:
            best[bits] = option
    chosen = tuple(best.values())
    return Knob(knob.parts, tuple(best), tuple(knob.grains[option] for option in chosen))
