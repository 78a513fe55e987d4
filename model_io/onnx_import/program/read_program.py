"""From a parsed file to a program for the operators, with inputs and outputs."""

from dataclasses import dataclass

from onnx import GraphProto, TensorProto, ValueInfoProto, defs

from model_io.errors import ModelError
from model_io.onnx_import.operators import TABLE
from model_io.onnx_import.program.steps import (
    OWN,
    OnnxProgram,
    OnnxStep,
    read_graph_steps,
    values_read_by,
)
from model_io.onnx_import.program.topological_order import order_steps
from model_io.onnx_import.reading.open_file import OnnxFile
from quant.interruption import check_interruption

REALS = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
)
CONTROL = ("If", "Loop", "Scan", "SequenceMap")
"""Refused unless constants decide the branch."""
_DRAWING = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli")
_DRAWS = (
    "It draws random numbers, which would count as quantization noise: export the network with "
    "what stands for them in use, such as the mean of a variational auto-encoder."
)
REMEDIES = {
    **dict.fromkeys((*_DRAWING, "Multinomial"), _DRAWS),
    "NonMaxSuppression": "Cut the post-processing off with onnx.utils.extract_model.",
    "DynamicQuantizeLinear": "Export the float network; it is quantized here.",
    "QLinearConv": "Export the float network, or quantize in the QDQ format.",
    "QLinearMatMul": "Export the float network, or quantize in the QDQ format.",
    "ConvInteger": "Export the float network; it is quantized here.",
    "MatMulInteger": "Export the float network; it is quantized here.",
    "QuantizeLinear": "Quantize statically, with constant scales.",
    "DequantizeLinear": "Quantize statically, with constant scales.",
}
"""Advice for operators outside the table."""


@dataclass(frozen=True)
class FileInput:
    """An input: name, type in the file, sizes (None for a free size)."""

    name: str
    kind: int
    sizes: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Output:
    """An output: name, and whether the file declares real numbers."""

    name: str
    real: bool


def read_program(file: OnnxFile) -> tuple[OnnxProgram, tuple[FileInput, ...], tuple[Output, ...]]:
    """Return the program of a file with checked tensors, the inputs and the outputs.

    The program returns real outputs only, if the file has real outputs.

    Raises:
        ModelError: no input or output, a circle, or a value without producer.
    """
    graph = file.model.graph
    steps, constants = read_graph_steps(graph, file.shown, set())
    found = _used_inputs(graph, set(constants), steps, file.shown)
    outputs = _graph_outputs(graph, file.shown)
    order = order_steps(steps, {*(one.name for one in found), *constants}, file.shown)
    first, *rest = (one.name for one in found)
    wanted = [one.name for one in outputs if one.real] or [outputs[0].name]
    program = OnnxProgram(
        order,
        constants,
        first,
        wanted[0],
        file.opset,
        more_inputs=tuple(rest),
        more_outputs=tuple(wanted[1:]),
    )
    program.drop_unused_steps()
    return program, found, outputs


def _used_inputs(
    graph: GraphProto, known: set[str], steps: list[OnnxStep], shown: str
) -> tuple[FileInput, ...]:
    """Return the inputs that steps read."""
    read = {name for step in steps for name in values_read_by(step)}
    found = [i for i in graph.input if i.name not in known and i.name in read]
    if not found:
        raise ModelError(
            f"A network must take a tensor, got none that {shown} reads. Export it with its input "
            "as an argument."
        )
    return tuple(FileInput(i.name, i.type.tensor_type.elem_type, _tensor_sizes(i)) for i in found)


def _tensor_sizes(value: ValueInfoProto) -> tuple[int | None, ...] | None:
    """Return the sizes of a tensor; None for named, missing or non-positive sizes."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim)


def _graph_outputs(graph: GraphProto, shown: str) -> tuple[Output, ...]:
    """Return the outputs."""
    if not graph.output:
        raise ModelError(
            f"A network must return a tensor, got no output in {shown}. Export it with one."
        )
    real = (*REALS, TensorProto.UNDEFINED)
    return tuple(Output(o.name, o.type.tensor_type.elem_type in real) for o in graph.output)


def check_known_operators(program: OnnxProgram, shown: str, *, but: tuple[str, ...] = ()) -> None:
    """Raise an error that names every unknown operator, with a node for each.

    The names in `but` can still be decided later.

    Raises:
        ModelError: control flow, a custom domain, or an operator outside the table.
    """
    refused: dict[str, list[OnnxStep]] = {}
    for step in program.steps:
        check_interruption()
        undecided = step.operator in but and not step.domain
        if not undecided and not _is_known_operator(step, program.opset):
            name = f"{step.domain[:40]}.{step.operator[:40]}" if step.domain else step.operator[:40]
            refused.setdefault(name, []).append(step)
    if not refused:
        return
    listed = "; ".join(
        f"{name} ({len(steps)} nodes, the first is {steps[0].name[:80]!r})"
        if len(steps) > 1
        else f"{name} (the node {steps[0].name[:80]!r})"
        for name, steps in list(refused.items())[:10]
    )
    firsts = [steps[0] for steps in refused.values()]
    first = next((step for step in firsts if step.operator in CONTROL), firsts[0])
    raise ModelError(
        f"Every operator in {shown} must be one that can be quantized here, got {listed}. "
        f"{_operator_remedy(first)}"
    )


def _is_known_operator(step: OnnxStep, opset: int) -> bool:
    if step.domain == OWN:
        return True
    return not step.domain and step.operator in TABLE and _is_in_standard(step.operator, opset)


def _is_in_standard(operator: str, opset: int) -> bool:
    try:
        defs.get_schema(operator, opset, "")
    except defs.SchemaError:
        return False
    return True


def _operator_remedy(step: OnnxStep) -> str:
    if step.domain:
        return (
            f"Operators of the domain {step.domain[:60]!r} belong to another tool: export with "
            "standard operators only, before that tool's optimizer."
        )
    if step.operator in CONTROL:
        return (
            "Control flow that depends on values has no fixed graph: export with it decided "
            "(torch.onnx.export traces one path), or fix the input's shape. An EmbeddingBag of "
            "torch is a loop in ONNX: bring a network with one as a .pt2 file."
        )
    return REMEDIES.get(
        step.operator, "Cut it off with onnx.utils.extract_model, or write it in other operators."
    )
