"""Running a recipe, and the effect of each pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import streamlit as st

from analysis.evaluation.told_score import ScoreMeasure
from analysis.network import Network
from analysis.runs.experiment import Experiment
from analysis.runs.repair import (
    RepairStep,
    repair_and_measure,
    repair_verdict,
    run_from_steps,
    told_of_steps,
)
from analysis.study import Study
from figures.repair.before_after import (
    bias_shift,
    channel_spread,
    ranges_before_after,
    rounding_gain,
    sqnr_before_after,
)
from quant.passes.absorb_bias import Absorbed
from quant.passes.adaround import AdaRoundResult
from quant.passes.correct_bias import Corrected
from quant.passes.equalize import Equalized
from quant.passes.recipe import Recipe
from quant.passes.reconstruct.reconstruct import Reconstructed
from quant.passes.smooth import Smoothed
from quant.progress import Steps, part_of_progress
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.repair.pairs import show_equalized_pairs
from ui.state.choices_history import PickedLayer
from ui.state.results import Repaired
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain
from ui.widgets.tables import to_percent

CALIBRATION_SHARE = 0.05


def is_repairing(workspace: Workspace) -> bool:
    """Whether a recipe waits or runs already."""
    return workspace.runner.active_of(JobKind.REPAIR) is not None


def start_repair(workspace: Workspace, recipe: Recipe) -> None:
    """Queue the recipe on the present experiment; the workspace keeps the results of the steps."""
    study = workspace.job_study
    if study is None or study.scored is None:
        return
    experiment = workspace.experiment.with_recipe(recipe)

    def show_steps(steps: tuple[RepairStep, ...]) -> None:
        workspace.repairing = Repaired(study, experiment, steps)

    def keep_steps(steps: tuple[RepairStep, ...]) -> None:
        workspace.repaired = Repaired(study, experiment, steps)

    workspace.repairing = None
    title = f"{JobKind.REPAIR} {workspace.experiment.display_name}"
    work = lambda: _calibrate_and_repair(study, experiment, show_steps)  # noqa: E731
    workspace.runner.submit(Job(JobKind.REPAIR, title, work, keep_steps))


def _calibrate_and_repair(
    study: Study, experiment: Experiment, on_step: Callable[[tuple[RepairStep, ...]], None]
) -> Steps[tuple[RepairStep, ...]]:
    yield from part_of_progress(study.collect_statistics(experiment.config), 0.0, CALIBRATION_SHARE)
    work = repair_and_measure(study, experiment.config, experiment.all_passes, on_step)
    return (yield from part_of_progress(work, CALIBRATION_SHARE, 1.0))


def use_recipe_button(workspace: Workspace, repaired: Repaired) -> None:
    """Offer to make the measured recipe part of the present experiment, in a click."""
    used = workspace.experiment.recipe == repaired.experiment.recipe
    st.button(
        "In use" if used else "Use this recipe",
        key="repair.use",
        type="primary",
        icon=":material/check:",
        disabled=used,
        on_click=workspace.set_recipe,
        args=(repaired.experiment.recipe,),
        help="The recipe becomes part of the experiment: runs, exports and reports have it too",
    )


def is_of_present_work(workspace: Workspace, repaired: Repaired) -> bool:
    """Whether results are of the present model, images, configuration and encodings."""
    now, then = workspace.experiment, repaired.experiment
    same = now.config == then.config and now.encodings is then.encodings
    return workspace.network is repaired.study.network and same


def repair_step_table(steps: Sequence[RepairStep]) -> list[dict[str, object]]:
    """Return a row for each step: score with interval, worst layer, time in seconds."""
    rows: list[dict[str, object]] = []
    for step, told in zip(steps, told_of_steps(steps), strict=True):
        score = step.evaluation
        worst = min(step.layer_sqnr_db, key=lambda name: step.layer_sqnr_db[name])
        row = {
            "step": step.title,
            told.unit_label: told.scale * told.value,
            "95 % interval": told.interval_ends or None,
            "output SQNR dB": score.sqnr_db,
            "agreement %": to_percent(score.agreement) if score.classes else None,
            "worst layer": worst,
            "its SQNR dB": step.layer_sqnr_db[worst],
            "float top-1 %": to_percent(step.float_score.top1 if step.float_score else None),
            "seconds": step.seconds,
        }
        if told.measure is ScoreMeasure.AGREEMENT:
            del row["agreement %"]
        rows.append(row)
    known = {name for row in rows for name, value in row.items() if value is not None}
    return [{name: value for name, value in row.items() if name in known} for row in rows]


def step_verdicts(steps: Sequence[RepairStep]) -> None:
    """Say in a sentence how each pass changed the score, and why a pass did harm."""
    for before, after in pairwise(steps):
        st.markdown(f"- {repair_verdict(before, after)}")


def show_before_after(steps: Sequence[RepairStep], picked: PickedLayer) -> None:
    """Show SQNR by layer and the ranges of a chosen layer, before the recipe and after a step."""
    titles = [f"{number}. {step.title}" for number, step in enumerate(steps)]
    chosen = st.selectbox("After step", titles[1:], index=len(titles) - 2, key="repair.step")
    after = steps[titles.index(chosen)] if chosen in titles else steps[-1]
    left, right = st.columns(2, gap="large")
    with left:
        figure = sqnr_before_after(steps[0].layer_sqnr_db, after.layer_sqnr_db)
        show_figure(figure, "repair.sqnr")
    with right:
        names = list(after.channel_ranges)
        changed = max(names, key=lambda name: channel_range_change(steps[0], after, name))
        st.session_state["repair.layer"] = picked.layer if picked.layer in names else changed
        layer = st.selectbox(
            "Layer",
            names,
            key="repair.layer",
            on_change=lambda: picked.pick_layer(st.session_state["repair.layer"]),
            help="Where none was picked, the one whose channels changed most",
        )
        if layer in after.channel_ranges:
            old, new = (
                [(float(low), float(high)) for low, high in step.channel_ranges[layer].tolist()]
                for step in (steps[0], after)
            )
            figure = ranges_before_after(layer, old, new)
            show_figure(figure, "repair.ranges")
            _show_bias_shift(after, layer)


def channel_range_change(before: RepairStep, after: RepairStep, layer: str) -> float:
    """Return the factor by which the channel ranges of a layer came closer to each other."""
    old, new = (
        [(float(low), float(high)) for low, high in step.channel_ranges[layer].tolist()]
        for step in (before, after)
    )
    return channel_spread(old) / channel_spread(new)


def _show_bias_shift(step: RepairStep, layer: str) -> None:
    if not isinstance(step.outcome, Corrected):
        return
    shift = next((found for found in step.outcome.shifts if found.layer == layer), None)
    if shift is None:
        st.caption(step.outcome.skipped.get(layer, "This layer's bias was not corrected."))
        return
    after = None if shift.after is None else shift.after.tolist()
    figure = bias_shift(layer, shift.before.tolist(), after)
    show_figure(figure, "repair.shift")


def pass_details(network: Network, steps: Sequence[RepairStep]) -> None:
    """Show the results of the passes: equalized pairs, absorbed biases, rounding by layer."""
    for step in steps:
        match step.outcome:
            case Equalized() as found:
                show_equalized_pairs(network, step, found)
            case Absorbed() as found:
                _show_absorbed_biases(found)
            case Smoothed() as found:
                _show_smoothed_groups(found)
            case AdaRoundResult() as found:
                _show_learned_rounding(found)
            case Reconstructed() as found:
                _show_reconstructed_blocks(found)


def _show_smoothed_groups(found: Smoothed) -> None:
    with st.expander(
        f"{len(found.groups)} groups smoothed, {len(found.others)} sources begin none",
        icon=":material/blur_on:",
    ):
        groups, others = st.columns(2)
        groups.dataframe(
            [
                {
                    "source": one.group.source,
                    "linear layers": ", ".join(one.group.targets),
                    "strength": one.strength,
                    "error before %": 100 * one.before,
                    "error after %": 100 * one.after,
                }
                for one in found.groups
            ],
            hide_index=True,
            width="stretch",
        )
        others.dataframe(
            [{"source": one.source, "why not": one.reason} for one in found.others],
            hide_index=True,
            width="stretch",
        )


def _show_absorbed_biases(found: Absorbed) -> None:
    with st.expander(f"{len(found.shifts)} pairs absorbed a bias", icon=":material/input:"):
        st.caption(
            "Exact where the activation is at least c before its ReLU; at borders padded with "
            f"zeros approximate ({len(found.inexact)} pairs)."
        )
        st.dataframe(
            [
                {
                    "first": pair[0],
                    "second": pair[1],
                    "channels": int((shift > 0).sum()),
                    "largest c": float(shift.max()),
                    "borders": "approximate" if pair in found.inexact else "exact",
                }
                for pair, shift in found.shifts.items()
            ],
            hide_index=True,
            width="stretch",
        )


def _show_learned_rounding(found: AdaRoundResult) -> None:
    with st.expander("What AdaRound did layer by layer", icon=":material/swap_vert:"):
        if found.layers:
            figure = rounding_gain(
                [layer.layer for layer in found.layers],
                [layer.learned / layer.nearest if layer.nearest else 1.0 for layer in found.layers],
            )
            show_figure(figure, "repair.rounding")
        for layer, reason in found.skipped.items():
            st.caption(f"{plain(layer)} keeps nearest rounding: {plain(reason)}.")


def _show_reconstructed_blocks(found: Reconstructed) -> None:
    with st.expander("What reconstruction did block by block", icon=":material/view_agenda:"):
        if found.blocks:
            figure = rounding_gain(
                [one.block.title for one in found.blocks],
                [one.after / one.before if one.before else 1.0 for one in found.blocks],
                "the block's error before",
                "blocks",
            )
            show_figure(figure, "repair.blocks")
        if found.tuning is not None and found.tuning.before > 0:
            left = 100 * found.tuning.after / found.tuning.before
            st.caption(
                f"Tuning scales and biases to the float outputs left {left:.0f} % of the outputs' "
                "error, on data that taught nothing."
            )
        for layer, reason in found.skipped.items():
            st.caption(f"{plain(layer)} keeps its rounding: {plain(reason)}.")


def keep_repaired_form(workspace: Workspace, repaired: Repaired) -> None:
    """Offer to keep the last step as a run, for comparison with other runs."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    name = row.text_input(
        "Name of the run", repaired.experiment.display_name, key=f"repair.name.{id(repaired)}"
    )
    if row.button(
        "Keep as a run",
        key="repair.keep",
        icon=":material/save:",
        help="Adds the repaired network to Run and compare",
    ):
        named = replace(repaired.experiment, machine=workspace.machine).with_name(name)
        run = run_from_steps(repaired.steps, repaired.study, named)
        workspace.store.save_run(run)
        st.toast(f"{plain(run.name)} is among the runs now.", icon=":material/save:")
