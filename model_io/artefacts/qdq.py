"""ONNX with Q/DQ pairs as an artefact: run in ONNX Runtime beside the simulation."""

from collections.abc import Callable

import torch
from torch import Tensor

from model_io.artefacts.artefact import Artefact, ArtefactSource, serialize_checked_model
from model_io.errors import ModelError
from model_io.qdq_export.export_qdq import export_qdq_onnx
from model_io.qdq_export.simulate_file import simulate_written_file
from model_io.qdq_export.weights import WeightStyle
from model_io.runtime.onnx_runtime import RuntimeSession, executed_operators, is_integer_operator
from quant.inputs import tensors_of_batch
from quant.simulation.quant_graph import QuantGraph

FILE_BIASES = "with the file's biases, which are whole numbers"
LEAST_DB = 10.0
"""Less than this is no rounding any more: the file computes something else."""


def qdq_file_maker(style: WeightStyle) -> Callable[[ArtefactSource], Artefact]:
    """Return the function that makes a file with weights in the given style."""

    def make(source: ArtefactSource) -> Artefact:
        made = export_qdq_onnx(source.quantized, style, source.marked_onnx)
        content = serialize_checked_model(made.model)
        operators = executed_operators(made.model)
        weighted = [source.marked_onnx.nodes[x.name] for x in source.graph.layers if x.weight]
        whole = sum(is_integer_operator(operators.get(node, "")) for node in weighted)
        file = f"{source.name}.onnx"
        agreement = _agreement_sentence(
            source, simulate_written_file(source.quantized, made), RuntimeSession(made.model)
        )
        check, note = _integer_kernel_notes(whole, len(weighted))
        run = f"ort.InferenceSession('{file}')"
        names = "print([(x.name, x.shape) for x in net.get_inputs()])"
        return Artefact(
            {file: content},
            (agreement, *check),
            (*made.notes, *note),
            f'python -c "import onnxruntime as ort; net = {run}; {names}"',
        )

    return make


def _integer_kernel_notes(whole: int, layers: int) -> tuple[list[str], list[str]]:
    """Return checks and notes on layers with weights; the layers in `whole` run in integers."""
    told = f"{whole} of {layers} layers with weights run in whole numbers in ONNX Runtime here"
    if whole == layers:
        return [f"{told}."], []
    return [], [f"{told}; the others run in float."]


def _agreement_sentence(
    source: ArtefactSource, simulated: QuantGraph, session: RuntimeSession
) -> str:
    """Return the agreement of a file with the simulation in a sentence.

    Raises:
        ModelError: the file computes different numbers.
    """
    inputs = source.trial_inputs
    with torch.inference_mode():
        wanted = tensors_of_batch(simulated.run(inputs))[0]
    got = session(inputs)
    decibels = _sqnr_db(wanted, got)
    if decibels < LEAST_DB:
        raise ModelError(
            "The ONNX file must compute what the simulation does, got an SQNR of "
            f"{decibels:.0f} dB beside it. Export encodings instead, and report this model."
        )
    same = int((wanted.argmax(-1) == got.argmax(-1)).sum())
    share = f"the same largest output on {same} of {wanted.argmax(-1).numel()}"
    if torch.equal(wanted, got):
        return (
            f"In ONNX Runtime on {source.trial_description}: equal to the last bit to the "
            f"simulation {FILE_BIASES}."
        )
    return (
        f"In ONNX Runtime on {source.trial_description}: {decibels:.0f} dB beside the "
        f"simulation {FILE_BIASES}, {share}."
    )


def _sqnr_db(wanted: Tensor, got: Tensor) -> float:
    noise = (wanted.double() - got.double()).square().sum()
    signal = wanted.double().square().sum()
    return float(10 * torch.log10(signal / noise.clamp(min=1e-300))) if signal > 0 else 300.0
