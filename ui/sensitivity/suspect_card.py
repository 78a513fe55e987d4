"""The suspect card: the evidence against a layer, the repairs to try, and their results."""

import streamlit as st

from analysis.diagnosis.diagnose import SuspectCard, build_suspect_card, change_layer_encoding
from analysis.diagnosis.remedies import Remedy
from analysis.diagnosis.try_remedy import RemedyTrial, remedy_verdict
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.told_score import ScoreMeasure, ScoreUnit, told_scores
from analysis.ranges.tensors import RangeBook
from analysis.runs.apply_recipe import title_of_pass
from analysis.sensitivity.ranking import (
    HarmMetric,
    describes_return_to_float,
    scores_at_width,
    shown_layer_interval,
    shown_layer_value,
)
from analysis.sensitivity.sweep import CellScore, Question, Sensitivity
from figures.sensitivity.wording import cell_text, format_metric, metric_name, shown_title
from quant.errors import QuantError
from quant.passes.equalize import Equalize
from quant.passes.recipe import Recipe
from quant.simulation.plan import Side
from quant.spec import SpecChange
from ui.answers.range_book import experiment_range_book
from ui.answers.sensitivity import request_images
from ui.navigation import RANGES, REPAIR
from ui.sensitivity.form import BITS
from ui.sensitivity.lens import Lens
from ui.sensitivity.remedy_trials import is_trying_remedy, start_remedy_trial, trials_of_question
from ui.state.edit_config import set_config
from ui.state.sensitivity import SweepRequest
from ui.state.workspace import Workspace
from ui.widgets.explain import KURTOSIS
from ui.widgets.markdown import plain

GIVEN_BITS = 8


def show_suspect_card(
    workspace: Workspace, found: Sensitivity, asked: SweepRequest, lens: Lens
) -> None:
    """Show the layer in sight: scores, causes with evidence, repairs, and bits."""
    study = workspace.study
    if study is None:
        return
    network = study.network
    book, passes = experiment_range_book(workspace, network)
    with st.container(border=True):
        layer = _layer_box(workspace, lens)
        question = Question(layer, lens.bits, lens.side, found.sweep.view)
        st.caption(
            f"{str(network.graph[layer].kind).capitalize()} · {cell_text(lens.side, lens.bits)}"
        )
        _layer_scores(found, lens, layer)
        _repairs_note(passes)
        try:
            equalized = any(isinstance(one, Equalize) for one in passes)
            pairs = () if equalized else study.equalizable_pairs()
            suspect = build_suspect_card(book, workspace.config, question, pairs)
        except QuantError as error:
            st.error(plain(str(error)))
            return
        _show_causes(suspect)
        _ranges_link(workspace, lens)
        _remedy_list(workspace, asked, book, suspect)
        _give_bits_form(workspace, book, question)


def _repairs_note(passes: Recipe) -> None:
    """Say after which repairs the causes below are told."""
    if passes:
        names = " and ".join(title_of_pass(step).lower() for step in passes)
        st.caption(
            plain(
                f"Causes and repairs below are those after the experiment's own repairs: {names}."
            )
        )


def _layer_box(workspace: Workspace, lens: Lens) -> str:
    """Show the layer in sight in a box for picking a different layer; return the layer in sight.

    During a sweep the worst layer changes, and a browser may still send the pick of the old box. So
    each layer in sight has a box with a separate key, and a late pick from an old box has no
    effect.
    """
    key = f"sensitivity.layer.{lens.side}.{lens.picked}"

    def pick_layer() -> None:
        if st.session_state[key] != lens.picked:
            workspace.picked.pick_layer(st.session_state[key])

    st.selectbox(
        "Layer",
        lens.layers,
        lens.layers.index(lens.picked),
        key=key,
        on_change=pick_layer,
        help="Also by a click in the list or in a chart; other pages show the same",
    )
    return lens.picked


def _layer_scores(found: Sensitivity, lens: Lens, layer: str) -> None:
    score = next(
        (s for s in scores_at_width(found, lens.side, lens.bits) if s.question.layer == layer), None
    )
    if score is None:
        st.caption("Not known yet at this width.")
        return
    row = st.container(horizontal=True)
    for metric in dict.fromkeys((lens.metric, HarmMetric.SQNR)):
        _score_card(row, found, score, metric)


def _score_card(
    row: st.delta_generator.DeltaGenerator, found: Sensitivity, score: CellScore, metric: HarmMetric
) -> None:
    value, interval = (
        shown_layer_value(found, score, metric),
        shown_layer_interval(found, score, metric),
    )
    name = metric_name(metric, score.depth)
    row.metric(
        f"{name}, given back" if describes_return_to_float(found) else name,
        "unknown" if value is None else format_metric(value, metric),
        f"{interval.low:.1f} to {interval.high:.1f} (95 %)" if interval else f"{score.depth}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help=shown_title(found, metric),
    )


def _show_causes(suspect: SuspectCard) -> None:
    if not suspect.causes:
        st.markdown(":material/check: The range fits; the bit width is the problem.")
    for cause in suspect.causes:
        st.markdown(f":material/warning: **{plain(cause.cause)}** · {plain(cause.sentence)}")
    with st.expander("The numbers", icon=":material/straighten:"):
        st.markdown(_evidence_table(suspect))
        if any("kurtosis" in item.name for item in suspect.evidence):
            st.caption("What is kurtosis?", help=KURTOSIS)


def _evidence_table(suspect: SuspectCard) -> str:
    """Return the numbers as a Markdown table, the suspect numbers in bold."""
    rows = ["| Measured | Value | Suspect |", "|---|---|---|"]
    for item in suspect.evidence:
        mark = "**" if item.suspect else ""
        rows.append(f"| {mark}{item.name}{mark} | {mark}{item.value}{mark} | {item.limit} |")
    return "\n".join(rows)


def _ranges_link(workspace: Workspace, lens: Lens) -> None:
    if st.button(
        "Its ranges",
        key="sensitivity.ranges",
        icon=":material/bar_chart:",
        type="tertiary",
        help="Histogram, encoding and channels of this layer on the page Ranges",
    ):
        workspace.picked.pick_layer(lens.picked)
        st.session_state["ranges.side"] = "Weights" if lens.side is Side.WEIGHTS else "Activations"
        st.switch_page(RANGES)


def _remedy_list(
    workspace: Workspace, asked: SweepRequest, book: RangeBook, suspect: SuspectCard
) -> None:
    st.markdown("**Repairs to try**")
    if not suspect.remedies:
        st.caption("None is known for this.")
    trials = {trial.title: trial for trial in trials_of_question(workspace, suspect.question)}
    for number, remedy in enumerate(suspect.remedies):
        row = st.container(horizontal=True, vertical_alignment="center")
        row.container(width="stretch").markdown(f"**{plain(remedy.title)}**  \n{plain(remedy.why)}")
        if row.button(
            "Try",
            key=f"sensitivity.try.{number}",
            disabled=is_trying_remedy(workspace) or request_images(workspace, asked) is None,
            help="Measures this layer before and after, on the data above",
        ):
            start_remedy_trial(workspace, asked, suspect.question, remedy)
            st.rerun()
        if remedy.title in trials:
            _trial_outcome(workspace, book, remedy, trials[remedy.title])


def _trial_outcome(
    workspace: Workspace, book: RangeBook, remedy: Remedy, trial: RemedyTrial
) -> None:
    """Show the result of a repair, and offer to keep a repair that changes only encodings."""
    _before_after_cards("Alone", trial.alone_before, trial.alone_after)
    if trial.whole_before is not None and trial.whole_after is not None:
        _before_after_cards("Whole network", trial.whole_before, trial.whole_after)
    for sentence in remedy_verdict(trial):
        st.caption(plain(sentence))
    if remedy.changes_encoding:
        if st.button(
            "Use for this layer",
            key=f"sensitivity.use.{remedy.title}",
            icon=":material/check:",
            help="Writes it into the configuration; Undo takes it back",
        ):
            _use_remedy(workspace, book, trial.question, remedy)
            st.rerun()
    else:
        st.page_link(REPAIR, label="Run it on the whole network", icon=":material/healing:")


def _before_after_cards(who: str, before: Evaluation, after: Evaluation) -> None:
    row = st.container(horizontal=True)
    change = after.sqnr_db - before.sqnr_db
    row.metric(
        f"{who}: output SQNR",
        f"{after.sqnr_db:.1f} dB",
        f"{change:+.1f} dB",
        border=True,
        help=f"Before: {before.sqnr_db:.1f} dB; higher is better",
    )
    old, new = told_scores((before, after))
    if new.measure is ScoreMeasure.SQNR:
        return
    points = f"{100 * (new.value - old.value):+.1f} points"
    shares = new.unit is ScoreUnit.PERCENT
    row.metric(
        f"{who}: {new.name.removesuffix(' with float')}",
        new.amount_text(new.value, 1),
        points if shares else f"{new.value - old.value:+.4g}",
        delta_color="normal" if new.higher_is_better else "inverse",
        border=True,
        help=f"Before: {old.amount_text(old.value, 1)}, on {after.samples} images",
    )


def _use_remedy(workspace: Workspace, book: RangeBook, question: Question, remedy: Remedy) -> None:
    config = change_layer_encoding(
        book, workspace.config, question, remedy.weight, remedy.activation
    )
    set_config(workspace, config)


def _give_bits_form(workspace: Workspace, book: RangeBook, question: Question) -> None:
    """Offer to give the layer a width in the configuration, in a click."""
    chosen = workspace.config.resolve_layers(book.graph.layers)[question.layer]
    now = []
    if question.side.includes_role(Side.WEIGHTS) and book.graph[question.layer].weight is not None:
        now.append(f"W{chosen.weight.bits}")
    if question.side.includes_role(Side.ACTIVATIONS):
        now.append(f"A{chosen.activation.bits}")
    st.markdown(f"**In the configuration** it has {' and '.join(now)}.")
    row = st.container(horizontal=True, vertical_alignment="bottom")
    bits = row.selectbox(
        "Bits",
        BITS,
        BITS.index(GIVEN_BITS),
        key="sensitivity.give_bits",
        persist_state="session",
        label_visibility="collapsed",
    )
    bits = bits or GIVEN_BITS
    if row.button(
        f"Give this layer {bits} bits",
        key="sensitivity.give",
        icon=":material/check:",
        help="Writes a rule into the configuration; Undo takes it back",
    ):
        give_layer_bits(workspace, book, question, bits)
        st.rerun()


def give_layer_bits(workspace: Workspace, book: RangeBook, question: Question, bits: int) -> None:
    """Give the layer in question a width on the sides in question."""
    change = SpecChange(bits=bits)
    set_config(workspace, change_layer_encoding(book, workspace.config, question, change, change))
