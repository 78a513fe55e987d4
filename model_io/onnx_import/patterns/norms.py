"""How exporters write layer, RMS and group normalization in loose nodes."""

from torch import Tensor

from model_io.onnx_import.patterns.recognise import Match, Pattern, Sight
from model_io.onnx_import.program.steps import OnnxStep


def find_layer_norm(sight: Sight, step: OnnxStep) -> Match | None:
    """Find (x - mean) / sqrt(variance + eps), with or without a scale and a shift."""
    shift, scale, core, steps = _scale_and_shift(sight, step)
    if core is None or core.operator not in ("Div", "Mul"):
        return None
    root = _root_mean_square(sight, core)
    if root is None:
        return None
    centred, epsilon, square, root_steps = root
    minus = sight.step_that_writes(centred, "Sub")
    inner = sight.step_that_writes(square, "Sub")
    if minus is None or inner is None or minus.inputs != inner.inputs:
        return None
    mean = sight.step_that_writes(minus.inputs[1], "ReduceMean")
    if mean is None or mean.inputs[0] != minus.inputs[0] or not _is_last_axis_mean(sight, mean):
        return None
    found = list({s.name: s for s in [*steps, core, *root_steps, minus, inner, mean]}.values())
    return _norm_match("LayerNormalization", sight, minus.inputs[0], (scale, shift), epsilon, found)


def find_rms_norm(sight: Sight, step: OnnxStep) -> Match | None:
    """Find x / sqrt(mean(x * x) + eps) * scale."""
    shift, scale, core, steps = _scale_and_shift(sight, step)
    if shift or not scale or core is None or core.operator not in ("Div", "Mul"):
        return None
    root = _root_mean_square(sight, core)
    if root is None or root[0] != root[2]:
        return None
    x, epsilon, _, root_steps = root
    return _norm_match(
        "RMSNormalization", sight, x, (scale, ""), epsilon, [*steps, core, *root_steps]
    )


def _norm_match(
    operator: str,
    sight: Sight,
    x: str,
    weights: tuple[str, str],
    epsilon: float,
    steps: list[OnnxStep],
) -> Match | None:
    """Return the match; a norm without a scale gets a scale of one, since a layer needs a scale."""
    scale, shift = weights
    held = {n: sight.program.constants[n] for n in weights if n}
    if not scale or any(v.dim() != 1 for v in held.values()):
        return None
    if shift and held[shift].shape != held[scale].shape:
        return None
    inputs = (x, scale, shift) if shift else (x, scale)
    return operator, inputs, {"axis": -1, "epsilon": epsilon}, steps


def _scale_and_shift(
    sight: Sight, step: OnnxStep
) -> tuple[str, str, OnnxStep | None, list[OnnxStep]]:
    """Return (shift, scale, scaled value, steps) of x * scale + shift."""
    shift = scale = ""
    steps: list[OnnxStep] = []
    core: OnnxStep | None = step
    if core is not None and core.operator == "Add":
        shift, core, steps = _constant_operand(sight, core, steps)
    if core is not None and core.operator == "Mul":
        name, inner, more = _constant_operand(sight, core, steps)
        if inner is not None and name:
            scale, core, steps = name, inner, more
    return shift, scale, core, steps


def _constant_operand(
    sight: Sight, step: OnnxStep, steps: list[OnnxStep]
) -> tuple[str, OnnxStep | None, list[OnnxStep]]:
    """Return (constant, producer of the other input, steps) of a sum or product."""
    for rest, constant in sight.both_input_orders(step):
        value: Tensor | None = sight.program.constants.get(constant)
        if value is not None and value.numel() > 1:
            return constant, sight.writers.get(rest), [*steps, step]
    return "", None, steps


def _root_mean_square(
    sight: Sight, core: OnnxStep
) -> tuple[str, float, str, list[OnnxStep]] | None:
    """Return (numerator, eps, squared value, steps) of y / sqrt(mean(z^2) + eps)."""
    for numerator, below in (
        sight.both_input_orders(core) if core.operator == "Mul" else [core.inputs[:2]]
    ):
        steps: list[OnnxStep] = []
        if core.operator == "Mul":
            inverse = sight.step_that_writes(below, "Reciprocal")
            if inverse is None:
                continue
            steps.append(inverse)
            below = inverse.inputs[0]  # noqa: PLW2901
        found = _standard_deviation(sight, below)
        if found is not None:
            epsilon, square, more = found
            return numerator, epsilon, square, [*steps, *more]
    return None


def _standard_deviation(sight: Sight, name: str) -> tuple[float, str, list[OnnxStep]] | None:
    """Return (eps, z, steps) of sqrt(mean(z^2) + eps)."""
    root = sight.step_that_writes(name, "Sqrt")
    total = None if root is None else sight.step_that_writes(root.inputs[0], "Add")
    if root is None or total is None:
        return None
    for rest, constant in sight.both_input_orders(total):
        epsilon, mean = sight.constant_number(constant), sight.step_that_writes(rest, "ReduceMean")
        if epsilon is None or mean is None or not _is_last_axis_mean(sight, mean):
            continue
        square = sight.step_that_writes(mean.inputs[0], "Pow", "Mul")
        if square is None:
            continue
        twice = square.inputs[0] == square.inputs[1]
        power = square.operator == "Pow" and sight.is_constant_number(square.inputs[1], 2)
        if power or (square.operator == "Mul" and twice):
            return epsilon, square.inputs[0], [root, total, mean, square]
    return None


def _is_last_axis_mean(sight: Sight, mean: OnnxStep) -> bool:
    """Whether a mean reduces only the last axis and keeps the axis."""
    axes = mean.attributes.get("axes")
    if axes is None and len(mean.inputs) > 1 and mean.inputs[1] in sight.program.constants:
        axes = sight.program.constants[mean.inputs[1]].tolist()
    last = [sight.rank_of_value(mean.inputs[0]) - 1]
    return axes in ([-1], last) and bool(mean.attributes.get("keepdims", 1))


def find_group_norm(sight: Sight, step: OnnxStep) -> Match | None:
    """Find reshape, instance norm without scale and shift, reshape back, scale and shift."""
    shift, scale, core, steps = _scale_and_shift(sight, step)
    if not (shift and scale) or core is None or core.operator != "Reshape":
        return None
    norm = sight.step_that_writes(core.inputs[0], "InstanceNormalization")
    first = None if norm is None else sight.step_that_writes(norm.inputs[0], "Reshape")
    constants = sight.program.constants
    if norm is None or first is None or first.inputs[1] not in constants:
        return None
    x, shape = first.inputs[0], sight.shapes.get(first.inputs[0], ())
    if not shape or sight.shapes.get(core.outputs[0]) != shape:
        return None
    sizes = constants[first.inputs[1]].tolist()
    ones, zeros = constants.get(norm.inputs[1]), constants.get(norm.inputs[2])
    if len(sizes) != 3 or ones is None or zeros is None or bool((ones != 1).any() | zeros.any()):
        return None
    held = [constants[name] for name in (scale, shift)]
    if (
        any(v.numel() != v.shape[0] or v.dim() != len(shape) - 1 for v in held)
        or sizes[1] != ones.numel()
    ):
        return None
    names = []
    for name, value in zip((scale, shift), held, strict=True):
        names.append(f"{name} (flat)")
        constants.setdefault(names[-1], value.reshape(-1).clone())
    kind = {"num_groups": sizes[1], "epsilon": norm.attributes.get("epsilon", 1e-5)}
    return "GroupNormalization", (x, *names), kind, [*steps, core, norm, first]


NORMS: tuple[Pattern, ...] = (find_layer_norm, find_rms_norm, find_group_norm)
