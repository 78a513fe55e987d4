"""Trials on the page Trade-offs: a few images correct what sums of noise predict."""

import math

from analysis.mixed_precision.forecast import learn_forecast
from analysis.mixed_precision.try_configs import (
    learn_with_trials,
    try_cheapest_choice,
    try_proposals,
)
from analysis.runs.verdict import SMALL_LOSS
from analysis.study import Study
from quant.progress import Steps, part_of_progress
from ui.state.tradeoffs import Against, Found
from ui.state.workspace import Workspace

RUNS_SHARE, POINTS_SHARE = 0.1, 0.9  # of the trials: where earlier runs and the points end


def try_points(workspace: Workspace, study: Study, found: Found) -> Steps[None]:
    """Try earlier runs, the present experiment, the fronts, and the choices within the bound."""
    present = workspace.experiment
    foresight = yield from part_of_progress(
        learn_with_trials(study, found.noises, workspace.store.all_runs()), 0.0, RUNS_SHARE
    )
    share = (POINTS_SHARE - RUNS_SHARE) / len(found.fronts)
    for place, (machine, front) in enumerate(found.fronts.items()):
        search = found.searches[machine]
        search.predictor = foresight.predictor
        start = RUNS_SHARE + place * share
        now = search.judge_config(present.display_name, present.config, present.recipe)
        beside = () if math.isnan(now.noise_energy_sum) else (now,)
        points = try_proposals(study, search, (*front.proposals, *front.references, *beside))
        yield from part_of_progress(points, start, start + share)
    yield from part_of_progress(try_choices(workspace, study, found), POINTS_SHARE, 1.0)


def try_choices(workspace: Workspace, study: Study, found: Found) -> Steps[None]:
    """Try the choice within the bound on each machine, as the runs measured so far predict it."""
    target, runs = workspace.tradeoffs.target, workspace.store.all_runs()
    most = target.most / 100 if target.against == Against.POINTS else SMALL_LOSS
    predictor = learn_forecast(found.noises, runs, study.scored_images.digest).predictor
    for place, (machine, front) in enumerate(found.fronts.items()):
        search, count = found.searches[machine], len(found.fronts)
        search.predictor = predictor
        steps = try_cheapest_choice(study, search, front, most)
        yield from part_of_progress(steps, place / count, (place + 1) / count)
