"""Transposes that undo one another, as converters between NHWC and NCHW leave them."""

from model_io.onnx_import.program.steps import Program


def cancel_transposes(program: Program) -> int:
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
