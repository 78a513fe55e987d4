"""The inputs and outputs of models without images or classes; checks on the model's data."""

from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.evaluation.evaluate import FloatScore
from analysis.evaluation.lost_score import metric_value_text
from analysis.evaluation.tasks.task_metric import TaskMetric
from analysis.network import Network
from analysis.split import Split
from figures.style.units import format_bytes, format_count
from model_io.errors import ModelError
from model_io.input_specs import InputSpec
from model_io.onnx_import.load_onnx import CHECKED_INPUTS, check_onnx_agreement
from quant.config import uniform_config
from quant.inputs import Input, tensors_of_batch
from quant.progress import Progress, Steps
from ui.answers.float_score import find_float_metric
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.model_and_data import ModelChoice
from ui.state.workspace import Workspace
from ui.widgets.cards import interval_text, share_text
from ui.widgets.markdown import plain
from ui.widgets.tables import shape_text

NO_CLASSES = (
    "The output is no row of classes: its SQNR and cosine, and a metric of your own, take "
    "accuracy's place."
)
NO_LABELS = "Agreement with the float network and SQNR take accuracy's place."


def accuracy_substitute(network: Network, *, labelled: bool) -> str:
    """Return the substitute for accuracy, in a sentence; empty for labelled classes."""
    if not network.is_classifier:
        return NO_CLASSES
    return "" if labelled else NO_LABELS


def scored_by_text(network: Network, parts: Split) -> str:
    """Return what stands for accuracy, as the end of a sentence; empty for labelled classes."""
    if parts.metric is not None:
        return f" by {parts.metric.name}"
    if not network.is_classifier:
        return ": the output is no row of classes, so SQNR and cosine take accuracy's place"
    if parts.score.labelled:
        return ""
    return ", without labels too: agreement with the float network and SQNR take accuracy's place"


def float_metric_card(cards: DeltaGenerator, workspace: Workspace, metric: TaskMetric) -> None:
    """Show the float network's metric as the newest run measured it, or that a run will."""
    found = find_float_metric(workspace, metric.name)
    ends = "a run measures it"
    if found is not None and found.float_ci95 is not None:
        interval = found.float_ci95
        low, high = (metric_value_text(found, end) for end in (interval.low, interval.high))
        ends = f"{low} to {high} (95 %)"
    elif found is not None:
        ends = "one number for all"
    cards.metric(
        f"Float {plain(metric.name)}",
        "?" if found is None else metric_value_text(found, found.float_value),
        border=True,
        height="stretch",
        delta=ends,
        delta_color="off",
        delta_arrow="off",
        help="Measured by runs on these data",
    )


def float_score_card(cards: DeltaGenerator, workspace: Workspace, score: FloatScore | None) -> None:
    """Show the float network's top-1 or the task's metric, or the reason for a missing number."""
    network, parts = workspace.network, workspace.parts
    noun = "image" if network is None else network.noun
    if parts is not None and parts.metric is not None:
        float_metric_card(cards, workspace, parts.metric)
        return
    if network is not None and not network.is_classifier:
        shapes = [shape_text(shape) or "1" for shape in network.graph.output_shapes]
        cards.metric(
            "Output" if len(shapes) == 1 else f"{len(shapes)} outputs",
            shapes[0],
            border=True,
            height="stretch",
            delta=", ".join(shapes[1:]) or "no row of classes",
            delta_color="off",
            delta_arrow="off",
            help=NO_CLASSES,
        )
        return
    if score is not None:
        cards.metric(
            "Float top-1",
            share_text(score.top1),
            border=True,
            height="stretch",
            delta_color="off",
            delta=interval_text(score.top1_ci95),
            delta_arrow="off",
            help=f"Measured on {score.samples} {noun}s; exact 95 % interval (Clopper and Pearson)",
        )
        return
    labelled = parts is not None and parts.score.labelled
    missing = (
        ("being measured" if workspace.runner.active_jobs else "stopped")
        if labelled
        else ("needs labels" if parts else f"needs {noun}s")
    )
    cards.metric(
        "Float top-1",
        "?",
        border=True,
        height="stretch",
        delta=missing,
        delta_color="off",
        delta_arrow="off",
    )


def size_cards(cards: DeltaGenerator, workspace: Workspace, network: Network) -> None:
    """Show parameters, MACs, and the memory of weights and activations, float and at 8 bits."""
    as_float = workspace.config_cost(uniform_config(32, 32))
    at_8_bits = workspace.config_cost(uniform_config(8, 8))
    cards.metric("Parameters", format_count(network.parameters), border=True, height="stretch")
    cards.metric(
        f"MACs per {network.noun}",
        format_count(network.mac_count),
        border=True,
        help="Multiply-accumulates",
        height="stretch",
    )
    cards.metric(
        "Weights in float",
        format_bytes(as_float.weight_bytes),
        border=True,
        height="stretch",
        delta_color="off",
        delta=f"{format_bytes(at_8_bits.weight_bytes)} at 8 bits",
        delta_arrow="off",
        help=f"As {plain(workspace.machine.title)} stores them, with scales and biases",
    )
    cards.metric(
        "Peak memory",
        format_bytes(at_8_bits.peak_activation_bytes),
        border=True,
        delta=f"at {at_8_bits.peak_activation_step}",
        delta_color="off",
        delta_arrow="off",
        help="Activations at 8 bits, in the order of execution: the most that is alive at once",
    )


def shapes_text(network: Network) -> str:
    """Return the shapes of a network's inputs and outputs in words."""
    graph = network.graph
    if len(graph.inputs) == len(graph.output_nodes) == 1 and graph.inputs[0].real:
        return f"input {shape_text(graph.input_shape)}, output {shape_text(graph.output_shape)}"
    taken = ", ".join(f"{one.name} {_input_size_text(one)}" for one in graph.inputs)
    return f"takes {taken}; gives {', '.join(shape_text(s) or '1' for s in graph.output_shapes)}"


def _input_size_text(one: Input) -> str:
    return f"{shape_text(one.shape) or '1'}{'' if one.real else f' ({_input_kind_text(one)})'}"


def _input_kind_text(one: Input) -> str:
    """Return the kind of an input's values, in words."""
    if one.real:
        return "real numbers"
    if one.kind == "bool":
        return "yes or no"
    return "whole numbers" if one.below is None else f"whole numbers 0 to {one.below - 1}"


def inputs_table(workspace: Workspace, network: Network) -> None:
    """List the inputs with their kinds, and the first values of the first sample."""
    parts = workspace.parts
    first = None if parts is None else next(parts.score.batches(1))
    held = () if first is None else tensors_of_batch(first.inputs)
    rows = []
    for place, one in enumerate(network.graph.inputs):
        values = held[place] if held else None
        shown = "" if values is None else ", ".join(f"{v:.4g}" for v in values.flatten()[:8])
        more = ", …" if values is not None and values.numel() > 8 else ""
        rows.append(
            {
                "input": one.name,
                "shape": shape_text(one.shape) or "1",
                "holds": _input_kind_text(one),
                "first sample": shown + more,
            }
        )
    st.dataframe(rows, hide_index=True, width="stretch", alt="What the model takes")


def needs_inputs_table(network: Network) -> bool:
    """Whether the inputs need a table, because there is no single image input."""
    inputs = network.graph.inputs
    return len(inputs) > 1 or not inputs[0].real or len(inputs[0].shape) != 3


def measure_import_check(workspace: Workspace) -> None:
    """Check an ONNX file once on the chosen data, beside ONNX Runtime, in the background."""
    network, parts, question = workspace.network, workspace.parts, _import_question(workspace)
    if network is None or parts is None or not question:
        return
    if question in workspace.asked or workspace.store.find_answer(question):
        return
    model, store = workspace.model, workspace.store

    def check_steps() -> Steps[dict[str, float | str]]:
        yield Progress(0.1, "Running the file in ONNX Runtime")
        return _run_import_check(model, network, parts)

    workspace.asked.add(question)
    title = f"Checking {network.name} on your data"

    def keep_check(found: dict[str, float | str]) -> None:
        store.keep_answer(question, found)

    workspace.runner.submit(
        Job(JobKind.CHECK_IMPORT, title, check_steps, keep_check, background=True)
    )
    st.rerun()


def _import_question(workspace: Workspace) -> str:
    """Return the key of the check's result in the store; empty for models other than ONNX files."""
    network, parts, model = workspace.network, workspace.parts, workspace.model
    is_onnx = (model.shown or model.source).lower().endswith(".onnx")
    if network is None or parts is None or not is_onnx or workspace.opened is not None:
        return ""
    return f"import-check {network.digest} {parts.score.digest}"


def _run_import_check(model: ModelChoice, network: Network, parts: Split) -> dict[str, float | str]:
    """Return how far the import lies from the file on the first samples, or the error."""
    takes = tuple(InputSpec(one.name, one.shape, one.kind) for one in network.graph.inputs)
    batch = next(parts.score.first(CHECKED_INPUTS).batches(CHECKED_INPUTS))
    alone, shown = model.shown is not None, model.shown or ""
    try:
        found = check_onnx_agreement(
            Path(model.source), takes, shown, alone=alone, inputs=tensors_of_batch(batch.inputs)
        )
    except (ModelError, OSError) as error:
        return {"error": str(error)}
    return {"inputs": found.inputs, "difference": found.difference}


def import_check_note(workspace: Workspace) -> None:
    """Tell the result of the check of an ONNX file on the chosen data."""
    question = _import_question(workspace)
    found = workspace.store.find_answer(question) if question else None
    if not found:
        return
    if "error" in found:
        st.error(f"On your data: {plain(found['error'])}", icon=":material/error:")
    else:
        st.caption(
            f":material/fact_check: Beside ONNX Runtime on {int(found['inputs'])} of your inputs: "
            f"largest relative difference {found['difference']:.1e}."
        )
