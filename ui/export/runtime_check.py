"""Check on the user's machine: the quantized file in ONNX Runtime beside the simulation."""

import streamlit as st

from analysis.deployment.prepare_export import quantize_for_export
from analysis.deployment.runtime_check import (
    ExecutionCheck,
    Latency,
    Top1Score,
    check_file_execution,
)
from figures.quality.runtime_check import integer_words, partings_by_layer, scores_side_by_side
from figures.style.units import format_time
from model_io.qdq_export.export_qdq import export_qdq_onnx
from model_io.qdq_export.simulate_file import simulate_written_file
from model_io.runtime.executed_model import open_exported_model
from quant.progress import Progress, Steps, part_of_progress
from ui.export.jobs import ExportRequest
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.results import Checked
from ui.state.workspace import Workspace
from ui.widgets.cards import interval_text, share_text
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain

FEWEST, USUAL = 16, 500
STAGE_SHARE, FILE_SHARE = 0.3, 0.5


def runtime_check_box(workspace: Workspace, wish: ExportRequest) -> None:
    """Offer the check, or show the result of the check."""
    if wish.study.scored is None:
        st.caption(f"A check needs {wish.network.noun}s to run on; none are chosen.")
        return
    most = len(wish.study.scored)
    busy = workspace.runner.active_of(JobKind.CHECK_FILE) is not None
    row = st.container(horizontal=True, vertical_alignment="bottom")
    count = row.number_input(
        f"{wish.network.noun.capitalize()}s",
        min(FEWEST, most),
        most,
        min(USUAL, most),
        key="export.check.images",
        help="Drawn at random from those that are scored",
        width=160,
    )
    found = workspace.exports.checks.get(wish.key)
    if row.button(
        "Check again" if found else "Run it on this machine",
        key="export.check",
        disabled=busy,
        icon=":material/speed:",
        help="Float and quantized file in ONNX Runtime, one thread",
    ):
        _start_check(workspace, wish, int(count))
        st.rerun()
    if found is None:
        st.caption(
            "The quantized ONNX file runs beside the simulation: the same answers? And how fast, "
            "float against integers?"
        )
        return
    _show_check(found, wish.network.noun)


def _start_check(workspace: Workspace, wish: ExportRequest, count: int) -> None:
    seed = workspace.data.seed

    def keep_check(found: Checked) -> None:
        workspace.exports.checks[wish.key] = found

    workspace.runner.submit(
        Job(
            JobKind.CHECK_FILE,
            f"{JobKind.CHECK_FILE} {wish.name}",
            lambda: _check_file(wish, count, seed),
            keep_check,
        )
    )


def _check_file(wish: ExportRequest, count: int, seed: int) -> Steps[Checked]:
    stage = yield from part_of_progress(
        quantize_for_export(wish.study, wish.experiment), 0.0, STAGE_SHARE
    )
    if wish.study.scored is None:
        raise ValueError("A check needs images; none are chosen. Choose data on Model.")
    yield Progress(STAGE_SHARE, "Making the ONNX file")
    made = export_qdq_onnx(stage.quantized)
    simulated, executed = simulate_written_file(stage.quantized, made), open_exported_model(made)
    score = wish.study.scored
    data = score if count >= len(score) else score.sample(count, seed)
    steps = check_file_execution(wish.network, simulated, executed, data)
    check = yield from part_of_progress(steps, FILE_SHARE, 1.0)
    weighted = tuple(layer.name for layer in wish.network.graph.layers if layer.weight)
    return Checked(check, weighted)


def _show_check(found: Checked, noun: str) -> None:
    check = found.check
    cards = st.container(horizontal=True)
    for name, label in (
        ("float", "Float"),
        ("simulated", "Simulated"),
        ("executed", "Executed in integers"),
    ):
        _score_card(cards, label, check.scores.get(name))
    _agreement_card(cards, check, noun)
    latency = check.latency
    cards.metric(
        "Latency, quantized",
        format_time(latency.executed_s),
        border=True,
        height="stretch",
        delta=_speed_sentence(latency),
        delta_color="off",
        delta_arrow="off",
        help=f"Medians of {latency.runs} runs each, in turns, batch {latency.batch}, "
        f"{latency.threads} thread; this machine's, not the estimate for the accelerator",
    )
    st.markdown(plain(integer_words(check, found.weighted)))
    if check.executed.top1 is not None:
        figure = scores_side_by_side(check, noun)
        show_figure(figure, "export.check.scores")
    agreement = _agreement_words(check.plain.top1, check.plain.sqnr_db, noun)
    st.caption(
        "Node by node in float32, the file agrees with the simulation "
        f"{agreement}; what integers add to that is their "
        "kernels' own rounding. The simulation has the file's biases here, whole numbers of "
        "scale_x * scale_w; in runs they stay float."
    )
    figure = partings_by_layer(check.layer_sqnr_db)
    show_figure(figure, "export.check.layers")
    if check.partings:
        with st.expander(f"{noun.capitalize()}s on which they part ({len(check.partings)} listed)"):
            st.dataframe(
                [
                    {
                        noun: one.index,
                        "label": one.label,
                        "simulated": one.simulated_class,
                        "executed": one.executed_class,
                    }
                    for one in check.partings
                ],
                hide_index=True,
                width="stretch",
                alt=f"{noun.capitalize()}s with different answers",
            )


def _score_card(
    cards: st.delta_generator.DeltaGenerator, label: str, score: Top1Score | None
) -> None:
    if score is None:
        return
    cards.metric(
        f"{label}, top-1",
        share_text(score.top1),
        border=True,
        height="stretch",
        delta=interval_text(score.top1_ci95),
        delta_color="off",
        delta_arrow="off",
    )


def _agreement_card(
    cards: st.delta_generator.DeltaGenerator, check: ExecutionCheck, noun: str
) -> None:
    found = check.executed
    if found.top1 is None or found.top1_ci95 is None:
        cards.metric(
            "Output beside the simulation",
            _decibel_text(found.sqnr_db),
            border=True,
            height="stretch",
        )
        return
    distance = _decibel_text(found.sqnr_db)
    cards.metric(
        "Agreement with the simulation",
        share_text(found.top1),
        border=True,
        height="stretch",
        delta=interval_text(found.top1_ci95),
        delta_color="off",
        delta_arrow="off",
        help=f"Same class on {check.samples} {noun}s; outputs lie {distance} beside",
    )


def _speed_sentence(latency: Latency) -> str:
    factor, float_time = latency.quantized_speedup, format_time(latency.float_s)
    if factor >= 1:
        return f"{factor:.2f} times faster than float, {float_time}"
    return f"{1 / factor:.2f} times slower than float, {float_time}"


def _agreement_words(top1: float | None, decibels: float, noun: str) -> str:
    return (
        f"at {_decibel_text(decibels)}" if top1 is None else f"on {share_text(top1)} of the {noun}s"
    )


def _decibel_text(value: float) -> str:
    return "exactly there" if value >= 300 else f"{value:.1f} dB"
