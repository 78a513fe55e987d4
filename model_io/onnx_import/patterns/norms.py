"""How exporters write layer, RMS and group normalization in loose nodes."""

from torch import Tensor

from model_io.onnx_import.patterns.recognise import Match, Pattern, Sight
from model_io.onnx_import.program.steps import OnnxStep


def layer_norm(sight: Sight, step: OnnxStep) -> Match | None:
    """Find (x - mean) / sqrt(variance + eps), with or without a scale and a shift."""
    shift, scale, core, steps = _affine(sight, step)
    if core is None or core.operator not in ("Div", "Mul"):
        return None
    root = _root(sight, core)
    if root is None:
        return None
    centred, epsilon, square, root_steps = root
    minus = sight.step(centred, "Sub")
    inner = sight.step(square, "Sub")
    if minus is None or inner is None or minus.inputs != inner.inputs:
        return None
    mean = sight.step(minus.inputs[1], "ReduceMean")
    if mean is None or mean.inputs[0] != minus.inputs[0] or not _last_axis(sight, mean):
        return None
    found = list({s.name: s for s in [*steps, core, *root_steps, minus, inner, mean]}.values())
    return _normal("LayerNormalization", sight, minus.inputs[0], (scale, shift), epsilon, found)


def rms_norm(sight: Sight, step: OnnxStep) -> Match | None:
    """Find x / sqrt(mean(x * x) + eps) * scale."""
    shift, scale, core, steps = _affine(sight, step)
    if shift or not scale or core is None or core.operator not in ("Div", "Mul"):
        return None
    root = _root(sight, core)
    if root is None or root[0] != root[2]:
        return None
    x, epsilon, _, root_steps = root
    return _normal("RMSNormalization", sight, x, (scale, ""), epsilon, [*steps, core, *root_steps])


def _normal(
    operator: str,
    sight: Sight,
    x: str,
    weights: tuple[str, str],
    epsilon: float,
    steps: list[OnnxStep],
) -> Match | None:
    """Return the match; without a scale there is no layer to make, so that a one is put there."""
    scale, shift = weights
    held = {n: sight.program.constants[n] for n in weights if n}
    if not scale or any(v.dim() != 1 for v in held.values()):
        return None
    if shift and held[shift].shape != held[scale].shape:
        return None
    inputs = (x, scale, shift) if shift else (x, scale)
    return operator, inputs, {"axis": -1, "epsilon": epsilon}, steps


def _affine(sight: Sight, step: OnnxStep) -> tuple[str, str, OnnxStep | None, list[OnnxStep]]:
    """Return (shift, scale, what they are applied to, steps) of x * scale + shift."""
    shift = scale = ""
    steps: list[OnnxStep] = []
    core: OnnxStep | None = step
    if core is not None and core.operator == "Add":
        shift, core, steps = _with_constant(sight, core, steps)
    if core is not None and core.operator == "Mul":
        name, inner, more = _with_constant(sight, core, steps)
        if inner is not None and name:
            scale, core, steps = name, inner, more
    return shift, scale, core, steps


def _with_constant(
    sight: Sight, step: OnnxStep, steps: list[OnnxStep]
) -> tuple[str, OnnxStep | None, list[OnnxStep]]:
    """Return (constant, what writes the other input, steps) of a sum or product."""
    for rest, constant in sight.split(step):
        value: Tensor | None = sight.program.constants.get(constant)
        if value is not None and value.numel() > 1:
            return constant, sight.writers.get(rest), [*steps, step]
    return "", None, steps


def _root(sight: Sight, core: OnnxStep) -> tuple[str, float, str, list[OnnxStep]] | None:
    """Return (numerator, eps, what is squared, steps) of y / sqrt(mean(z^2) + eps)."""
    for numerator, below in sight.split(core) if core.operator == "Mul" else [core.inputs[:2]]:
        steps: list[OnnxStep] = []
        if core.operator == "Mul":
            inverse = sight.step(below, "Reciprocal")
            if inverse is None:
                continue
            steps.append(inverse)
            below = inverse.inputs[0]  # noqa: PLW2901
        found = _deviation(sight, below)
        if found is not None:
            epsilon, square, more = found
            return numerator, epsilon, square, [*steps, *more]
    return None


def _deviation(sight: Sight, name: str) -> tuple[float, str, list[OnnxStep]] | None:
    """Return (eps, z, steps) of sqrt(mean(z^2) + eps)."""
    root = sight.step(name, "Sqrt")
    total = None if root is None else sight.step(root.inputs[0], "Add")
    if root is None or total is None:
        return None
    for rest, constant in sight.split(total):
        epsilon, mean = sight.number(constant), sight.step(rest, "ReduceMean")
        if epsilon is None or mean is None or not _last_axis(sight, mean):
            continue
        square = sight.step(mean.inputs[0], "Pow", "Mul")
        if square is None:
            continue
        twice = square.inputs[0] == square.inputs[1]
        power = square.operator == "Pow" and sight.is_number(square.inputs[1], 2)
        if power or (square.operator == "Mul" and twice):
            return epsilon, square.inputs[0], [root, total, mean, square]
    return None


def _last_axis(sight: Sight, mean: OnnxStep) -> bool:
    """Whether a mean is over the last axis alone, and keeps it."""
    axes = mean.attributes.get("axes")
    if axes is None and len(mean.inputs) > 1 and mean.inputs[1] in sight.program.constants:
        axes = sight.program.constants[mean.inputs[1]].tolist()
    last = [sight.rank(mean.inputs[0]) - 1]
    return axes in ([-1], last) and bool(mean.attributes.get("keepdims", 1))


def group_norm(sight: Sight, step: OnnxStep) -> Match | None:
    """Find reshape, instance norm without effect of its own, reshape back, scale and shift."""
    shift, scale, core, steps = _affine(sight, step)
    if not (shift and scale) or core is None or core.operator != "Reshape":
        return None
    norm = sight.step(core.inputs[0], "InstanceNormalization")
    first = None if norm is None else sight.step(norm.inputs[0], "Reshape")
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


NORMS: tuple[Pattern, ...] = (layer_norm, rms_norm, group_norm)
