"""Fronts for after a restart: kept in the run store, and read back with their searches."""

from accelerator.machine import Machine
from analysis.mixed_precision.pareto_record import (
    FoundRecord,
    noise_records,
    record_front,
    record_question,
    restore_front,
)
from analysis.mixed_precision.recipe_noise import restore_noise
from analysis.mixed_precision.recipe_search import RecipeSearch
from analysis.mixed_precision.try_configs import front_with_trials
from analysis.runs.json_values import plain_from_result, result_from_plain
from analysis.split import Split
from ui.state.tradeoffs import Found, FrontRequest
from ui.state.workspace import Workspace, find_machine


def requested_machines(workspace: Workspace, wish: FrontRequest) -> tuple[Machine, ...]:
    """Return the present machine, then the machines beside the present machine."""
    others = [name for name in wish.others if name != workspace.machine.name]
    return (workspace.machine, *(find_machine(workspace, name) for name in others))


def keep_fronts(workspace: Workspace, key: str, found: Found, parts: Split) -> None:
    """Write the fronts of a question into the run store under `key`."""
    whole = plain_from_result(record_fronts(found, parts.score.digest))
    workspace.store.keep_answer(_fronts_question(key), whole)


def record_fronts(found: Found, data_digest: str) -> FoundRecord:
    """Return the storable part of the fronts of a question."""
    digest = found.network.digest
    records = [
        record_front(
            front_with_trials(search := found.searches[name], front),
            digest,
            data_digest,
            search.reference.cost,
        )
        for name, front in found.fronts.items()
    ]
    return record_question(plain_from_result(found.wish), records, found.noises)


def read_stored_fronts(workspace: Workspace, key: str, wish: FrontRequest) -> Found | None:
    """Return the fronts in the store under a key; None for an unknown key or an old version."""
    raw = workspace.store.find_answer(_fronts_question(key))
    if raw is None:
        return None
    try:
        return restore_fronts(workspace, wish, result_from_plain(FoundRecord, raw))
    except (ValueError, TypeError, KeyError):
        return None  # written by another version, or of machines that have gone


def restore_fronts(workspace: Workspace, wish: FrontRequest, record: FoundRecord) -> Found | None:
    """Return fronts with their searches; None for fronts of different machines, model or data.

    Raises:
        QuantError: a configuration does not fit the network.
    """
    network, parts = workspace.network, workspace.parts
    machines = {machine.name: machine for machine in requested_machines(workspace, wish)}
    if network is None or parts is None or set(machines) != {r.machine for r in record.fronts}:
        return None
    places = {(one.model_digest, one.data_digest) for one in record.fronts}
    if places != {(network.digest, parts.score.digest)}:
        return None
    study = workspace.study
    if study is None:
        return None
    noises = tuple(restore_noise(one, study) for one in noise_records(record))
    searches, fronts = {}, {}
    for one in record.fronts:
        machine = machines[one.machine]
        rules = wish.choice_rules(machine, network, workspace.config)
        search = RecipeSearch(noises, machine, rules)
        searches[one.machine], fronts[one.machine] = search, restore_front(one, search)
    return Found(wish, network, noises, searches, fronts)


def _fronts_question(key: str) -> str:
    return f"fronts {key}"
