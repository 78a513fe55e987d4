"""Searches bits and repairs together: the best choice under any recipe of the search."""

import math
from collections.abc import Callable, Sequence

from accelerator.machine import Machine, Storage
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.choices import Rules
from analysis.mixed_precision.proposal import Budget, BudgetError, Proposal
from analysis.mixed_precision.recipe_noise import RecipeNoise
from analysis.mixed_precision.search import ROUNDING, BitSearch
from analysis.prediction.predictor import Predictor, predictor_from_sweep
from quant.config import QuantConfig
from quant.errors import ConfigError
from quant.passes.recipe import Recipe


class RecipeSearch:
    """Searches the bits of one machine under several recipes; the best answer counts.

    Recipes keep the function of the float network, so the noises of recipes are comparable. The
    searches share one predictor. A recipe that is nowhere less noisy than another recipe is judged,
    but not searched.

    Raises:
        QuantError: a sensitivity at some bits is unknown, or pins and rules do not fit.
    """

    def __init__(
        self,
        noises: Sequence[RecipeNoise],
        machine: Machine,
        rules: Rules,
        reference: QuantConfig | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        if not noises:
            raise ConfigError("A search needs a recipe, or none as a recipe; got no noise at all.")
        self.noises, self.machine = tuple(noises), machine
        first = noises[0].sensitivity
        shared = predictor or predictor_from_sweep(first, noises[0].network.chance)
        self.searches = tuple(
            BitSearch(
                noise.network,
                noise.sensitivity,
                machine,
                rules,
                reference,
                noise.entropies,
                noise.others,
                shared,
                noise.recipe,
                noise.trials,
            )
            for noise in noises
        )
        self._predictor = shared
        self._best = _undominated_searches(self.searches)
        self.reference = self.judge_config("reference", reference or self.uniform_config(8, 8))

    @property
    def predictor(self) -> Predictor:
        """The predictor of the quality of proposals."""
        return self._predictor

    @predictor.setter
    def predictor(self, predictor: Predictor) -> None:
        """Give every search a new predictor."""
        self._predictor = predictor
        for search in self.searches:
            search.predictor = predictor

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipes of the search, in order."""
        return tuple(noise.recipe for noise in self.noises)

    @property
    def scene_count(self) -> int:
        """The number of on-chip sets tried at first; 1 where the set does not depend on bits."""
        return max(search.scene_count for search in self.searches)

    def search_with(self, recipe: Recipe) -> BitSearch | None:
        """Return the search under one recipe, or None."""
        return next((search for search in self.searches if search.recipe == recipe), None)

    def uniform_config(self, weight_bits: int, activation_bits: int) -> QuantConfig:
        """Return the configuration with uniform bits, regardless of the rules."""
        return self.searches[0].uniform_config(weight_bits, activation_bits)

    def judge_config(
        self, name: str, config: QuantConfig, recipe: Recipe | None = None
    ) -> Proposal:
        """Predict and price a configuration, under `recipe` or under the least noisy recipe.

        A recipe outside the search is priced like the first; the noise is then nan.
        """
        if recipe is None:
            judged = [search.judge_config(name, config) for search in self.searches]
            return min(
                judged, key=lambda one: (math.isnan(one.noise_energy_sum), one.noise_energy_sum)
            )
        search = self.search_with(recipe)
        if search is not None:
            return search.judge_config(name, config)
        return self.searches[0].unknown(name, config, recipe)

    def least_noise_choice(self, budgets: Sequence[Budget], name: str = "Mixed") -> Proposal:
        """Return the choice with the least predicted noise within the budgets.

        Raises:
            BudgetError: no choice keeps the budgets; the sentence names the least possible values.
        """
        found = self._answers_of_searches(lambda search: search.least_noise_choice(budgets, name))
        return min(found, key=lambda proposal: proposal.noise_energy_sum)

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

        Raises:
            BudgetError: no choice keeps the bounds under any recipe.
        """
        found = self._answers_of_searches(
            lambda search: search.cheapest_choice(
                quantity, budgets, most_noise=most_noise, most_loss=most_loss, name=name
            )
        )
        good = [one for one in found if most_loss is None or _loses_at_most(one, most_loss)]
        return min(
            good or found, key=lambda one: (quantity.value_in(one.cost), one.noise_energy_sum)
        )

    def least_possible_quantity(self, quantity: Quantity) -> float:
        """Return the least possible quantity within the rules, in the unit of the quantity."""
        return min(search.least_possible_quantity(quantity) for search in self._best)

    def _answers_of_searches(self, ask: Callable[[BitSearch], Proposal]) -> list[Proposal]:
        """Return the answers of the searches with an answer.

        Raises:
            BudgetError: no search has an answer.
        """
        found: list[Proposal] = []
        problem: BudgetError | None = None
        for search in self._best:
            try:
                found.append(ask(search))
            except BudgetError as error:
                problem = problem or error
        if not found and problem is not None:
            raise problem
        return found


def _undominated_searches(searches: Sequence[BitSearch]) -> tuple[BitSearch, ...]:
    """Return the searches with the least noise somewhere; of equal searches the first.

    On machines that compress weights the costs differ between recipes, so every search stays.
    """
    if searches[0].machine.weight_storage is Storage.ENTROPY:
        return tuple(searches)
    kept: list[BitSearch] = []
    for search in searches:
        if any(_is_quieter(other, search) for other in kept):
            continue
        kept = [other for other in kept if not _is_quieter(search, other)] + [search]
    return tuple(kept)


def _is_quieter(search: BitSearch, other: BitSearch) -> bool:
    """Whether every cell of a search is at most as noisy as in another search."""
    mine, theirs = search.table.energies, other.table.energies
    return mine.keys() >= theirs.keys() and all(mine[cell] <= theirs[cell] for cell in theirs)


def _loses_at_most(proposal: Proposal, most: float) -> bool:
    """Whether the predicted loss of a proposal is known and within a bound."""
    loss = proposal.prediction.loss
    return loss is not None and loss <= most + ROUNDING
