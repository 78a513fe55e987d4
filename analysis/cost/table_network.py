"""A published network's shapes as a module with random weights, to be run on a board."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from accelerator.validation.networks import network_table
from accelerator.workload import Op, OpKind

SEED = 0


class TableNetwork(nn.Module):
    """The layers of a table in order, with a ReLU after each but the last; weights are random.

    The input has the shape `input_shape` without the batch. The network serves time measurements;
    the values have no meaning.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        table = network_table(name)
        first = table.ops[0]
        self.ops = table.ops
        self.source = table.inputs[0]
        self.input_shape = (
            (first.c_in,) if first.kind is OpKind.LINEAR else (first.c_in, first.in_h, first.in_w)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            self.layers = nn.ModuleDict(
                {op.output: _table_layer(op) for op in table.ops if op.shape_weights}
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for inputs of shape (batch, *input_shape)."""
        values = {self.source: x}
        for op in self.ops:
            found = values[op.inputs[0]]
            if op.kind is OpKind.ELTWISE:
                found = torch.relu(found + values[op.inputs[1]])
            elif op.kind is OpKind.POOL:
                found = _pool_to_size(op, found)
            elif op.kind is OpKind.LINEAR:
                found = self.layers[op.output](found.flatten(1))
            else:
                found = self.layers[op.output](functional.pad(found, _padding_to_size(op)))
            values[op.output] = found if op is self.ops[-1] else torch.relu(found)
        return values[self.ops[-1].output]


def _table_layer(op: Op) -> nn.Module:
    if op.kind is OpKind.LINEAR:
        return nn.Linear(op.c_in, op.c_out)
    groups = op.c_in if op.kind is OpKind.DEPTHWISE else op.groups
    kernel, stride = (op.kernel_h, op.kernel_w), (op.stride_h, op.stride_w)
    return nn.Conv2d(op.c_in, op.c_out, kernel, stride, groups=groups)


def _pool_to_size(op: Op, x: Tensor) -> Tensor:
    if (op.out_h, op.out_w) == (1, 1):
        return x.mean((2, 3), keepdim=True)
    return functional.max_pool2d(x, (op.kernel_h, op.kernel_w), (op.stride_h, op.stride_w))


def _padding_to_size(op: Op) -> list[int]:
    """Return zeros at the left, right, top and bottom that give the output the table's size."""
    pads: list[int] = []
    for size, out, kernel, stride in (
        (op.in_w, op.out_w, op.kernel_w, op.stride_w),
        (op.in_h, op.out_h, op.kernel_h, op.stride_h),
    ):
        missing = max(0, (out - 1) * stride + kernel - size)
        pads += [missing // 2, missing - missing // 2]
    return pads
