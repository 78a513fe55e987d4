"""Compute what is constant once, in bounded memory, and take in the branches that are decided.

The simplifiers on the package index were tried first: given a file of 1 kB whose Expand repeats
one number a billion times they fill 4.6 GB or die, they fuse batch norms and rename nodes. Here
each step is tried on tensors without memory first, and is computed by the table of operators that
the network itself runs on.
"""

from collections import deque

from onnx import GraphProto

from model_io.errors import UnsafeFileError
from model_io.onnx_import.operators import TABLE
from model_io.onnx_import.program.estimate_memory import bytes_of, without_memory
from model_io.onnx_import.program.network import compute, title
from model_io.onnx_import.program.steps import OnnxProgram, OnnxStep, read_steps
from model_io.onnx_import.program.topological_order import in_order
from model_io.onnx_import.program.values import constant, to_tensor

MAX_BYTES_A_STEP = 256 * 1024**2
MAX_BYTES = 1024**3
"""The most that folded constants may hold together."""
_BY_VALUE = {"NonZero"}
"""Operators whose output's size depends on values, which tensors without memory have not."""


def fold(program: OnnxProgram, shown: str) -> int:
    """Compute constant steps in place and inline decided branches; return how many steps went.

    Raises:
        UnsafeFileError: a constant that would fill the memory.
        ModelError: an operator that cannot take its inputs.
    """
    before = len(program.steps)
    names = {step.name for step in program.steps}
    total = 0
    waiting, kept = deque(program.steps), []
    while waiting:
        step = waiting.popleft()
        if (branch := _decided(step, program)) is not None:
            inlined = _inline(step, branch, program, names, shown)
            before += len(inlined)
            waiting.extendleft(reversed(inlined))
        elif _is_constant(step, program):
            total += _compute(step, program, MAX_BYTES - total, shown)
        else:
            kept.append(step)
    program.steps = kept
    _drop_identities(program)
    program.prune()
    return before - len(program.steps)


def _is_constant(step: OnnxStep, program: OnnxProgram) -> bool:
    """Whether all that a step reads is constant, and its result the same at every run."""
    if step.operator not in TABLE or step.domain:
        return False
    branches = any(isinstance(value, GraphProto) for value in step.attributes.values())
    return not branches and all(not n or n in program.constants for n in step.inputs)


def _compute(step: OnnxStep, program: OnnxProgram, left: int, shown: str) -> int:
    """Put a step's results among the constants; return the bytes they hold."""
    entry = TABLE[step.operator]
    values = [
        constant(program.constants[n], setting=i in entry.settings) if n else None
        for i, n in enumerate(step.inputs)
    ]
    if step.operator not in _BY_VALUE:
        with without_memory():
            size = bytes_of(compute(step, values, program.opset))
        if size > min(MAX_BYTES_A_STEP, left):
            raise UnsafeFileError(
                f"The constants of {shown} must hold at most {MAX_BYTES_A_STEP} bytes each when "
                f"computed, got {size} from {title(step)}. Export without it."
            )
    results = compute(step, values, program.opset)
    for name, result in zip(step.outputs, results, strict=False):
        if name and result is not None:
            program.constants[name] = to_tensor(result).contiguous()
    return bytes_of(results)


def _decided(step: OnnxStep, program: OnnxProgram) -> GraphProto | None:
    """Return the branch of an If whose condition is constant."""
    if step.operator != "If" or step.domain or step.inputs[0] not in program.constants:
        return None
    condition = bool(program.constants[step.inputs[0]].reshape(-1)[:1].any())
    branch = step.attributes.get("then_branch" if condition else "else_branch")
    return branch if isinstance(branch, GraphProto) else None


def _inline(
    step: OnnxStep, branch: GraphProto, program: OnnxProgram, names: set[str], shown: str
) -> list[OnnxStep]:
    """Return the steps of a branch that write the step's outputs."""
    steps, constants = read_steps(branch, shown, names)
    program.constants.update(constants)
    result = [
        OnnxStep(f"{step.name}.{o.name}", "Identity", (o.name,), (output,))
        for o, output in zip(branch.output, step.outputs, strict=False)
    ]
    written = {name for s in steps for name in s.outputs}
    outside = {name for s in [*steps, *result] for name in s.inputs} - written
    return in_order([*steps, *result], outside | set(program.constants), shown)


def _drop_identities(program: OnnxProgram) -> None:
    """Let readers of a copy read the original; dropouts are copies."""
    same = {
        step.outputs[0]: step.inputs[0]
        for step in program.steps
        if step.operator in ("Identity", "Dropout")
        and not any(step.outputs[1:])
        and not any(step.inputs[2:])  # a third one may tell a dropout to train
    }
    program.alias(same)
    program.steps = [s for s in program.steps if s.outputs[0] not in same]


def cancel_transposes(program: OnnxProgram) -> int:
    """Drop pairs of transposes that give the first order back; return how many pairs went."""
    writers = program.producers()
    same: dict[str, str] = {}
    for step in program.steps:
        order = step.attributes.get("perm") if step.operator == "Transpose" else None
        before = writers.get(step.inputs[0]) if order else None
        if order is None or before is None or before.operator != "Transpose":
            continue
        first = before.attributes.get("perm")
        if first and len(first) == len(order) and [first[a] for a in order] == sorted(order):
            same[step.outputs[0]] = before.inputs[0]
    program.alias(same)
    program.steps = [s for s in program.steps if s.outputs[0] not in same]
    program.prune()
    return len(same)
