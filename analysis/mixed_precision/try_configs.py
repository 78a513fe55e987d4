"""Tries configurations of a search on a few images, which corrects what sums predict of them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from analysis.evaluation.per_image import (
    compare_image_outputs,
    describe_float_outputs,
    summarize_rows,
)
from analysis.mixed_precision.forecast import Foresight, learn_forecast
from analysis.mixed_precision.pareto_front import Front, spread_proposals
from analysis.mixed_precision.proposal import BudgetError, Proposal
from analysis.mixed_precision.recipe_noise import RecipeNoise, repaired_study
from analysis.mixed_precision.recipe_search import RecipeSearch
from analysis.mixed_precision.search import ROUNDING
from analysis.network import Network, forward_all_outputs
from analysis.prediction.trial import (
    TRIAL_IMAGES,
    ConfigTrial,
    lost_lead,
    representative_positions,
)
from analysis.runs.apply_recipe import apply_whole_recipe, plain_quantized_stage
from analysis.runs.run_store import Run
from analysis.study import Study, TrialImages
from quant.assignment import cells_of_config
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.inputs import Inputs, Outputs, first_output_of
from quant.passes.recipe import is_float_pass
from quant.progress import Progress, Steps, part_of_progress
from quant.simulation.quant_graph import QuantGraph

POOL_IMAGES = 1024  # of which trials take the most representative
MOST_TRIED_RUNS = 8  # runs of an earlier start that are tried anew
MOST_TRIES = 6  # of the cheapest choice within a loss
REPAIR_SHARE = 0.1  # of the trials under a recipe: repairs and ranges
LEARNED_SHARE = 0.8  # of a trial: repairs of the quantized network


def learn_with_trials(
    study: Study, noises: Sequence[RecipeNoise], runs: Sequence[Run]
) -> Steps[Foresight]:
    """Learn from sweeps and runs; the newest runs are tried, so that they correct other trials."""
    digest = study.scored_images.digest
    known = learn_forecast(noises, runs, digest)
    newest = [one.proposal for one in known.measured[-MOST_TRIED_RUNS:]]
    for noise in noises:
        yield from try_configs(study, noise, [p.config for p in newest if p.recipe == noise.recipe])
    return learn_forecast(noises, runs, digest) if newest else known


def try_front(study: Study, search: RecipeSearch, front: Front) -> Steps[Front]:
    """Try the points of a front and the uniform configurations; return them predicted anew."""
    yield from try_proposals(study, search, (*front.proposals, *front.references))
    return front_with_trials(search, front)


def front_with_trials(search: RecipeSearch, front: Front) -> Front:
    """Return a front predicted anew: from trials where there are trials, else from sums."""
    return replace(
        front,
        proposals=tuple(with_trial(search, one) for one in front.proposals),
        references=tuple(with_trial(search, one) for one in front.references),
    )


def try_proposals(study: Study, search: RecipeSearch, proposals: Iterable[Proposal]) -> Steps[None]:
    """Try proposals on a few scored images; the noises of the search keep the trials."""
    chosen = tuple(proposals)
    done, count = 0, max(1, len(chosen))
    for noise in search.noises:
        configs = [one.config for one in chosen if one.recipe == noise.recipe]
        steps = try_configs(study, noise, configs)
        yield from part_of_progress(steps, done / count, (done + len(configs)) / count)
        done += len(configs)


def with_trial(search: RecipeSearch, proposal: Proposal) -> Proposal:
    """Return a proposal predicted anew by the search, from the proposal's trial if there is one."""
    own = search.search_with(proposal.recipe)
    if own is None:
        return proposal.predicted_by(search.predictor)
    try:
        cells = cells_of_config(proposal.config, own.network.graph)
        summed = own.table.sum_cells(cells)
    except QuantError:
        return proposal.predicted_by(search.predictor)
    return replace(proposal, summed=summed).predicted_by(search.predictor)


def try_configs(study: Study, noise: RecipeNoise, configs: Sequence[QuantConfig]) -> Steps[None]:
    """Try configurations under the recipe of `noise`, which keeps the trials by their cells.

    `study` holds the network before repairs. A pass that learns from images sees at most as many
    calibration images as the trial has images.
    """
    graph = noise.network.graph
    missing = {cells_of_config(config, graph): config for config in configs}
    missing = {cells: one for cells, one in missing.items() if cells not in noise.trials}
    if not missing:
        return
    before = tuple(filter(is_float_pass, noise.recipe))
    after = tuple(step for step in noise.recipe if not is_float_pass(step))
    images = yield from part_of_progress(choose_trial_images(study), 0.0, REPAIR_SHARE / 2)
    chosen = study.scored_images.subset(images.positions)
    steps = repaired_study(study, before)
    repaired = yield from part_of_progress(steps, REPAIR_SHARE / 2, REPAIR_SHARE)
    learning = None if study.calibration is None else study.calibration.first(TRIAL_IMAGES)
    batches = [
        (
            batch.inputs,
            forward_all_outputs(study.network.graph, study.network.graph.batch, batch.inputs),
        )
        for batch in chosen.batches(study.network.forward_batch_size)
    ]
    left = (1 - REPAIR_SHARE) / len(missing)
    for number, (cells, config) in enumerate(missing.items()):
        share = REPAIR_SHARE + left * number
        what = f"{len(chosen)} {study.network.noun}s"
        yield Progress(share, f"Trying {number + 1} of {len(missing)} on {what}")
        stage = plain_quantized_stage(repaired.network, config, repaired.known_statistics)
        repairs = apply_whole_recipe(stage, after, config, learning)
        whole = part_of_progress(repairs, share, share + LEARNED_SHARE * left)
        stage = yield from whole
        tried = try_network(study.network, stage.quantized, batches)
        noise.trials[cells] = replace(tried, float_top1=images.float_top1)


def choose_trial_images(study: Study) -> Steps[TrialImages]:
    """Return the scored images of trials: of a classifier's first 1024, those that stand for all.

    A forward of the float network chooses them once; the study keeps the choice.
    """
    network, scored = study.network, study.scored_images
    if not network.is_classifier:
        return TrialImages(tuple(range(min(TRIAL_IMAGES, len(scored)))))
    known, pool = study.trial_images, scored.first(POOL_IMAGES)
    if scored.digest not in known:
        outputs: list[Tensor] = []
        right = 0
        for batch in pool.batches(network.forward_batch_size):
            done = sum(map(len, outputs))
            what = f"{network.noun}s to try on"
            yield Progress(done / len(pool), f"Choosing {what}: {done} of {len(pool)}")
            found = forward_all_outputs(network.graph, network.graph.batch, batch.inputs)
            outputs.append(first_output_of(found))
            if batch.labels is not None:
                right += int((outputs[-1].argmax(1) == batch.labels).sum())
        positions = representative_positions(torch.cat(outputs), TRIAL_IMAGES)
        float_top1 = right / len(pool) if scored.labelled else None
        known[scored.digest] = TrialImages(positions, float_top1)
    return known[scored.digest]


def try_network(
    network: Network, quantized: QuantGraph, batches: Sequence[tuple[Inputs, Outputs]]
) -> ConfigTrial:
    """Return the trial of a quantized network on batches of (inputs, outputs of the float network).

    The outputs have the shape (N, ...).
    """
    rows, own, firsts = [], [], []
    for inputs, references in batches:
        outputs = forward_all_outputs(quantized, network.graph.batch, inputs)
        rows.append(compare_image_outputs(references, outputs, None))
        own.append(describe_float_outputs(references, None))
        firsts.append((first_output_of(references), first_output_of(outputs)))
    found = summarize_rows(np.concatenate(own), np.concatenate(rows))
    if not network.is_classifier:
        return ConfigTrial(found.images, found.sqnr_db)
    reference, output = (torch.cat(parts) for parts in zip(*firsts, strict=True))
    return ConfigTrial(found.images, found.sqnr_db, *lost_lead(reference, output, network.chance))


def try_cheapest_choice(
    study: Study, search: RecipeSearch, front: Front, most_loss: float
) -> Steps[None]:
    """Try the cheapest choice within a loss, until a tried choice stands or no choice is left.

    The trials stay with the search, so that `cheapest_choice_after_trials` finds the choice.
    """
    for number in range(MOST_TRIES):
        try:
            answer = cheapest_choice_after_trials(search, front, most_loss)
        except QuantError:
            return
        if answer.prediction.tried:
            return
        ends = number / MOST_TRIES, (number + 1) / MOST_TRIES
        yield from part_of_progress(try_proposals(study, search, [answer]), *ends)


def cheapest_choice_after_trials(
    search: RecipeSearch, front: Front, most_loss: float, name: str = "Cheapest"
) -> Proposal:
    """Return the choice with the least of the front's quantity within a loss, a share of 1.

    Raises:
        BudgetError: trials contradict every choice, or no choice keeps the bound.
        QuantError: no measurement relates noise to loss.
    """
    answer = search.cheapest_choice(front.quantity, most_loss=most_loss)
    tried = front_with_trials(search, front)
    return replace(cheapest_tried_choice(answer, tried, most_loss), name=name)


def cheapest_tried_choice(answer: Proposal, front: Front, most_loss: float) -> Proposal:
    """Return the cheapest choice within a loss: the answer of a search, or a tried point.

    The answer is predicted from a sum. It does not stand where a tried point that is no noisier
    by sum is predicted to lose more than `most_loss`.

    Raises:
        BudgetError: the answer does not stand, and no tried point keeps the bound.
    """
    tried = [one for one in front.proposals if one.prediction.tried]
    good = [one for one in tried if _loses_at_most(one, most_loss)]
    doubted = not _loses_at_most(answer, most_loss) or (
        not answer.prediction.tried
        and any(
            one.noise_energy_sum <= answer.noise_energy_sum and one not in good for one in tried
        )
    )
    if not doubted:
        good.append(answer)
    if not good:
        raise BudgetError("No choice of bits and repairs keeps the bound on the loss.")
    return min(good, key=lambda one: (front.quantity.value_in(one.cost), one.noise_energy_sum))


def next_to_measure(
    search: RecipeSearch, front: Front, measured: Sequence[Proposal], loss: float
) -> Proposal | None:
    """Return the next proposal to measure for a bound on the loss; None at the end.

    The first, third, ... is the cheapest choice within `loss` by the present prediction; the others
    are points of the front, from the middle outwards. A measured proposal is not measured again.
    """
    known = {(proposal.config, proposal.recipe) for proposal in measured}
    left = [p for p in spread_proposals(front.proposals) if (p.config, p.recipe) not in known]
    left = left[2:] + left[:2]  # both ends come last: most networks fail at the cheap end
    if len(measured) % 2 == 0:
        try:
            wanted = cheapest_choice_after_trials(search, front, loss)
        except QuantError:
            return left[0] if left else None
        if (wanted.config, wanted.recipe) not in known:
            return wanted
    return left[0] if left else None


def _loses_at_most(proposal: Proposal, most: float) -> bool:
    loss = proposal.prediction.loss
    return loss is not None and loss <= most + ROUNDING
