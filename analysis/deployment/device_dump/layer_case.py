"""A layer that differs from the device: what a reason is tried on, and how a try is counted."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx

from analysis.deployment.device_dump.forced_run import ForcedRun
from quant.encoding import Encoding
from quant.graph.layers import Layer
from quant.graph.operators import CONVOLUTIONS, LINEARS, is_pass_through, operator_name
from quant.simulation.plan import weight_site_name
from quant.simulation.quantizer import Quantizer

FLOAT_STEP = 1e-3
"""The step of a tensor that stays float, as a share of the largest value (our choice)."""
NEAR_TIE = 1e-3
"""Values nearer to the middle between two codes, in steps, may fall either way in float32."""
HALF_STEP, OFF_CODES = 0.5, 0.02
"""Tolerances in steps: between codes, and where the device's values lie on no codes of ours."""
MANY = 0.01
"""The share of values off the codes from which a tensor is on other codes (our choice)."""


@dataclass(frozen=True, eq=False)
class LayerCase:
    """A site at which the recorded tensor differs, with all that explains it.

    `raw` are the values (N, ...) before the clip and the quantizer, computed from recorded
    tensors; `device` the recorded values. `step` is the distance of two codes.
    """

    run: ForcedRun
    layer: Layer
    quantizer: Quantizer
    raw: Tensor
    device: Tensor
    step: Tensor

    @property
    def encoding(self) -> Encoding | None:
        """The encoding of the site; None where the tensor stays float."""
        return self.quantizer.encoding

    @property
    def clipped(self) -> Tensor:
        """The values, of shape (N, ...), after the activation function and before the quantizer."""
        low, high = self.quantizer.clip or (None, None)
        return self.raw if low is high is None else self.raw.clamp(low, high)

    def quantized(self, raw: Tensor) -> Tensor:
        """Return the quantized values, of shape (N, ...), from the values before the quantizer."""
        with torch.inference_mode():
            found: Tensor = self.quantizer(raw.clone())
        return found

    @cached_property
    def on_codes(self) -> bool:
        """Whether the device has values on the codes of the site, wherever the codes end."""
        if self.encoding is None:
            return True
        steps = self.device / self.step
        return float(((steps - steps.round()).abs() > OFF_CODES).double().mean()) < MANY

    def differs(self, predicted: Tensor, step: Tensor | None = None) -> Tensor:
        """Return, in the shape (N, ...), whether the device is farther away than rounding explains.

        The tolerance is half a step for device values on codes of the site, else a fiftieth.
        """
        tolerance = HALF_STEP if self.on_codes else OFF_CODES
        return (self.device - predicted).abs() > tolerance * (self.step if step is None else step)

    def distance_to_tie(self) -> Tensor:
        """Return the steps from the middle between two codes, in the shape (N, ...)."""
        steps = (self.clipped / self.step).double()
        return (steps - steps.floor() - 0.5).abs()

    @property
    def operation(self) -> fx.Node:
        """The node of the operation in the quantized graph."""
        return self.run.quantized.graph.node_named(self.layer.node)

    @property
    def weight_encoding(self) -> Encoding | None:
        """The encoding of the layer's weight; None without one."""
        found = self.run.quantized.quantizers.get(weight_site_name(self.layer.name))
        return None if found is None else found.encoding

    def accumulator_step(self) -> Tensor | None:
        """Return what one unit of an integer accumulator stands for, (C,) or (); None if unknown.

        The unit is the scale of the input times the scale of the weight; weights with a scale
        for each group of inputs have none.
        """
        weights = self.weight_encoding
        if weights is None or operator_name(self.operation) not in CONVOLUTIONS | LINEARS:
            return None
        node = self.operation.all_input_nodes[0]
        while is_pass_through(node) and node.op == "call_function":
            node = node.all_input_nodes[0]
        if node.op != "call_module":
            return None
        source = self.run.quantized.module.get_submodule(str(node.target))
        if not isinstance(source, Quantizer) or source.encoding is None:
            return None
        scale = weights.scale.flatten()
        channels = self.layer.weight_shape[self.layer.channel_axis]
        if source.encoding.scale.numel() != 1 or len(scale) not in {1, channels}:
            return None
        return scale.reshape(-1) * source.encoding.scale


def step_of(encoding: Encoding | None, predicted: Tensor) -> Tensor:
    """Return the distance of two codes, or the tolerance of a float tensor; shape () or (C,)."""
    if encoding is not None:
        return encoding.scale
    return (predicted.abs().max() * FLOAT_STEP).clamp(min=1e-30)
