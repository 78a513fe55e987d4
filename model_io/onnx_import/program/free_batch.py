"""Free the batch of files exported with a fixed batch."""

import torch

from model_io.onnx_import.program.steps import OnnxProgram, OnnxStep


def free_fixed_batch(program: OnnxProgram, batch: int) -> OnnxProgram:
    """Return a copy with constant target shapes that accept every batch.

    A Reshape to plain sizes [batch, ...] gets -1 in the first place, which equals the file's own
    batch; if another place has -1, a first size equal to the batch is copied from the input. A run
    beside ONNX Runtime must confirm the copy.
    """
    constants = dict(program.constants)
    steps = []
    for step in program.steps:
        shape = constants.get(step.inputs[1]) if step.operator == "Reshape" else None
        sizes = [] if shape is None else shape.tolist()
        if sizes and sizes[0] > 0 and not (step.attributes.get("allowzero") and 0 in sizes):
            if -1 not in sizes:
                sizes[0] = -1
            elif sizes[0] == batch:
                sizes[0] = 0
            name = f"{step.inputs[1]} (for {step.name})"
            constants[name] = torch.tensor(sizes)
            inputs = (step.inputs[0], name)
            steps.append(OnnxStep(step.name, "Reshape", inputs, step.outputs))
        else:
            steps.append(step)
    return OnnxProgram(
        steps,
        constants,
        program.input,
        program.output,
        program.opset,
        program.same,
        program.more_inputs,
        program.more_outputs,
    )
