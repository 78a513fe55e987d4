"""The whole range of trade-offs on a machine, and how far predictions are from measurements."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.cost.quantity import Quantity
from analysis.evaluation.lost_score import measured_loss_share
from analysis.mixed_precision.proposal import Budget, Proposal
from analysis.mixed_precision.recipe_search import RecipeSearch
from analysis.mixed_precision.search import BitSearch
from analysis.prediction.predictor import Predictor
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run
from analysis.study import Study
from quant.progress import Progress, Steps, part_of_progress

REFERENCES = ((8, 8), (6, 8), (6, 6), (4, 8), (4, 4))
Search = BitSearch | RecipeSearch


@dataclass(frozen=True, slots=True)
class Front:
    """Proposals from the cheapest to the least noisy, and uniform configurations for comparison.

    By prediction, no choice within the rules beats a proposal in both cost and noise.
    """

    machine: str
    quantity: Quantity
    proposals: tuple[Proposal, ...]
    references: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A proposal with the prediction, and the run of the measurement."""

    proposal: Proposal
    run: Run


@dataclass(frozen=True, slots=True)
class PredictionError:
    """The errors of predictions, over `count` measured networks.

    `bias_db` is the mean of measured minus predicted SQNR, `rms_db` the root of the mean square;
    `mean_loss_error` the mean distance of losses, a share; `within` counts the measured figures
    inside the predicted intervals, of `intervals`.
    """

    count: int
    bias_db: float
    rms_db: float
    mean_loss_error: float | None
    within: int
    intervals: int


def find_pareto_front(search: Search, quantity: Quantity, points: int = 12) -> Steps[Front]:
    """Solve for budgets spread evenly, in ratio, between the cheapest and the least noisy choice.

    Raises:
        QuantError: pins leave no choice.
    """
    yield Progress(0.0, f"Front of {search.machine.title}: both ends")
    best = search.least_noise_choice(())
    top = quantity.value_in(
        search.cheapest_choice(quantity, most_noise=best.noise_energy_sum * (1 + 1e-9)).cost
    )
    low = search.least_possible_quantity(quantity)
    found: list[Proposal] = []
    for number, most in enumerate(np.geomspace(low, max(top, low), max(2, points))):
        yield Progress(number / points, f"Front of {search.machine.title}: {number} of {points}")
        exact = min(max(float(most), low), max(top, low))
        found.append(
            search.least_noise_choice([Budget(quantity, exact)], f"Mixed {exact / top:.0%}")
        )
    references = [
        search.judge_config(f"W{w}A{a}", search.uniform_config(w, a)) for w, a in REFERENCES
    ]
    return Front(
        search.machine.name,
        quantity,
        _undominated_proposals(found, quantity),
        tuple(reference for reference in references if math.isfinite(reference.noise_energy_sum)),
    )


def least_lossy_point(front: Front) -> Proposal:
    """Return the point of a front with the least predicted loss; a point without a loss is last."""

    def loss_of(point: Proposal) -> float:
        return math.inf if point.prediction.loss is None else point.prediction.loss

    return min(front.proposals, key=loss_of)


def _undominated_proposals(found: Iterable[Proposal], quantity: Quantity) -> tuple[Proposal, ...]:
    """Return proposals by rising cost and falling noise; dominated proposals are left out."""
    kept: list[Proposal] = []
    for proposal in sorted(found, key=lambda p: (quantity.value_in(p.cost), p.noise_energy_sum)):
        if not kept or proposal.noise_energy_sum < kept[-1].noise_energy_sum:
            kept.append(proposal)
    return tuple(kept)


def measure_proposals(
    search: Search,
    study: Study,
    proposals: Sequence[Proposal],
    seed: int = 0,
    keep: Callable[[Run], None] | None = None,
    find_run: Callable[[Experiment], Run | None] | None = None,
) -> Steps[tuple[Measured, ...]]:
    """Measure proposals in order; a measurement corrects the search's predictor.

    `keep` receives a finished run, so that a cancelled queue loses none; `find_run` gives the run
    of an earlier attempt, which is not measured again. The recipe of a proposal repairs the network
    before the score.

    Raises:
        QuantError: the calibration or the labels do not fit the network.
    """
    found: list[Measured] = []
    for number, proposal in enumerate(proposals):
        tried = Experiment(proposal.config, search.machine, proposal.recipe, seed=seed)
        tried = tried.with_name(proposal.name)
        run = None if find_run is None else find_run(tried)
        if run is None:
            run = yield from part_of_progress(
                measure_experiment(study, tried),
                number / len(proposals),
                (number + 1) / len(proposals),
            )
            if keep is not None:
                keep(run)
        search.predictor = search.predictor.learn_measurement(proposal.summed, run.evaluation)
        found.append(Measured(proposal, run))
    return tuple(found)


def prediction_error(measured: Sequence[Measured]) -> PredictionError:
    """Compare the measurements with the predictions in the proposals."""
    scores = [(one.proposal.prediction, one.run.evaluation) for one in measured]
    levels = [
        (said.sqnr_db, said.sqnr_ci95, score.sqnr_db)
        for said, score in scores
        if math.isfinite(score.sqnr_db) and math.isfinite(said.sqnr_db)
    ]
    losses = [
        (said.loss, said.loss_ci95, loss)
        for said, score in scores
        if (loss := measured_loss_share(score, labelled=said.labelled)) is not None
        and said.loss is not None
        and said.loss_ci95 is not None
    ]
    decibels = np.array([measured - said for said, _, measured in levels])
    held = [interval.low <= got <= interval.high for _, interval, got in levels]
    held += [interval.low <= max(got, 0.0) <= interval.high for _, interval, got in losses]
    return PredictionError(
        len(measured),
        float(decibels.mean()) if levels else math.nan,
        float(np.sqrt((decibels**2).mean())) if levels else math.nan,
        sum(abs(got - said) for said, _, got in losses) / len(losses) if losses else None,
        sum(held),
        len(held),
    )


def update_front(front: Front, predictor: Predictor) -> Front:
    """Return the front with corrected predictions."""
    return Front(
        front.machine,
        front.quantity,
        tuple(proposal.predicted_by(predictor) for proposal in front.proposals),
        tuple(proposal.predicted_by(predictor) for proposal in front.references),
    )


def move_to_machine(search: RecipeSearch, one: Measured) -> Measured:
    """Return a measured run with its cost on the machine of a search."""
    report = search.judge_config(one.proposal.name, one.proposal.config, one.proposal.recipe).cost
    return Measured(replace(one.proposal, cost=report), one.run)


def spread_proposals(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Return the least noisy, the noisiest, then proposals between by halves."""
    left = sorted(proposals, key=lambda proposal: proposal.noise_energy_sum)
    chosen = left[:1] + left[:0:-1][:1]
    spans = [(0, len(left) - 1)]
    for low, high in spans:
        if high - low > 1:
            middle = (low + high) // 2
            chosen.append(left[middle])
            spans += [(low, middle), (middle, high)]
    return chosen
