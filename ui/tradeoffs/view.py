"""The answers of the page Trade-offs: the front, and the parts of the picked point."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from accelerator.machine import machine_title
from analysis.cost.quantity import Quantity
from analysis.cost.spared_bits import explain_spared_bits
from analysis.mixed_precision.forecast import ENOUGH, Foresight
from analysis.mixed_precision.pareto_front import (
    Measured,
    move_to_machine,
    spread_proposals,
)
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.recipe_search import RecipeSearch
from analysis.mixed_precision.try_configs import front_with_trials
from analysis.network import Network
from analysis.runs.experiment import name_of_recipe
from analysis.runs.verdict import SMALL_LOSS
from figures.style.units import format_share
from figures.tradeoffs.bits_chosen import bits_by_layer
from figures.tradeoffs.front import front_chart
from figures.tradeoffs.panel import Panel
from figures.tradeoffs.wording import QualityScale, amount_text, cost_name, quality_text
from quant.assignment import bits_by_part
from ui.job_kind import JobKind
from ui.state.edit_config import change_experiment
from ui.state.tradeoffs import Against, Found, PointRequest
from ui.state.workspace import Workspace
from ui.tradeoffs.extras import add_learned_passes
from ui.tradeoffs.jobs import answer_target, start_measuring
from ui.tradeoffs.tables import Choice, choice_of, front_table, named_points, pickable_points
from ui.widgets.download import csv_download_button
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain

NEAR_FLOAT = PointRequest(Against.POINTS, 100 * SMALL_LOSS)
"""The bound of the front's title, and of what is measured next, whatever bound a person sets."""
SHOWN = (Quantity.ENERGY, Quantity.LATENCY, Quantity.SIZE, Quantity.MEMORY)


def machine_panels(
    workspace: Workspace, found: Found, foresight: Foresight, target: PointRequest
) -> tuple[list[Panel], dict[str, str]]:
    """Return the panels of the machines, and the reasons for bounds that cannot be kept."""
    panels: list[Panel] = []
    problems: dict[str, str] = {}
    for name, search in found.searches.items():
        search.predictor = foresight.predictor
        present = _present_proposal(search, foresight, workspace)
        got = answer_target(workspace, found, name, target, present)
        if isinstance(got, str):
            problems[name] = got
        near = answer_target(workspace, found, name, NEAR_FLOAT, present)
        panels.append(
            Panel(
                front_with_trials(search, found.fronts[name]),
                tuple(move_to_machine(search, one) for one in foresight.measured),
                present,
                None if isinstance(got, str) else got.predicted_by(foresight.predictor),
                {quantity: quantity.value_in(search.reference.cost) for quantity in Quantity},
                tuple(move_to_machine(search, one) for one in foresight.rounded),
                None if isinstance(near, str) else near,
            )
        )
    return panels, problems


def _present_proposal(search: RecipeSearch, foresight: Foresight, workspace: Workspace) -> Proposal:
    """Return the present experiment; the noise is unknown where encodings are others."""
    config, recipe = workspace.config, workspace.experiment.recipe
    proposal = search.judge_config(f"Now: {workspace.experiment.display_name}", config, recipe)
    summed = foresight.summed_noise(config, recipe)
    return replace(proposal, summed=summed).predicted_by(foresight.predictor)


def show_front(
    workspace: Workspace, panels: Sequence[Panel], scale: QualityScale, picked: Proposal
) -> None:
    """Draw the front; a click picks a point."""
    machine = _machine_in_sight(workspace, panels)
    figure = front_chart(panels, scale, (machine, picked.name))

    def pick_point() -> None:
        points = st.session_state["tradeoffs.front"].selection.points
        data = points[0].get("customdata") if points else None
        if data:
            values = list(data.values()) if isinstance(data, dict) else list(data)
            workspace.tradeoffs.picked = str(values[0]), str(values[1])

    show_figure(figure, "tradeoffs.front", on_select=pick_point, toolbar=False)


def _machine_in_sight(workspace: Workspace, panels: Sequence[Panel]) -> str:
    """Return the machine in sight: that of the point picked, else the first."""
    names = [panel.front.machine for panel in panels]
    picked = workspace.tradeoffs.picked
    return picked[0] if picked is not None and picked[0] in names else names[0]


def picked_point(workspace: Workspace, panels: Sequence[Panel]) -> tuple[Panel, Proposal]:
    """Return the point picked and its panel: at first the answer, else the cheapest."""
    name = _machine_in_sight(workspace, panels)
    panel = next(panel for panel in panels if panel.front.machine == name)
    wanted = workspace.tradeoffs.picked
    for point in named_points(panel):
        if wanted is not None and point.name == wanted[1]:
            return panel, point
    return panel, panel.answer or panel.front.proposals[0]


def show_point_details(
    workspace: Workspace, found: Found, panel: Panel, picked: Proposal, scale: QualityScale
) -> None:
    """Show the picked point: predicted and measured quality, cost, and bits."""
    repairs = name_of_recipe(picked.recipe) or "no repair"
    machine = found.searches[panel.front.machine].machine.title
    st.markdown(f"**{plain(picked.name)}** on {plain(machine)}, {plain(repairs)}")
    run = measured_run(found.network, panel, picked)
    measured = "not measured yet" if run is None else f"measured **{scale.run_text(run.run)}**"
    predicted = quality_text(scale, picked.prediction)
    tried = picked.prediction.tried
    if tried:
        measured = f"from a trial on {tried} {plain(found.network.noun)}s; {measured}"
    st.markdown(f"{plain(scale.name)}: predicted **{predicted}**, {measured}.")
    if scale.by_loss:
        st.markdown(_below_float(scale, picked, run))
    st.caption(_cost_sentence(panel, picked))
    eight = found.searches[panel.front.machine].reference.cost
    for sentence in explain_spared_bits(eight, picked.cost):
        st.caption(plain(sentence))
    _point_buttons(workspace, found, panel, picked, done=run is not None, told=scale.by_loss)


def show_point_bits(found: Found, picked: Proposal) -> None:
    """Draw the bits of each layer of the point picked."""
    figure = bits_by_layer(bits_by_part(picked.config, found.network.graph))
    show_figure(figure, "tradeoffs.cells", toolbar=False)


def _cost_sentence(panel: Panel, picked: Proposal) -> str:
    """Return in words what a point costs, beside uniform 8 bits."""
    costs = [
        f"{cost_name(quantity, picked.cost.noun)} {amount_text(quantity, picked.cost)} "
        f"({format_share(quantity.value_in(picked.cost) / eight)})"
        for quantity in SHOWN
        if (eight := panel.eight[quantity])
    ]
    return f"{', '.join(costs)} of uniform W8A8. Intervals are of 95 %."


def measured_run(network: Network, panel: Panel, proposal: Proposal) -> Measured | None:
    """Return the run with equal bits; None without a run."""
    return _measured_by_choice(network, panel).get(choice_of(network, proposal))


def _measured_by_choice(network: Network, panel: Panel) -> dict[Choice, Measured]:
    """Return the runs by what they measured; of equal configurations the first run."""
    return {choice_of(network, one.proposal): one for one in reversed(panel.measured)}


def _below_float(scale: QualityScale, picked: Proposal, run: Measured | None) -> str:
    """Tell the distance of a point below the float network, and whether it is within a point."""
    value = (
        scale.predicted_value(picked.prediction) if run is None else scale.measured_value(run.run)
    )
    if value is None:
        return "How far below float is not known."
    lost = scale.of_float - value
    words = f"{'Measured' if run else 'Predicted'} {lost:.1f} points below float."
    if lost <= 100 * SMALL_LOSS:
        return f":material/check_circle: {words}"
    return f":material/warning: {words} One point is what a deployable network may lose."


def _point_buttons(
    workspace: Workspace, found: Found, panel: Panel, picked: Proposal, *, done: bool, told: bool
) -> None:
    extended = add_learned_passes(workspace.tradeoffs, picked)
    done, picked = done and extended is picked, extended
    row = st.container(horizontal=True)
    if row.button(
        "Use this configuration",
        key="tradeoffs.load",
        icon=":material/tune:",
        type="primary",
        disabled=(picked.config, picked.recipe) == (workspace.config, workspace.experiment.recipe),
        help="Makes it the present experiment, with its repairs; Undo takes it back",
    ):
        load_proposal(workspace, picked)
        st.rerun()  # the whole page, so that the frame shows what is loaded
    if row.button(
        "Measure",
        key="tradeoffs.measure",
        icon=":material/play_arrow:",
        disabled=done or workspace.runner.active_of(JobKind.MEASURE) is not None,
        help="A run on all data; it is kept and corrects the predictions",
    ):
        start_measuring(workspace, found, panel.front.machine, [picked])
        st.rerun()
    if not told and row.button(
        "Measure three points",
        key="tradeoffs.three",
        icon=":material/straighten:",
        disabled=workspace.runner.active_of(JobKind.MEASURE) is not None,
        help="The least noisy, the cheapest and one between. Runs teach how accuracy follows from "
        "noise, and the front then tells accuracy",
    ):
        several = spread_proposals(panel.front.proposals)[:ENOUGH]
        start_measuring(workspace, found, panel.front.machine, several)
        st.rerun()


def load_proposal(workspace: Workspace, proposal: Proposal) -> None:
    """Make a proposal the present experiment, with the repairs, under the proposal's name."""
    experiment = workspace.experiment.with_calibrated_ranges().with_config(proposal.config)
    name = proposal.name.removeprefix("Now: ")
    change_experiment(workspace, experiment.with_recipe(proposal.recipe).with_name(name))
    workspace.notes.append(f"{proposal.name} is the present experiment; Undo takes it back.")


def show_point_table(workspace: Workspace, found: Found, panel: Panel, scale: QualityScale) -> None:
    """Show the points of a machine; ticks pick points, also for measuring."""
    points = pickable_points(found.network, panel)
    measured = _measured_by_choice(found.network, panel)
    runs = [measured.get(choice_of(found.network, point)) for point in points]
    key = f"tradeoffs.table.{panel.front.machine}"

    def pick_ticked_point() -> None:
        rows = st.session_state[key].selection.rows
        if rows and rows[-1] < len(points):
            workspace.tradeoffs.picked = panel.front.machine, points[rows[-1]].name

    rows = front_table(found.network, panel, points, runs, scale)
    state = st.dataframe(
        rows,
        key=key,
        hide_index=True,
        width="stretch",
        on_select=pick_ticked_point,
        selection_mode="multi-row",
        height=min(38 + 35 * len(points), 330),
        alt=f"All points on {machine_title(panel.front.machine)}",
        placeholder="",
        column_config={
            "name": st.column_config.TextColumn("Configuration", pinned=True, width=124),
            f"predicted {scale.unit}": st.column_config.TextColumn(width=128),
            f"measured {scale.unit}": st.column_config.TextColumn(width=128),
            f"{panel.front.quantity} % of W8A8": st.column_config.NumberColumn(
                "% of W8A8", width=76, help=f"Share of the {panel.front.quantity} of uniform W8A8"
            ),
        },
    )
    ticked = [points[row] for row in state.selection.rows if row < len(points)]
    wanted = [
        point
        for point, run in zip(points, runs, strict=True)
        if run is None and point in (ticked or points)
    ]
    left = wanted
    row = st.container(horizontal=True, vertical_alignment="center")
    what = f"Measure {len(left)} {'ticked' if ticked else 'not measured yet'}"
    what = what if left else "All are measured"
    if row.button(
        what,
        key="tradeoffs.queue",
        icon=":material/playlist_play:",
        disabled=not left or workspace.runner.active_of(JobKind.MEASURE) is not None,
        help="One run after the other; Cancel keeps those that are done",
    ):
        start_measuring(workspace, found, panel.front.machine, spread_proposals(left))
        st.rerun()
    with row:
        csv_download_button(rows, f"front-{panel.front.machine}", "tradeoffs.save")
