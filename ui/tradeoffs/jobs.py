"""Work of the page Trade-offs: the front beside the page, answers at once, runs in a queue."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from accelerator.machine import Machine
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.pareto_front import Front, find_pareto_front, measure_proposals
from analysis.mixed_precision.pareto_record import FoundRecord
from analysis.mixed_precision.proposal import Budget, BudgetError, Proposal
from analysis.mixed_precision.search import BitSearch
from analysis.mixed_precision.useful_bits import explain_machine_gains
from analysis.runs.json_values import plain_from_result, result_from_plain
from analysis.runs.run_store import Run
from analysis.sensitivity.sweep import Sensitivity, View
from analysis.study import Study
from figures.style.units import format_share
from figures.tradeoffs.wording import COST_NAMES, value_text
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.progress import Progress, Steps, part_of_progress
from ui.answers.forecast import (
    present_foresight,
    sensitivity_key,
    sensitivity_key_at,
)
from ui.answers.screened_noise import noise_by_granularity
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

CALIBRATION_SHARE, NOISE_SHARE = 0.15, 0.6
MOST_FOUND = 6


def front_key(workspace: Workspace, wish: FrontRequest) -> str:
    """Return what a front depends on: model, data, grids, rules, machines."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return ""
    place = sensitivity_key(workspace, network, parts)
    machines = requested_machines(workspace, wish)
    present = workspace.config
    rules = [wish.choice_rules(machine, network, present) for machine in machines]
    text = repr((place, wish.quantity, rules, machines))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def find_known_fronts(workspace: Workspace, wish: FrontRequest) -> Found | None:
    """Return the fronts of a wish, if they were found before, in an earlier process too."""
    key, work = front_key(workspace, wish), workspace.tradeoffs
    if key and key not in work.found and key not in work.missing:
        found = read_stored_fronts(workspace, key, wish)
        if found is None:
            work.missing.add(key)
        else:
            hold_fronts(workspace, key, found)
    return work.found.get(key)


def hold_fronts(workspace: Workspace, key: str, found: Found) -> None:
    """Hold fronts, and the sensitivities behind them; the oldest go."""
    network, parts, work = workspace.network, workspace.parts, workspace.tradeoffs
    while len(work.found) >= MOST_FOUND:
        work.found.pop(next(iter(work.found)))
    work.found[key] = found
    work.answers.clear()
    if network is not None and parts is not None:
        place = sensitivity_key_at(network, parts, found.sensitivity.sweep.config)
        work.sensitivities.setdefault(place, found.sensitivity)
        known = {other.sweep.config: other for other in work.others.get(place, ())}
        known |= {other.sweep.config: other for other in found.others}
        if known:
            work.others[place] = tuple(known.values())


def take_session_fronts(
    workspace: Workspace, sensitivity: Sensitivity | None, records: Sequence[FoundRecord]
) -> None:
    """Take in what a session knows of the present model and data; what fits neither is left."""
    network, parts, work = workspace.network, workspace.parts, workspace.tradeoffs
    if network is None or parts is None:
        return
    if sensitivity is not None and sensitivity.sweep.view is View.ONLY:
        work.sensitivities[sensitivity_key_at(network, parts, sensitivity.sweep.config)] = (
            sensitivity
        )
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
    """Queue the search for the fronts of a wish, screening first where nothing is known."""
    study, parts = workspace.job_study, workspace.parts
    if study is None or parts is None:
        return
    network = study.network
    remember_front_request(workspace, wish)
    then, key = workspace.copy_for_job(), front_key(workspace, wish)
    machines = requested_machines(workspace, wish)
    names = ", ".join(machine.name for machine in machines)

    def search_steps() -> Steps[Found]:
        found = yield from _search_fronts(then, study, wish, machines, then.config)
        keep_fronts(then, key, found, parts)  # whether anybody looks or not
        return found

    def take_fronts(found: Found) -> None:
        place = sensitivity_key(then, network, parts)
        then.tradeoffs.sensitivities[place] = found.sensitivity
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
    yield from part_of_progress(study.collect_statistics(), 0.0, CALIBRATION_SHARE)
    steps_of_noise = noise_by_granularity(workspace, study, wish, present)
    noise, others = yield from part_of_progress(steps_of_noise, CALIBRATION_SHARE, NOISE_SHARE)
    searches, fronts = {}, {}
    for place, machine in enumerate(machines):
        share = (1 - NOISE_SHARE) / len(machines)
        start = NOISE_SHARE + share * place
        yield Progress(start, f"Costs on {machine.name}")
        rules = wish.choice_rules(machine, network, present)
        entropies = study.weight_entropies
        search = BitSearch(network, noise, machine, rules, entropies=entropies, others=others)
        front = find_pareto_front(search, wish.quantity, POINTS)
        searches[machine.name] = search
        plain = yield from part_of_progress(front, start, start + share)
        fronts[machine.name] = _name_points(plain, search)
    return Found(wish, network, noise, others, searches, fronts)


def _name_points(front: Front, search: BitSearch) -> Front:
    """Return the front with names that say what a point costs beside uniform 8 bits."""
    quantity, eight = front.quantity, front.quantity.value_in(search.reference.cost)
    named = (
        replace(one, name=f"Mixed, {100 * quantity.value_in(one.cost) / eight:.1f} % {quantity}")
        for one in front.proposals
    )
    return replace(front, proposals=tuple(named))


def answer_target(
    workspace: Workspace, found: Found, machine: str, target: PointRequest, present: Proposal
) -> Proposal | str:
    """Return the one choice that keeps a target, or why there is none."""
    search, kept = found.searches[machine], workspace.tradeoffs.answers
    foresight = present_foresight(workspace)
    learned = len(foresight.measured) if foresight else 0
    key = (id(search), target, present.config.to_json(), learned)
    if key not in kept:
        try:
            kept[key] = _solve_target(search, found, target, present)
        except BudgetError:
            kept[key] = _unreachable_sentence(search, found.wish.quantity, target)
        except QuantError as error:
            kept[key] = f"{error} {explain_machine_gains(search.machine)}"
    return kept[key]


def _solve_target(
    search: BitSearch, found: Found, target: PointRequest, present: Proposal
) -> Proposal:
    quantity = found.wish.quantity
    if target.against == Against.POINTS:
        name = f"Least {quantity} within {target.most:g} points"
        return search.cheapest_choice(quantity, most_loss=target.most / 100, name=name)
    unit, factor = UNITS[quantity]
    words, worth = {
        Against.EIGHT: (Against.EIGHT, quantity.value_in(search.reference.cost) / 100),
        Against.PRESENT: (Against.PRESENT, quantity.value_in(present.cost) / 100),
        Against.UNIT: (unit, factor),
    }[target.against]
    name = f"Best {quantity} at {target.most:g} {words}"
    return search.least_noise_choice([Budget(quantity, target.most * worth)], name)


def _unreachable_sentence(search: BitSearch, quantity: Quantity, target: PointRequest) -> str:
    """Say what is within reach where a target is not."""
    wanted = f"{target.most:g} {target.against}"
    if target.against == Against.POINTS:
        return f"No choice of bits is predicted to keep {wanted}. Allow more, or offer wider bits."
    if target.against == Against.UNIT:
        wanted = f"{target.most:g} {UNITS[quantity][0]}"
    least, eight = (
        search.least_possible_quantity(quantity),
        quantity.value_in(search.reference.cost),
    )
    return (
        f"No choice of bits brings {COST_NAMES[quantity].lower()} on {search.machine.name} to "
        f"{wanted}; {value_text(quantity, least)} ({format_share(least / eight)} of W8A8) is the "
        "least. Allow more, offer narrower bits, or pin fewer layers."
    )


def spread_proposals(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Return the least noisy, the most, then those between them by halves: what teaches most."""
    left = sorted(proposals, key=lambda proposal: proposal.noise_energy_sum)
    chosen = left[:1] + left[:0:-1][:1]
    spans = [(0, len(left) - 1)]
    for low, high in spans:
        if high - low > 1:
            middle = (low + high) // 2
            chosen.append(left[middle])
            spans += [(low, middle), (middle, high)]
    return chosen


def start_measuring(
    workspace: Workspace, found: Found, machine: str, proposals: Sequence[Proposal]
) -> None:
    """Queue runs of proposals; each goes to the run store as soon as it is done."""
    study = workspace.job_study
    if study is None or study.network is not found.network or not proposals:
        return
    search, seed = found.searches[machine], workspace.data.seed
    keep: Callable[[Run], None] = workspace.store.save_run

    def measure_steps() -> Steps[None]:
        yield from part_of_progress(study.collect_statistics(), 0.0, 0.1)
        steps = measure_proposals(search, study, proposals, seed, keep)
        yield from part_of_progress(steps, 0.1, 1.0)

    what = proposals[0].name if len(proposals) == 1 else f"{len(proposals)} configurations"
    workspace.runner.submit(
        Job(JobKind.MEASURE, f"{JobKind.MEASURE} {what}", measure_steps, lambda _: None)
    )


def remember_front_request(workspace: Workspace, wish: FrontRequest) -> None:
    """Write down what was asked, so that a reload or a restart finds it."""
    workspace.store.keep_answer(front_request_key(workspace), plain_from_result(wish))


def front_request_key(workspace: Workspace) -> str:
    """Return what the last question about a model is kept under."""
    network = workspace.network
    return f"trade-offs asked {network.digest if network else ''}"
