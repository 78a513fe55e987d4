"""A float module as an ONNX file, for runs on a board."""

import torch
from torch import nn

OPSET = 18


def write_plain_onnx(module: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    """Return an ONNX file (opset 18) of a module with one input of batch 1."""
    example = (torch.zeros(1, *input_shape),)
    with torch.no_grad():
        program = torch.onnx.export(
            module.eval(), example, dynamo=True, opset_version=OPSET, optimize=True, verbose=False
        )
    if program is None:
        raise ValueError("torch.onnx.export gave no model; install a version that can")
    written: bytes = program.model_proto.SerializeToString()
    return written
