"""How exporters write activation functions in loose nodes."""

import math

from model_io.onnx_import.patterns.recognise import Match, Pattern, Sight
from model_io.onnx_import.program.steps import OnnxStep


def find_hard_swish(sight: Sight, step: OnnxStep) -> Match | None:
    """Find x * clip(x + 3, 0, 6) / 6, in every order, and x * hardsigmoid(x)."""
    if step.operator not in ("Mul", "Div"):
        return None
    factors, number, steps = sight.chain_of_products(step)
    for x, other in (factors, factors[::-1]) if len(factors) == 2 else ():
        gate = sight.step_that_writes(other, "HardSigmoid")
        if gate is not None and gate.inputs[0] == x and number == 1 and _divides_by_six(gate):
            return "HardSwish", (x,), {}, [*steps, gate]
        bounded = _six_steps(sight, other)
        if bounded is not None and bounded[0] == x and math.isclose(number, 1 / 6, rel_tol=1e-3):
            return "HardSwish", (x,), {}, [*steps, *bounded[1]]
    return None


def find_hard_sigmoid(sight: Sight, step: OnnxStep) -> Match | None:
    """Find clip(x + 3, 0, 6) / 6."""
    if step.operator not in ("Mul", "Div"):
        return None
    factors, number, steps = sight.chain_of_products(step)
    if len(factors) != 1 or not math.isclose(number, 1 / 6, rel_tol=1e-3):
        return None
    bounded = _six_steps(sight, factors[0])
    if bounded is None:
        return None
    return "HardSigmoid", (bounded[0],), {"alpha": 1 / 6, "beta": 0.5}, [*steps, *bounded[1]]


def _divides_by_six(step: OnnxStep) -> bool:
    alpha, beta = step.attributes.get("alpha", 0.2), step.attributes.get("beta", 0.5)
    return math.isclose(alpha, 1 / 6, rel_tol=1e-3) and math.isclose(beta, 0.5, rel_tol=1e-3)


def _six_steps(sight: Sight, name: str) -> tuple[str, list[OnnxStep]] | None:
    """Return (x, steps) where the value is clip(x + 3, 0, 6)."""
    clip = sight.step_that_writes(name, "Clip")
    if clip is not None and _clip_limits(sight, clip) == (0, 6):
        below, steps = clip.inputs[0], [clip]
    else:
        least = sight.step_that_writes(name, "Min")
        relu = None if least is None else _min_of_relu(sight, least)
        if least is None or relu is None:
            return None
        below, steps = relu.inputs[0], [least, relu]
    inner = sight.find_sum_with(below, 3)
    return None if inner is None else (inner[0], [*steps, inner[1]])


def _min_of_relu(sight: Sight, step: OnnxStep) -> OnnxStep | None:
    for rest, constant in sight.both_input_orders(step) if len(step.inputs) == 2 else ():
        if sight.is_constant_number(constant, 6):
            return sight.step_that_writes(rest, "Relu")
    return None


def _clip_limits(sight: Sight, clip: OnnxStep) -> tuple[float | None, float | None]:
    if "min" in clip.attributes or "max" in clip.attributes:
        return clip.attributes.get("min"), clip.attributes.get("max")
    names = (*clip.inputs, "", "")
    return sight.constant_number(names[1]), sight.constant_number(names[2])


def find_swish(sight: Sight, step: OnnxStep) -> Match | None:
    """Find x * sigmoid(x), and x * tanh(softplus(x))."""
    if step.operator != "Mul":
        return None
    for x, other in sight.both_input_orders(step):
        gate = sight.step_that_writes(other, "Sigmoid")
        if gate is not None and gate.inputs[0] == x:
            return "Swish", (x,), {}, [step, gate]
        tanh = sight.step_that_writes(other, "Tanh")
        plus = None if tanh is None else sight.step_that_writes(tanh.inputs[0], "Softplus")
        if tanh is not None and plus is not None and plus.inputs[0] == x:
            return "Mish", (x,), {}, [step, tanh, plus]
    return None


def find_relu(sight: Sight, step: OnnxStep) -> Match | None:
    """Find the maximum of x and zeros, with a zero for each channel."""
    for x, zeros in (
        sight.both_input_orders(step) if step.operator == "Max" and len(step.inputs) == 2 else ()
    ):
        value = sight.program.constants.get(zeros)
        same = sight.shapes.get(x) is not None and sight.shapes[x] == sight.shapes[step.outputs[0]]
        if value is not None and same and not bool(value.any()):
            return "Relu", (x,), {}, [step]
    return None


def find_gelu(sight: Sight, step: OnnxStep) -> Match | None:
    """Find x / 2 * (1 + erf(x / sqrt 2)), and the approximation by tanh."""
    if step.operator not in ("Mul", "Div"):
        return None
    factors, number, steps = sight.chain_of_products(step)
    for x, other in (factors, factors[::-1]) if len(factors) == 2 else ():
        one = sight.find_sum_with(other, 1)
        gate = None if one is None else sight.step_that_writes(one[0], "Erf", "Tanh")
        if one is None or gate is None or not math.isclose(number, 0.5, rel_tol=1e-3):
            continue
        if gate.operator == "Erf":
            inner = _scaled_value(sight, gate.inputs[0], math.sqrt(0.5))
            if inner is not None and inner[0] == x:
                return "Gelu", (x,), {}, [*steps, one[1], gate, *inner[1]]
        elif (cubic := _gelu_tanh_argument(sight, gate.inputs[0], x)) is not None:
            kind = {"approximate": "tanh"}
            return "Gelu", (x,), kind, [*steps, one[1], gate, *cubic]
    return None


def _scaled_value(sight: Sight, name: str, factor: float) -> tuple[str, list[OnnxStep]] | None:
    """Return (x, steps) if the value is x times `factor`."""
    step = sight.step_that_writes(name, "Mul", "Div")
    if step is None:
        return None
    factors, number, steps = sight.chain_of_products(step)
    right = len(factors) == 1 and math.isclose(number, factor, rel_tol=1e-3)
    return (factors[0], steps) if right else None


def _gelu_tanh_argument(sight: Sight, name: str, x: str) -> list[OnnxStep] | None:
    """Return the steps of sqrt(2 / pi) * (x + 0.044715 x^3)."""
    outer = _scaled_value(sight, name, math.sqrt(2 / math.pi))
    total = None if outer is None else sight.step_that_writes(outer[0], "Add")
    if outer is None or total is None:
        return None
    for plain, power in sight.both_input_orders(total):
        cube = sight.step_that_writes(power, "Mul")
        if plain != x or cube is None:
            continue
        factors, number, steps = sight.chain_of_products(cube)
        if not math.isclose(number, 0.044715, rel_tol=2e-3):
            continue
        if factors == [x, x, x]:
            return [*outer[1], total, *steps]
        third = sight.step_that_writes(factors[0], "Pow") if len(factors) == 1 else None
        if (
            third is not None
            and third.inputs[0] == x
            and sight.is_constant_number(third.inputs[1], 3)
        ):
            return [*outer[1], total, *steps, third]
    return None


ACTIVATIONS: tuple[Pattern, ...] = (
    find_relu,
    find_hard_swish,
    find_hard_sigmoid,
    find_gelu,
    find_swish,
)
