"""Work of the page Trade-offs: the front beside the page, answers at once, runs in a queue."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from accelerator.machine import Machine
from analysis.cost.quantity import Quantity
from analysis.diagnosis.flow.goal import points_text
from analysis.mixed_precision.forecast import learn_forecast
from analysis.mixed_precision.pareto_front import (
    Front,
    find_pareto_front,
    least_lossy_point,
    measure_proposals,
)
from analysis.mixed_precision.pareto_record import FoundRecord
from analysis.mixed_precision.proposal import Budget, BudgetError, Proposal
from analysis.mixed_precision.recipe_noise import RecipeNoise
from analysis.mixed_precision.recipe_search import RecipeSearch
from analysis.mixed_precision.try_configs import (
    cheapest_choice_after_trials,
    front_with_trials,
    next_to_measure,
    try_proposals,
    with_trial,
)
from analysis.mixed_precision.useful_bits import explain_machine_gains
from analysis.runs.experiment import name_of_recipe
from analysis.runs.json_values import plain_from_result, result_from_plain
from analysis.runs.run_store import Run
from analysis.runs.verdict import SMALL_LOSS
from analysis.sensitivity.sweep import Sensitivity, View
from analysis.study import Study
from figures.style.units import format_share
from figures.tradeoffs.wording import cost_name, value_text
from quant.assignment import bits_by_part
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.progress import Progress, Steps, part_of_progress, stage_of_progress
from ui.answers.forecast import eight_bit_config, hold_noises, present_foresight, sensitivity_key_at
from ui.answers.recipe_noises import noises_of
from ui.answers.stored_fronts import (
    keep_fronts,
    read_stored_fronts,
    requested_machines,
    restore_fronts,
)
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.tradeoffs import (
    POINTS,
    UNITS,
    Against,
    Found,
    FrontRequest,
    PointRequest,
)
from ui.state.workspace import Workspace
from ui.tradeoffs.trials import try_choices, try_points

CALIBRATION_SHARE, NOISE_SHARE, FRONT_SHARE = 0.1, 0.45, 0.55
TRY_SHARE, LAST_SHARE = 0.75, 0.98
TRIAL_SHARE = 0.1  # of a measurement
MOST_FOUND = 6


def front_key(workspace: Workspace, wish: FrontRequest) -> str:
    """Return the key of a front: a digest of model, data, encodings, rules and machines."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return ""
    study = workspace.study
    if study is None:
        return ""
    place = sensitivity_key_at(network, parts, eight_bit_config(workspace, network))
    machines = requested_machines(workspace, wish)
    present = workspace.config
    rules = [wish.choice_rules(machine, network, present) for machine in machines]
    recipes = wish.repairs(study, workspace.experiment.recipe)
    text = repr((place, wish.quantity, rules, machines, recipes))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def find_known_fronts(workspace: Workspace, wish: FrontRequest) -> Found | None:
    """Return the fronts of a question from memory or from the run store; None without fronts."""
    key, work = front_key(workspace, wish), workspace.tradeoffs
    early = work.early.pop(key, None)
    if early is not None:  # precedes a stored front: the trials of the running job join it
        hold_fronts(workspace, key, early)
    if key and key not in work.found and key not in work.missing:
        found = read_stored_fronts(workspace, key, wish)
        if found is None:
            work.missing.add(key)
        else:
            hold_fronts(workspace, key, found)
    return work.found.get(key)


def hold_fronts(workspace: Workspace, key: str, found: Found) -> None:
    """Hold fronts in memory, and drop the oldest fronts."""
    work = workspace.tradeoffs
    while len(work.found) >= MOST_FOUND:
        work.found.pop(next(iter(work.found)))
    work.found[key] = found
    work.answers.clear()
    hold_noises(workspace, found.noises)


def take_session_fronts(
    workspace: Workspace, sensitivity: Sensitivity | None, records: Sequence[FoundRecord]
) -> None:
    """Take the fronts of a session for the present model and data; leave other fronts out."""
    network, parts, work = workspace.network, workspace.parts, workspace.tradeoffs
    if network is None or parts is None:
        return
    if sensitivity is not None and sensitivity.sweep.view is View.ONLY:
        hold_noises(workspace, [RecipeNoise((), network, sensitivity)])
    for record in records:
        try:
            wish = result_from_plain(FrontRequest, record.question)
            found = restore_fronts(workspace, wish, record)
        except (ValueError, TypeError, KeyError):
            continue  # of another version, or of machines that are not here
        if found is not None:
            key = front_key(workspace, wish)
            hold_fronts(workspace, key, found)
            keep_fronts(workspace, key, found, parts)
            work.wish = wish


def start_front_search(workspace: Workspace, wish: FrontRequest) -> None:
    """Queue the search for fronts; unknown layers are screened first."""
    study, parts = workspace.job_study, workspace.parts
    if study is None or parts is None:
        return
    network = study.network
    remember_front_request(workspace, wish)
    then, key = workspace.copy_for_job(), front_key(workspace, wish)
    machines = requested_machines(workspace, wish)
    names = ", ".join(machine.title for machine in machines)

    def search_steps() -> Steps[Found]:
        found = yield from _search_fronts(then, study, wish, machines, then.config)
        then.tradeoffs.early[key] = found  # the page shows the front while points are tried
        keep_fronts(then, key, found, parts)  # whether anybody looks or not
        yield from stage_of_progress(try_points(then, study, found), FRONT_SHARE, TRY_SHARE)
        keep_fronts(then, key, found, parts)
        yield from stage_of_progress(_measure_some(then, study, found), TRY_SHARE, LAST_SHARE)
        yield from stage_of_progress(try_choices(then, study, found), LAST_SHARE, 1.0)
        keep_fronts(then, key, found, parts)  # with the trials of what was measured
        return found

    def take_fronts(found: Found) -> None:
        then.tradeoffs.early.pop(key, None)
        hold_fronts(then, key, found)

    workspace.runner.submit(
        Job(JobKind.FRONT, f"{JobKind.FRONT} {network.name} on {names}", search_steps, take_fronts)
    )


def _search_fronts(
    workspace: Workspace,
    study: Study,
    wish: FrontRequest,
    machines: Sequence[Machine],
    present: QuantConfig,
) -> Steps[Found]:
    network = study.network
    yield from stage_of_progress(study.collect_statistics(), 0.0, CALIBRATION_SHARE)
    steps_of_noise = noises_of(workspace, study, wish, present)
    noises = yield from stage_of_progress(steps_of_noise, CALIBRATION_SHARE, NOISE_SHARE)
    hold_noises(workspace, noises)
    searches, fronts = {}, {}
    share = (FRONT_SHARE - NOISE_SHARE) / len(machines)
    for place, machine in enumerate(machines):
        start = NOISE_SHARE + place * share
        yield Progress(start, f"Costs on {machine.title}", stage=(start, start + share))
        search = RecipeSearch(noises, machine, wish.choice_rules(machine, network, present))
        front = find_pareto_front(search, wish.quantity, POINTS)
        searches[machine.name] = search
        plain = yield from stage_of_progress(front, start, start + share)
        fronts[machine.name] = _name_points(plain, search)
    return Found(wish, network, noises, searches, fronts)


def _measure_some(workspace: Workspace, study: Study, found: Found) -> Steps[None]:
    """Measure the most informative points of the front, as many as the question asks for.

    A point is tried before the measurement, which then corrects the other trials.
    """
    machine, front = next(iter(found.fronts.items()))
    search, keep = found.searches[machine], workspace.store.save_run
    foresight = learn_forecast(found.noises, workspace.store.all_runs(), study.scored_images.digest)
    search.predictor = foresight.predictor
    measured = [one.proposal for one in foresight.measured]
    missing = max(0, found.wish.measured - len(measured))
    for number in range(missing):
        proposal = next_to_measure(search, front, measured, SMALL_LOSS)
        if proposal is None:
            return
        start, share = number / missing, 1 / missing
        trial = try_proposals(study, search, [proposal])
        yield from part_of_progress(trial, start, start + TRIAL_SHARE * share)
        tried = with_trial(search, proposal)
        named = replace(tried, name=_name_of(proposal, front.quantity, search))
        steps = measure_proposals(search, study, [named], workspace.data.seed, keep)
        (one,) = yield from part_of_progress(steps, start + TRIAL_SHARE * share, start + share)
        measured.append(one.proposal)


def _name_points(front: Front, search: RecipeSearch) -> Front:
    """Return the front with names that tell the cost of a point beside uniform 8 bits."""
    named = (replace(one, name=_name_of(one, front.quantity, search)) for one in front.proposals)
    return replace(front, proposals=tuple(named))


def _name_of(proposal: Proposal, quantity: Quantity, search: RecipeSearch) -> str:
    """Return a name that tells the cost of a proposal beside uniform 8 bits."""
    share = quantity.value_in(proposal.cost) / quantity.value_in(search.reference.cost)
    bits = set(bits_by_part(proposal.config, search.noises[0].network.graph).values())
    if len(bits) == 1:
        (width,) = bits
        return f"W{width}A{width} everywhere, {100 * share:.1f} % {quantity}"
    return f"Mixed, {100 * share:.1f} % {quantity}"


def answer_target(
    workspace: Workspace, found: Found, machine: str, target: PointRequest, present: Proposal
) -> Proposal | str:
    """Return the choice that keeps the bound, or the reason for a missing choice."""
    search, kept = found.searches[machine], workspace.tradeoffs.answers
    foresight = present_foresight(workspace)
    learned = len(foresight.measured) if foresight else 0
    tried = sum(len(noise.trials) for noise in search.noises)
    key = (id(search), target, present.config.to_json(), learned, tried)
    if key not in kept:
        try:
            kept[key] = _solve_target(search, found.fronts[machine], target, present)
        except BudgetError:
            kept[key] = _unreachable_sentence(search, found.fronts[machine], target)
        except QuantError as error:
            kept[key] = f"{error} {explain_machine_gains(search.machine)}"
    return kept[key]


def _solve_target(
    search: RecipeSearch, front: Front, target: PointRequest, present: Proposal
) -> Proposal:
    quantity = front.quantity
    if target.against == Against.POINTS:
        name = f"Least {quantity} within {points_text(target.most)} of float"
        return cheapest_choice_after_trials(search, front, target.most / 100, name)
    unit, factor = UNITS[quantity]
    words, worth = {
        Against.EIGHT: (Against.EIGHT, quantity.value_in(search.reference.cost) / 100),
        Against.PRESENT: (Against.PRESENT, quantity.value_in(present.cost) / 100),
        Against.UNIT: (unit, factor),
    }[target.against]
    name = f"Best {quantity} at {target.most:g} {words}"
    return search.least_noise_choice([Budget(quantity, target.most * worth)], name)


def _unreachable_sentence(search: RecipeSearch, front: Front, target: PointRequest) -> str:
    """Say how close the best choice comes to an unreachable bound."""
    wanted, quantity = f"{target.most:g} {target.against}", front.quantity
    if target.against == Against.POINTS:
        best = least_lossy_point(front_with_trials(search, front))
        lost = 100 * (best.prediction.loss or 0.0)
        repairs = name_of_recipe(best.recipe) or "no repair"
        most, lost_text = points_text(target.most), points_text(round(lost, 1))
        return (
            f"Nothing on {search.machine.title} keeps at most {most} below float: "
            f"the best choice ({repairs}) is predicted to lose {lost_text}. "
            "Offer wider bits, put AdaRound behind the repairs, or train."
        )
    if target.against == Against.UNIT:
        wanted = f"{target.most:g} {UNITS[quantity][0]}"
    least, eight = (
        search.least_possible_quantity(quantity),
        quantity.value_in(search.reference.cost),
    )
    cost = cost_name(quantity, search.reference.cost.noun).lower()
    return (
        f"No choice of bits brings {cost} on {search.machine.title} to "
        f"{wanted}; {value_text(quantity, least)} ({format_share(least / eight)} of W8A8) is the "
        "least. Allow more, offer narrower bits, or pin fewer layers."
    )


def start_measuring(
    workspace: Workspace, found: Found, machine: str, proposals: Sequence[Proposal]
) -> None:
    """Queue runs of proposals; a run goes to the run store as soon as the run ends."""
    study = workspace.job_study
    if study is None or study.network is not found.network or not proposals:
        return
    search, seed = found.searches[machine], workspace.data.seed
    keep: Callable[[Run], None] = workspace.store.save_run

    def measure_steps() -> Steps[None]:
        yield from part_of_progress(study.collect_statistics(), 0.0, 0.1)
        steps = measure_proposals(search, study, proposals, seed, keep)
        yield from part_of_progress(steps, 0.1, LAST_SHARE)
        yield from part_of_progress(try_choices(workspace, study, found), LAST_SHARE, 1.0)

    what = proposals[0].name if len(proposals) == 1 else f"{len(proposals)} configurations"
    workspace.runner.submit(
        Job(JobKind.MEASURE, f"{JobKind.MEASURE} {what}", measure_steps, lambda _: None)
    )


def remember_front_request(workspace: Workspace, wish: FrontRequest) -> None:
    """Write down the question for a reload or a restart."""
    workspace.store.keep_answer(front_request_key(workspace), plain_from_result(wish))


def front_request_key(workspace: Workspace) -> str:
    """Return the key of the last question about a model."""
    network = workspace.network
    return f"trade-offs asked {network.digest if network else ''}"
