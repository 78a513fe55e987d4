"""The optimizer from end to end: a task in words, the answer as plain values for JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accelerator.machine import Machine
from analysis.cost.quantity import Quantity
from analysis.cost.spared_bits import explain_spared_bits
from analysis.evaluation.lost_score import measured_loss_share
from analysis.mixed_precision.choices import Rules
from analysis.mixed_precision.explain_costs import explain_handling
from analysis.mixed_precision.pareto_front import (
    Front,
    Measured,
    find_pareto_front,
    measure_proposals,
    update_front,
)
from analysis.mixed_precision.proposal import Budget, BudgetError, Proposal
from analysis.mixed_precision.recipe_noise import (
    Sweeping,
    measure_recipe_noise,
    repaired_study,
)
from analysis.mixed_precision.recipe_search import RecipeSearch
from analysis.mixed_precision.search import BitSearch
from analysis.mixed_precision.try_configs import (
    learn_with_trials,
    try_front,
    try_proposals,
    with_trial,
)
from analysis.mixed_precision.useful_bits import explain_machine_gains, restrict_to_useful_bits
from analysis.network import Network
from analysis.runs.run_store import RunStore
from analysis.runs.verdict import SMALL_LOSS
from analysis.sensitivity.analyze import analyze_sensitivity
from analysis.sensitivity.recheck import recheck_loud_layers
from analysis.sensitivity.sweep import (
    CellScore,
    Depth,
    Question,
    Sensitivity,
    Sweep,
    sweeps_of_granularities,
)
from analysis.study import Study
from analysis.unfinished_search import open_search
from quant.assignment import bits_by_part, parts_of_graph
from quant.config import QuantConfig
from quant.errors import ConfigError
from quant.passes.recipe import Recipe
from quant.progress import Progress, Steps, part_of_progress
from quant.simulation.plan import TENSOR_SIDES, Side
from quant.spec import FLOAT_BITS

SWEEP_SHARE, FRONT_SHARE, TRY_SHARE = 0.65, 0.75, 0.8  # of the progress bar: where parts end
MOST_TRIALS = 6  # of the cheapest choice within a loss
QUIETER = 0.7  # of the noise of a choice whose trial loses too much


@dataclass(frozen=True, slots=True)
class Task:
    """The goal of an optimization: the least noise within `budgets`, or the least of `least`.

    `config` gives the settings besides bits; relative budgets are shares of the cost of
    `reference`. `most_loss` is a share of 1; `front` counts points of the front of the first
    budget's quantity. `recipe` repairs every choice: bits are chosen for the network after the
    float passes.
    """

    machine: Machine
    config: QuantConfig
    rules: Rules
    budgets: tuple[Budget, ...] = ()
    reference: QuantConfig | None = None
    least: Quantity | None = None
    most_loss: float | None = None
    front: int = 0
    depth: Depth = Depth.EXACT
    measured: bool = False
    seed: int = 0
    recipe: Recipe = ()

    def __post_init__(self) -> None:
        if not self.budgets and self.least is None:
            raise ConfigError(
                "A choice of bits needs a budget, or a quantity to make least; got neither. Name "
                "one, such as energy=0.6."
            )
        if self.least is None and self.most_loss is not None:
            raise ConfigError(
                "A loss bounds a quantity to make least; got no quantity. Name one, such as energy."
            )
        if self.least is not None and self.most_loss is None and not self.budgets:
            raise ConfigError(
                "The least of a quantity needs a bound on the loss; got none. Name a loss."
            )

    @property
    def main_quantity(self) -> Quantity:
        """The main quantity of the answer."""
        return self.least or self.budgets[0].quantity


@dataclass(frozen=True, slots=True)
class Answer:
    """The proposal, the front, and the measurements of both.

    `others` are the sensitivities of weights at other granularities; `taught` counts earlier runs
    that corrected the predictions. `warnings` are sentences about the choice.
    """

    task: Task
    sensitivity: Sensitivity
    others: tuple[Sensitivity, ...]
    reference: Proposal
    proposal: Proposal
    front: Front | None = None
    measured: tuple[Measured, ...] = ()
    notes: tuple[str, ...] = ()
    taught: int = 0
    warnings: tuple[str, ...] = ()


def optimize_bits(study: Study, task: Task, store: RunStore | None = None) -> Steps[Answer]:
    """Sweep on the study's calibration images, choose bits, and measure the choice on other images.

    Without calibration images the sweep uses the scored images. Stored answers of the study are not
    computed again. Runs of the network in `store` on the scored images correct the predictions, and
    `store` receives the new measurements. A search that was killed goes on (`UnfinishedSearch`).

    Raises:
        QuantError: no choice keeps the budgets, or a part of the task does not fit the network.
    """
    scored = study.scored_images
    repaired = yield from repaired_study(study, task.recipe)
    network = repaired.network
    sweeping = repaired.with_scored_images(repaired.calibration or scored)
    rules = _fitting_rules(task)
    bits = tuple(sorted(_needed_widths(task, rules, network), reverse=True))
    own = Sweep(task.config, bits, TENSOR_SIDES)
    yield Progress(0.0, "Looking up what is within reach")
    _check_budget_reach(network, own, rules, task)
    steps = measure_recipe_noise(
        sweeping, task.recipe, own, rules.granularities, _sweep_function(task.depth)
    )
    noise = yield from part_of_progress(steps, 0.0, SWEEP_SHARE)
    yield Progress(SWEEP_SHARE, "Choosing bits")
    begun = open_search(store, study, task)
    foresight = yield from part_of_progress(
        learn_with_trials(study, [noise], begun.taught), SWEEP_SHARE, SWEEP_SHARE
    )
    search = RecipeSearch([noise], task.machine, rules, task.reference, foresight.predictor)
    proposal, front = (yield from _choose_tried_proposal(study, search, task)), None
    if task.front:
        points = find_pareto_front(search, task.main_quantity, task.front)
        front = yield from part_of_progress(points, SWEEP_SHARE, FRONT_SHARE)
        front = yield from part_of_progress(try_front(study, search, front), FRONT_SHARE, TRY_SHARE)
    found: tuple[Measured, ...] = ()
    if task.measured:
        queue = (proposal, search.reference)
        kept = begun.keep_run, begun.find_run
        steps_of_runs = measure_proposals(search, study, queue, task.seed, *kept)
        found = yield from part_of_progress(steps_of_runs, TRY_SHARE, 1.0)
        front = None if front is None else update_front(front, search.predictor)
    counted = [task.main_quantity, *(budget.quantity for budget in task.budgets)]
    notes = (
        explain_machine_gains(task.machine),
        *explain_spared_bits(search.reference.cost, proposal.cost),
        *explain_handling(search, counted),
    )
    begun.close()
    return Answer(
        task,
        noise.sensitivity,
        noise.others,
        search.reference,
        proposal,
        front,
        found,
        notes,
        len(foresight.measured),
        warn_of_loss(proposal, found),
    )


def _sweep_function(depth: Depth) -> Sweeping:
    """Return a function that answers a sweep at a depth, with checks of loud layers."""

    def sweep_once(study: Study, sweep: Sweep) -> Steps[Sensitivity]:
        answers = yield from analyze_sensitivity(study, sweep, depth)
        if depth is Depth.SCREENING:
            answers = yield from recheck_loud_layers(study, answers)
        return answers

    return sweep_once


def warn_of_loss(proposal: Proposal, measured: Sequence[Measured]) -> tuple[str, ...]:
    """Return a warning for a loss of more than `SMALL_LOSS` against float, else nothing.

    A measured loss precedes a predicted loss.
    """
    words, loss = "is predicted", proposal.prediction.loss
    for one in measured:
        found = one.run.evaluation
        if one.proposal is proposal:
            words, loss = (
                "was measured",
                measured_loss_share(found, labelled=found.top1_drop is not None),
            )
    if loss is None or loss <= SMALL_LOSS:
        return ()
    sentence = (
        f"The choice should lose at most {100 * SMALL_LOSS:g} point against float; it {words} to "
        f"lose {100 * loss:.1f}. Allow a higher cost, or add repairs."
    )
    return (sentence,)


def _check_budget_reach(network: Network, own: Sweep, rules: Rules, task: Task) -> None:
    """Raise budget errors before the sweep: cost needs no sensitivity."""
    sweeps = (own, *sweeps_of_granularities(network.graph, own, rules.granularities))
    silent, *others = (_silent_sensitivity(network, sweep) for sweep in sweeps)
    search = BitSearch(network, silent, task.machine, rules, task.reference, None, others)
    search.least_noise_choice(task.budgets)


def _silent_sensitivity(network: Network, sweep: Sweep) -> Sensitivity:
    scores = tuple(
        CellScore(Question(layer, bits, side), Depth.INSTANT, 0, math.inf)
        for layer, side in parts_of_graph(network.graph)
        if side in sweep.sides
        for bits in sweep.bits
    )
    return Sensitivity(sweep, Depth.INSTANT, 0, None, scores)


def _fitting_rules(task: Task) -> Rules:
    """Return the rules without useless widths; for BOPs every width is useful."""
    counted = [budget.quantity for budget in task.budgets] + [task.least]
    return (
        task.rules
        if Quantity.BOPS in counted
        else restrict_to_useful_bits(task.machine, task.rules)
    )


def _needed_widths(task: Task, rules: Rules, network: Network) -> set[int]:
    """Return the bits that need a sensitivity."""
    given = [rules.edge_bits]
    for pin in rules.pins:
        given += [pin.weight_bits, pin.activation_bits]
    reference = bits_by_part(task.reference, network.graph).values() if task.reference else ()
    found = {*rules.offered_bits(Side.WEIGHTS), *rules.offered_bits(Side.ACTIVATIONS), *reference}
    return {bits for bits in (*found, *given) if bits is not None and bits != FLOAT_BITS}


def _choose_tried_proposal(study: Study, search: RecipeSearch, task: Task) -> Steps[Proposal]:
    """Return the choice after a trial; a choice that loses too much by trial is made less noisy.

    The last choice stands where no trial keeps the bound.
    """
    proposal = _choose_proposal(search, task)
    for _ in range(MOST_TRIALS):
        yield from part_of_progress(
            try_proposals(study, search, [proposal, search.reference]), SWEEP_SHARE, SWEEP_SHARE
        )
        proposal = with_trial(search, proposal)
        loss, noise = proposal.prediction.loss, proposal.noise_energy_sum
        if task.most_loss is None or task.least is None or loss is None or loss <= task.most_loss:
            break
        try:
            proposal = search.cheapest_choice(
                task.least, task.budgets, most_noise=QUIETER * noise, most_loss=task.most_loss
            )
        except BudgetError:
            break
    search.reference = with_trial(search, search.reference)
    return with_trial(search, proposal)


def _choose_proposal(search: RecipeSearch, task: Task) -> Proposal:
    if task.least is None:
        return search.least_noise_choice(task.budgets)
    return search.cheapest_choice(task.least, task.budgets, most_loss=task.most_loss)
