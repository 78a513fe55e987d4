"""Linear layers, and convolutions with a separate bias, as exporters write them."""

from torch import Tensor

from model_io.onnx_import.patterns.recognise import Match, Pattern, Sight
from model_io.onnx_import.program.steps import OnnxStep


def find_linear_layer(sight: Sight, step: OnnxStep) -> Match | None:
    """Find MatMul by a constant matrix, with or without a bias added, and Gemm."""
    matmul, bias, steps = step, "", [step]
    if step.operator == "Add":
        for product, constant in sight.both_input_orders(step):
            inner = sight.step_that_writes(product, "MatMul")
            if inner is not None and constant in sight.program.constants:
                matmul, bias, steps = inner, constant, [step, inner]
    if matmul.operator == "Gemm":
        return _linear_from_gemm(sight, matmul)
    weight = sight.program.constants.get(matmul.inputs[1]) if matmul.operator == "MatMul" else None
    if weight is None or weight.dim() != 2 or matmul.inputs[0] in sight.program.constants:
        return None
    inputs: tuple[str, ...] = (
        matmul.inputs[0],
        _store_changed_constant(sight, matmul.inputs[1], weight.T, "transposed"),
    )
    if bias:
        added = _output_bias_name(sight, bias, weight.shape[1])
        if added is None:
            return None
        inputs = (*inputs, added)
    return "Linear", inputs, {}, steps


def find_convolution_bias(sight: Sight, step: OnnxStep) -> Match | None:
    """Find a convolution without bias, and a constant added to the channels."""
    for product, constant in sight.both_input_orders(step) if step.operator == "Add" else ():
        conv = sight.step_that_writes(product, "Conv", "ConvTranspose")
        value = sight.program.constants.get(constant)
        if conv is None or value is None or len([n for n in conv.inputs if n]) != 2:
            continue
        channels, rank = (
            sight.shapes.get(conv.outputs[0], (0, 0))[1],
            sight.rank_of_value(conv.outputs[0]),
        )
        full = (1,) * (rank - value.dim()) + tuple(value.shape)
        if full == (1, channels, *(1,) * (rank - 2)):
            bias = _store_changed_constant(sight, constant, value.reshape(-1), "flat")
            return conv.operator, (*conv.inputs[:2], bias), conv.attributes, [step, conv]
    return None


def _output_bias_name(sight: Sight, name: str, outputs: int) -> str | None:
    """Return the name of a constant with one value for each output, else None."""
    value = sight.program.constants[name]
    if value.numel() != outputs or value.shape[-1:] != (outputs,):
        return None
    return (
        name
        if value.dim() == 1
        else _store_changed_constant(sight, name, value.reshape(-1), "flat")
    )


def _linear_from_gemm(sight: Sight, step: OnnxStep) -> Match | None:
    """Return a Gemm as a linear layer; weight and bias absorb the factors."""
    constants = sight.program.constants
    weight = constants.get(step.inputs[1])
    get = step.attributes.get
    if weight is None or step.inputs[0] in constants or get("transA", 0):
        return None
    alpha, beta = get("alpha", 1.0), get("beta", 1.0)
    value = (weight if get("transB", 0) else weight.T) * alpha
    plain = get("transB", 0) and alpha == 1
    name = (
        step.inputs[1]
        if plain
        else _store_changed_constant(sight, step.inputs[1], value, f"linear {alpha}")
    )
    inputs: tuple[str, ...] = (step.inputs[0], name)
    if len(step.inputs) > 2 and step.inputs[2]:
        held = constants.get(step.inputs[2])
        if held is None or held.numel() not in (1, len(value)) or held.shape[:-1].numel() != 1:
            return None
        full = (held.reshape(-1) * beta).expand(len(value))
        simple = beta == 1 and held.shape == full.shape
        bias = (
            step.inputs[2]
            if simple
            else _store_changed_constant(sight, step.inputs[2], full, f"bias {beta}")
        )
        inputs = (*inputs, bias)
    return "Linear", inputs, {}, [step]


def _store_changed_constant(sight: Sight, name: str, value: Tensor, what: str) -> str:
    """Store a changed constant of any shape and return the name; equal changes share one copy."""
    new = f"{name} ({what})"
    sight.program.constants.setdefault(new, value.contiguous().clone())
    return new


LAYERS: tuple[Pattern, ...] = (find_linear_layer, find_convolution_bias)
