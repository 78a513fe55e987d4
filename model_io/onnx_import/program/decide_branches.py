"""Decide branches with a condition that follows from the input's shape."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from model_io.input_specs import InputSpec
from model_io.onnx_import.program.estimate_memory import without_memory
from model_io.onnx_import.program.fold_constants import fold_constant_steps
from model_io.onnx_import.program.network import OnnxNetwork, Results
from model_io.onnx_import.program.steps import OnnxProgram, OnnxStep

_MOST_BRANCHES = 1000


def decide_branches(
    program: OnnxProgram, batches: Sequence[int], inputs: Sequence[InputSpec], shown: str
) -> int:
    """Inline every If with equal decisions for the batch sizes and return the folded steps' count.

    An If that depends on values or on the batch stays in place; a later check refuses the If.
    """
    folded = 0
    for _ in range(_MOST_BRANCHES):
        step = next((s for s in program.steps if s.operator == "If" and not s.domain), None)
        if step is None:
            break
        before = _program_up_to(program, step)
        if before is None:
            break
        answers = [_known_condition(before, batch, inputs) for batch in batches]
        if answers[0] is None or any(answer != answers[0] for answer in answers):
            break
        name = f"{step.inputs[0]} (decided)"
        program.constants[name] = torch.tensor(answers[0])
        program.steps = [
            replace(s, inputs=(name, *s.inputs[1:])) if s is step else s for s in program.steps
        ]
        folded += fold_constant_steps(program, shown)
    return folded


def _program_up_to(program: OnnxProgram, step: OnnxStep) -> OnnxProgram | None:
    """Return the part of a program that computes a step's condition; None if the part has an If."""
    part = replace(
        program,
        constants=dict(program.constants),
        output=step.inputs[0],
        same=dict(program.same),
        more_outputs=(),
    )
    part.drop_unused_steps()
    return None if any(s.operator == "If" for s in part.steps) else part


def _known_condition(part: OnnxProgram, batch: int, inputs: Sequence[InputSpec]) -> bool | None:
    """Return a condition that needs no values; else None."""
    found: list[bool] = []

    def watch(step: OnnxStep, results: Results) -> None:
        for name, result in zip(step.outputs, results, strict=False):
            if name == part.output and isinstance(result, np.ndarray):
                found.extend(bool(value) for value in result.ravel().tolist()[:1])

    network = OnnxNetwork(part)
    with torch.no_grad(), without_memory():
        network.run_watched([one.zero_batch(batch) for one in inputs], watch)
    return found[0] if found else None
