"""Free the batch of files that were exported with a fixed one."""

import torch

from model_io.onnx_import.program.steps import OnnxProgram, OnnxStep


def free_batch(program: OnnxProgram, batch: int) -> OnnxProgram:
    """Return a copy whose constant target shapes let any batch pass.

    A Reshape to [batch, ...] of plain sizes gets -1 in its first place, which is the same for the
    file's own batch; where a -1 stands elsewhere, a first size equal to the batch is copied from
    the input. Whether this was right, a run beside ONNX Runtime has to tell.
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
