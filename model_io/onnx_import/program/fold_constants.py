"""Compute constants once, in bounded memory, and inline decided branches.

Existing simplifiers failed: for a file of 1 kB with an Expand that repeats a number a billion
times the simplifiers fill 4.6 GB or crash, and the simplifiers fuse batch norms and rename nodes.
Here a step runs on tensors without memory first, then with the operator table of the network.
"""

from collections import deque

from onnx import GraphProto

from model_io.errors import UnsafeFileError
from model_io.onnx_import.operators import TABLE
from model_io.onnx_import.program.estimate_memory import bytes_of_results, without_memory
from model_io.onnx_import.program.network import compute_step, step_title
from model_io.onnx_import.program.steps import (
    OnnxProgram,
    OnnxStep,
    read_graph_steps,
    values_read_by,
    values_read_by_branches,
)
from model_io.onnx_import.program.topological_order import order_steps
from model_io.onnx_import.program.values import constant_to_value, tensor_from_value
from model_io.onnx_import.reading.subgraphs import branch_with_free_names

MAX_BYTES_A_STEP = 256 * 1024**2
MAX_BYTES = 1024**3
"""The most that folded constants may hold together."""
_BY_VALUE = {"NonZero"}
"""Operators whose output's size depends on values, which tensors without memory have not."""


def fold_constant_steps(program: OnnxProgram, shown: str) -> int:
    """Compute constant steps in place and inline decided branches; return the folded steps' count.

    Raises:
        UnsafeFileError: a constant would fill the memory.
        ModelError: an operator refuses the inputs.
    """
    before = len(program.steps)
    names = {step.name for step in program.steps}
    values = {*program.constants, *program.input_names}
    values |= {name for step in program.steps for name in step.outputs}
    total = 0
    waiting, kept = deque(program.steps), []
    while waiting:
        step = waiting.popleft()
        if (branch := _decided_branch(step, program)) is not None:
            own = branch_with_free_names(branch, values)
            inlined = _inline_branch(step, own, program, names, shown)
            values |= {*program.constants, *(name for one in inlined for name in one.outputs)}
            before += len(inlined)
            waiting.extendleft(reversed(inlined))
        elif _is_constant_step(step, program):
            total += _compute_constant_step(step, program, MAX_BYTES - total, shown)
        else:
            kept.append(step)
    program.steps = kept
    _drop_identity_steps(program)
    program.drop_unused_steps()
    return before - len(program.steps)


def _is_constant_step(step: OnnxStep, program: OnnxProgram) -> bool:
    """Whether the inputs of a step are constant, and repeated runs give equal results."""
    if step.operator not in TABLE or step.domain:
        return False
    branches = any(isinstance(value, GraphProto) for value in step.attributes.values())
    return not branches and all(not n or n in program.constants for n in step.inputs)


def _compute_constant_step(step: OnnxStep, program: OnnxProgram, left: int, shown: str) -> int:
    """Add a step's results to the constants and return the bytes of the results."""
    entry = TABLE[step.operator]
    values = [
        constant_to_value(program.constants[n], setting=i in entry.settings) if n else None
        for i, n in enumerate(step.inputs)
    ]
    if step.operator not in _BY_VALUE:
        with without_memory():
            size = bytes_of_results(compute_step(step, values, program.opset))
        if size > min(MAX_BYTES_A_STEP, left):
            raise UnsafeFileError(
                f"The constants of {shown} must hold at most {MAX_BYTES_A_STEP} bytes each when "
                f"computed, got {size} from {step_title(step)}. Export without it."
            )
    results = compute_step(step, values, program.opset)
    for name, result in zip(step.outputs, results, strict=False):
        if name and result is not None:
            program.constants[name] = tensor_from_value(result).contiguous()
    return bytes_of_results(results)


def _decided_branch(step: OnnxStep, program: OnnxProgram) -> GraphProto | None:
    """Return the branch of an If with a constant condition."""
    if step.operator != "If" or step.domain or step.inputs[0] not in program.constants:
        return None
    condition = bool(program.constants[step.inputs[0]].reshape(-1)[:1].any())
    branch = step.attributes.get("then_branch" if condition else "else_branch")
    return branch if isinstance(branch, GraphProto) else None


def _inline_branch(
    step: OnnxStep, branch: GraphProto, program: OnnxProgram, names: set[str], shown: str
) -> list[OnnxStep]:
    """Return the steps of a branch, with the outputs of the If."""
    steps, constants = read_graph_steps(branch, shown, names)
    program.constants.update(constants)
    result = [
        OnnxStep(f"{step.name}.{o.name}", "Identity", (o.name,), (output,))
        for o, output in zip(branch.output, step.outputs, strict=False)
    ]
    written = {name for s in steps for name in s.outputs}
    outside = {name for s in [*steps, *result] for name in values_read_by(s)} - written
    return order_steps([*steps, *result], outside | set(program.constants), shown)


def _drop_identity_steps(program: OnnxProgram) -> None:
    """Let readers of a copy read the original; dropouts are copies."""
    inside = values_read_by_branches(program.steps)
    same = {
        step.outputs[0]: step.inputs[0]
        for step in program.steps
        if step.outputs[0] not in inside
        and step.operator in ("Identity", "Dropout")
        and not any(step.outputs[1:])
        and not any(step.inputs[2:])  # a third one may tell a dropout to train
    }
    program.alias_values(same)
    program.steps = [s for s in program.steps if s.outputs[0] not in same]


def cancel_transposes(program: OnnxProgram) -> int:
    """Remove pairs of transposes that restore the order; return the number of removed pairs."""
    writers = program.producers_by_value()
    inside = values_read_by_branches(program.steps)
    same: dict[str, str] = {}
    for step in program.steps:
        order = step.attributes.get("perm") if step.operator == "Transpose" else None
        before = writers.get(step.inputs[0]) if order else None
        if order is None or before is None or before.operator != "Transpose":
            continue
        if step.outputs[0] in inside:
            continue
        first = before.attributes.get("perm")
        if first and len(first) == len(order) and [first[a] for a in order] == sorted(order):
            same[step.outputs[0]] = before.inputs[0]
    program.alias_values(same)
    program.steps = [s for s in program.steps if s.outputs[0] not in same]
    program.drop_unused_steps()
    return len(same)
