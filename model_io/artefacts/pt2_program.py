"""The simulated network as a `.pt2` file for torch alone: quantizers as plain ATen operators."""

import io
import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim

from model_io.errors import ModelError
from quant.encoding import Encoding
from quant.graph.float_graph import copy_graph_module
from quant.inputs import KINDS
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph
from quant.simulation.quantizer import Quantizer, encoding_subsumes_clip
from quant.torch_state import exclusive_torch

MOST_BATCH = 65536
_TYPES = (torch.int8, torch.int16, torch.int32)


class PlainQuantizer(nn.Module):
    """Quantizer of plain ATen operators: divide, round half to even, clip, multiply.

    `clip` holds the limits of the activation function that the quantizer replaces.
    """

    def __init__(
        self, encoding: Encoding, clip: tuple[float | None, float | None] | None = None
    ) -> None:
        super().__init__()
        zero_point = int(encoding.zero_point)
        self.scale = nn.Buffer(encoding.scale.clone())
        self.limits = encoding.qmin - zero_point, encoding.qmax - zero_point
        self.clip = None if clip is None or encoding_subsumes_clip(encoding, clip) else clip

    def forward(self, x: Tensor) -> Tensor:
        """Quantize `x` of any shape; the result has the shape of `x`."""
        x = _apply_clip(x, self.clip)
        # in place like the quantizer: strides decide the order of additions in a convolution
        return torch.div(x, self.scale).round_().clamp_(*self.limits).mul_(self.scale)


class Clip(nn.Module):
    """The activation function of a float quantizer, which lets values pass."""

    def __init__(self, clip: tuple[float | None, float | None] | None) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        """Limit `x` of any shape; the result has the shape of `x`."""
        return _apply_clip(x, self.clip)


class IntegerWeight(nn.Module):
    """A weight as integers of the smallest fitting type, with the scale."""

    def __init__(self, weight: Tensor, encoding: Encoding) -> None:
        super().__init__()
        steps = (encoding.quantize(weight) - encoding.zero_point).detach()
        kind = next(kind for kind in _TYPES if _fits_integer_type(steps, kind))
        self.whole = nn.Buffer(steps.to(kind))
        self.scale = nn.Buffer(encoding.scale.clone())

    def forward(self) -> Tensor:
        """Return the real weight, in the shape of the stored integers."""
        return self.whole.to(torch.float32) * self.scale


def write_pt2_program(quantized: QuantGraph) -> bytes:
    """Return the simulated network in the format of `torch.export.save`.

    The program holds ATen operators alone: `torch.export.load` reads the file without QuantScope.
    The program accepts every batch size unless the network fixes the batch, and computes the
    numbers of the simulation. Weights are stored as integers.

    Raises:
        ModelError: torch cannot export the simulated network.
    """
    module = plain_graph_module(quantized)
    graph = quantized.graph
    count = graph.batch or 2
    example = tuple(torch.zeros(count, *one.shape, dtype=KINDS[one.kind]) for one in graph.inputs)
    dims: Any = None if graph.batch else ({0: Dim("batch", min=1, max=MOST_BATCH)},) * len(example)
    buffer = io.BytesIO()
    try:
        with exclusive_torch(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, example, dynamic_shapes=dims)
            torch.export.save(program, buffer)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"torch.export must be able to trace the simulated network, got: {reason}. "
            "Export encodings instead."
        ) from error
    return buffer.getvalue()


def plain_graph_module(quantized: QuantGraph) -> fx.GraphModule:
    """Return a copy of a simulated network with plain ATen quantizers, equal in value."""
    module = copy_graph_module(quantized.module)
    for node in list(module.graph.nodes):
        if node.op != "call_module":
            continue
        name = str(node.target)
        quantizer = module.get_submodule(name)
        if not isinstance(quantizer, Quantizer):
            continue
        source = node.args[0]
        encoding = quantizer.encoding
        if quantizer.site.side is Side.WEIGHTS and encoding is not None:
            weight = quantized.graph.stored_tensor(str(source.target))
            module.set_submodule(name, IntegerWeight(weight, encoding))
            node.args = ()
        elif encoding is not None:
            module.set_submodule(name, PlainQuantizer(encoding, quantizer.clip))
        else:
            module.set_submodule(name, Clip(quantizer.clip))
    module.graph.eliminate_dead_code()
    module.recompile()
    return copy_graph_module(module).eval()  # without the weights that nothing reads any more


def _apply_clip(x: Tensor, clip: tuple[float | None, float | None] | None) -> Tensor:
    if clip is None:
        return x
    return x.relu() if clip == (0.0, None) else x.clamp(*clip)


def _fits_integer_type(steps: Tensor, kind: torch.dtype) -> bool:
    limits = torch.iinfo(kind)
    return bool(steps.min() >= limits.min and steps.max() <= limits.max)
