"""Decide branches whose condition follows from the shape of the input."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from model_io.input_specs import InputSpec
from model_io.onnx_import.program.estimate_memory import without_memory
from model_io.onnx_import.program.fold_constants import fold
from model_io.onnx_import.program.network import OnnxNetwork, Results
from model_io.onnx_import.program.steps import OnnxProgram, OnnxStep

_MOST_BRANCHES = 1000


def decide_branches(
    program: OnnxProgram, batches: Sequence[int], inputs: Sequence[InputSpec], shown: str
) -> int:
    """Take in every If that is decided alike for all these batch sizes; return the steps folded.

    An If that depends on values, or on the batch, stays where it is and is refused later.
    """
    folded = 0
    for _ in range(_MOST_BRANCHES):
        step = next((s for s in program.steps if s.operator == "If" and not s.domain), None)
        if step is None:
            break
        before = _up_to(program, step)
        if before is None:
            break
        answers = [_condition(before, batch, inputs) for batch in batches]
        if answers[0] is None or any(answer != answers[0] for answer in answers):
            break
        name = f"{step.inputs[0]} (decided)"
        program.constants[name] = torch.tensor(answers[0])
        program.steps = [
            replace(s, inputs=(name, *s.inputs[1:])) if s is step else s for s in program.steps
        ]
        folded += fold(program, shown)
    return folded


def _up_to(program: OnnxProgram, step: OnnxStep) -> OnnxProgram | None:
    """Return the part of a program that computes a step's condition; None if it has an If too."""
    part = replace(
        program,
        constants=dict(program.constants),
        output=step.inputs[0],
        same=dict(program.same),
        more_outputs=(),
    )
    part.prune()
    return None if any(s.operator == "If" for s in part.steps) else part


def _condition(part: OnnxProgram, batch: int, inputs: Sequence[InputSpec]) -> bool | None:
    """Return a condition that is known without values; else None."""
    found: list[bool] = []

    def watch(step: OnnxStep, results: Results) -> None:
        for name, result in zip(step.outputs, results, strict=False):
            if name == part.output and isinstance(result, np.ndarray):
                found.extend(bool(value) for value in result.ravel().tolist()[:1])

    network = OnnxNetwork(part)
    with torch.no_grad(), without_memory():
        network.run([one.zero_batch(batch) for one in inputs], watch)
    return found[0] if found else None
