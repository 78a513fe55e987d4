"""The next steps of a verdict, one click each: the click begins the work and opens its page."""

from dataclasses import replace

import streamlit as st

from analysis.runs.run_store import Run
from analysis.runs.verdict import NextStep, Place
from analysis.sensitivity.sweep import Depth
from ui.answers.sensitivity import (
    active_sweep_job,
    deepest_answers,
    last_request,
    start_sweep,
)
from ui.job_kind import JobKind
from ui.navigation import EXPORT, MODEL, REPAIR, SENSITIVITY, TRADEOFFS
from ui.repair.recommend import take_recommended_recipe
from ui.repair.view import is_repairing, start_repair
from ui.runs.forms import is_present_experiment, load_run_experiment
from ui.sensitivity.form import BITS
from ui.state.sensitivity import SweepRequest
from ui.state.workspace import Workspace
from ui.tradeoffs.form import last_front_request
from ui.tradeoffs.jobs import find_known_fronts, start_front_search
from ui.widgets.markdown import plain

PAGES = {
    Place.MODEL: (MODEL, ":material/deployed_code:"),
    Place.SENSITIVITY: (SENSITIVITY, ":material/troubleshoot:"),
    Place.REPAIR: (REPAIR, ":material/healing:"),
    Place.TRADEOFFS: (TRADEOFFS, ":material/balance:"),
    Place.EXPORT: (EXPORT, ":material/ios_share:"),
}


def show_next_step(workspace: Workspace, run: Run, step: NextStep) -> None:
    """Show a button that makes the run's experiment the present one and begins the step."""
    page, symbol = PAGES[step.place]
    present = is_present_experiment(workspace, run)
    first = "" if present else " Takes this run's configuration and repairs there first."
    if st.button(
        step.label,
        key=f"runs.next.{step.place}",
        icon=symbol,
        help=plain(f"{step.why}{first}"),
        disabled=workspace.network is None or workspace.opened is not None,
    ):
        if not present:
            load_run_experiment(workspace, run)
        if is_present_experiment(workspace, run):
            _begin_step(workspace, step.place)
            st.switch_page(page)
        st.rerun()  # the note says why not


def _begin_step(workspace: Workspace, place: Place) -> None:
    """Begin the work of a step, unless the results are known or the work is under way."""
    match place:
        case Place.REPAIR:
            recipe = take_recommended_recipe(workspace)
            if recipe and not is_repairing(workspace):
                start_repair(workspace, recipe)
        case Place.SENSITIVITY:
            asked = _screening_of_present_bits(workspace)
            found = deepest_answers(workspace, asked)
            if active_sweep_job(workspace) is None and (
                found is None or found.depth is Depth.INSTANT
            ):
                start_sweep(workspace, asked)
        case Place.TRADEOFFS:
            wish = last_front_request(workspace)
            searching = workspace.runner.active_of(JobKind.FRONT)
            if searching is None and find_known_fronts(workspace, wish) is None:
                start_front_search(workspace, wish)


def _screening_of_present_bits(workspace: Workspace) -> SweepRequest:
    """Return the last request with the bits of the experiment; put both into the page's form."""
    last, network = last_request(workspace), workspace.network
    layers = () if network is None else network.graph.layers
    chosen = workspace.config.resolve_layers(layers)
    specs = [spec for name in chosen for spec in (chosen[name].weight, chosen[name].activation)]
    present = {spec.bits for spec in specs if spec.bits in BITS}
    depth = Depth.SCREENING if last.depth is Depth.INSTANT else last.depth
    bits = tuple(sorted({*last.bits, *present}, reverse=True))
    st.session_state["sensitivity.depth"] = depth
    st.session_state["sensitivity.bits"] = list(bits)
    return replace(last, depth=depth, bits=bits)
