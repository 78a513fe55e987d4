"""The noise under the recipes of a search: known noise, or screened and re-measured noise."""

from collections.abc import Sequence

from analysis.mixed_precision.recipe_noise import (
    RecipeNoise,
    Sweeping,
    measure_recipe_noise,
    repaired_study,
)
from analysis.network import Network
from analysis.runs.json_values import plain_from_result
from analysis.sensitivity.ranking import merge_deepest_answers
from analysis.sensitivity.recheck import recheck_loud_layers
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.stored import stored_sensitivity
from analysis.sensitivity.sweep import Sensitivity, Sweep, sweeps_of_granularities
from analysis.study import Study
from quant.config import QuantConfig
from quant.passes.recipe import Recipe, is_float_pass
from quant.progress import Steps, part_of_progress
from quant.simulation.plan import TENSOR_SIDES, Side
from ui.answers.forecast import (
    deepest_sensitivity,
    eight_bit_config,
    held_noises,
    with_exact_answers,
)
from ui.answers.sensitivity import SCREENED_IMAGES, screened_answers, screening_key
from ui.answers.stored_sensitivity import stored_layer_sensitivity
from ui.state.tradeoffs import FrontRequest
from ui.state.workspace import Workspace

SCREENING_SHARE = 0.5  # of the work: the check of what is loud is the rest


def noises_of(
    workspace: Workspace, study: Study, wish: FrontRequest, present: QuantConfig
) -> Steps[tuple[RecipeNoise, ...]]:
    """Return the noise under each recipe of a wish; equal float passes share sweeps."""
    recipes = wish.repairs(study, workspace.experiment.recipe)
    own = Sweep(
        eight_bit_config(workspace, study.network),
        wish.needed_widths(study.network, present),
        TENSOR_SIDES,
    )
    work = _Sweeps(workspace)
    found: list[RecipeNoise] = []
    for place, recipe in enumerate(recipes):
        ends = [(place + more) / len(recipes) for more in (0, 1)]
        steps = work.noise_of(study, recipe, own, wish)
        found.append((yield from part_of_progress(steps, *ends)))
    return tuple(found)


class _Sweeps:
    """The sweeps of a question, by the float passes before the sweep; a sweep runs only once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._studies: dict[Recipe, Study] = {}
        self._swept: dict[tuple[Recipe, Sweep], Sensitivity] = {}

    def noise_of(
        self, study: Study, recipe: Recipe, own: Sweep, wish: FrontRequest
    ) -> Steps[RecipeNoise]:
        """Return the noise under a recipe; held noise counts as far as it covers the question."""
        held = held_noises(self._workspace, own.config).get(recipe)
        if recipe and held is not None and _answers_question(held, study.network, own, wish):
            return held
        before = tuple(filter(is_float_pass, recipe))
        if before not in self._studies:
            self._studies[before] = yield from repaired_study(study, before)
        few = self._studies[before].with_scored_images(study.scored_images.first(SCREENED_IMAGES))
        grains = wish.granularities or None
        steps = measure_recipe_noise(
            few, recipe, own, grains, self._sweep_for_recipe(before, study)
        )
        return (yield from steps)

    def _sweep_for_recipe(self, before: Recipe, study: Study) -> Sweeping:
        def sweep_once(few: Study, sweep: Sweep) -> Steps[Sensitivity]:
            key = before, sweep
            if key not in self._swept:
                plain = sweep.sides == TENSOR_SIDES
                if before:
                    steps = _repaired_noise(few, study, sweep)
                elif plain:
                    steps = _own_noise(self._workspace, few, sweep)
                else:
                    steps = _other_noise(self._workspace, few, sweep)
                self._swept[key] = yield from steps
            return self._swept[key]

        return sweep_once


def _answers_question(held: RecipeNoise, network: Network, own: Sweep, wish: FrontRequest) -> bool:
    """Whether held noise has the requested bits and granularities."""
    asked = sweeps_of_granularities(held.network.graph, own, wish.granularities)
    known = {other.sweep.config for other in held.others}
    return _covers_all_cells(held.sensitivity, network, own.bits) and known >= {
        o.config for o in asked
    }


def _repaired_noise(few: Study, study: Study, sweep: Sweep) -> Steps[Sensitivity]:
    """Return the sensitivities of a repaired network: screened, and exact where that is known."""
    found = yield from part_of_progress(screen_layers(few, sweep), 0.0, SCREENING_SHARE)
    found = yield from part_of_progress(recheck_loud_layers(few, found), SCREENING_SHARE, 1.0)
    exact = stored_sensitivity(few.with_scored_images(study.scored), sweep.config)
    if exact is None or sweep.sides != TENSOR_SIDES:
        return found
    return merge_deepest_answers(exact, found, [layer.name for layer in few.network.graph.layers])


def _other_noise(workspace: Workspace, few: Study, sweep: Sweep) -> Steps[Sensitivity]:
    """Return the noise of weights at a further granularity: exact if known, else screened."""
    exact = stored_layer_sensitivity(workspace, sweep.config)
    if exact is not None and _covers_all_cells(exact, few.network, sweep.bits, sweep.sides):
        return exact
    known = screened_answers(workspace, sweep, SCREENED_IMAGES)
    if known is None:
        known = yield from part_of_progress(screen_layers(few, sweep), 0.0, SCREENING_SHARE)
    steps = recheck_loud_layers(few, known)
    checked = yield from part_of_progress(steps, SCREENING_SHARE, 1.0)
    key = screening_key(workspace, sweep, SCREENED_IMAGES)
    workspace.store.keep_answer(key, plain_from_result(checked))
    return checked


def _own_noise(workspace: Workspace, few: Study, sweep: Sweep) -> Steps[Sensitivity]:
    """Return the known sensitivities at `bits`; otherwise screen the layers and keep the result."""
    known = deepest_sensitivity(workspace)
    if known is not None and _covers_all_cells(known, few.network, sweep.bits):
        return (yield from recheck_loud_layers(few, known))
    steps = screen_layers(few, sweep)
    found = yield from part_of_progress(steps, 0.0, SCREENING_SHARE)
    loud = recheck_loud_layers(few, found)
    found = yield from part_of_progress(loud, SCREENING_SHARE, 1.0)
    workspace.store.keep_answer(
        screening_key(workspace, sweep, SCREENED_IMAGES), plain_from_result(found)
    )
    return with_exact_answers(workspace, few.network, sweep.config, found)


def _covers_all_cells(
    found: Sensitivity, network: Network, bits: Sequence[int], asked: Sequence[Side] = TENSOR_SIDES
) -> bool:
    """Whether weights and activations of the asked sides have a score at each of the bits."""
    known = {(s.question.layer, s.question.side, s.question.bits) for s in found.scores}
    sides = [
        (layer.name, side)
        for layer in network.graph.layers
        for side in asked
        if side is not TENSOR_SIDES[0] or layer.weight is not None
    ]
    return all((*place, width) in known for place in sides for width in bits)
