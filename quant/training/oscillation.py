"""Weights that jump to and fro between two whole numbers (Nagel et al. 2022, oscillations)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from quant.training.settings import TrainingSettings
from quant.training.trainable import Trainable

MOST_BITS = 4
"""Wider encodings are not followed: there a jump changes little."""
MOMENTUM = 0.01
OSCILLATES = 0.005
"""A weight oscillates whose jumps back come at least this often, as an average over steps."""


@dataclass(eq=False)
class LayerOscillation:
    """History of a weight: whole numbers, the sign of the last jump, frequency of jumps back.

    `frozen` weights stay at `code`, the rounded average of the whole numbers.
    """

    codes: Tensor
    direction: Tensor
    frequency: Tensor
    average: Tensor
    frozen: Tensor

    def history_tensors(self) -> dict[str, Tensor]:
        """Return the tensors, of the weight's shape, by name."""
        return {
            "codes": self.codes,
            "direction": self.direction,
            "frequency": self.frequency,
            "average": self.average,
            "frozen": self.frozen,
        }


@dataclass(eq=False)
class Oscillation:
    """Follows the whole numbers of narrow weights from step to step; may dampen or freeze."""

    settings: TrainingSettings
    layers: dict[str, LayerOscillation] = field(default_factory=dict)

    @torch.no_grad()
    def begin_history(self, network: Trainable) -> None:
        """Start with the present weights."""
        for name, weight, encoding in network.weights_with_encodings():
            if encoding.bits <= MOST_BITS:
                codes = encoding.quantize(weight)
                zeros = torch.zeros_like(codes)
                self.layers[name] = LayerOscillation(
                    codes, zeros, zeros.clone(), codes.clone(), zeros.clone()
                )

    def history_tensors(self) -> dict[str, Tensor]:
        """Return the history by name, tensors of the weights' shapes, for a state on the disk."""
        return {
            f"oscillation/{name}/{key}": value
            for name, layer in self.layers.items()
            for key, value in layer.history_tensors().items()
        }

    def loss_penalty(self, network: Trainable) -> Tensor | None:
        """Return dampening times the mean square distance of weights from codes, a scalar in steps.

        Only weights inside the limits count and are pulled: the encoding stands still.
        """
        if not self.settings.dampening:
            return None
        parts = []
        for _, weight, encoding in network.weights_with_encodings():
            scale = encoding.scale.detach()
            with torch.no_grad():
                goal = encoding.fake_quantize(weight)
                inside = (weight >= encoding.low) & (weight <= encoding.high)
            parts.append((((weight - goal) / scale).square() * inside).mean())
        return self.settings.dampening * torch.stack(parts).mean() if parts else None

    @torch.no_grad()
    def finish_step(self, network: Trainable) -> None:
        """Note jumps; hold frozen weights at a whole number, and freeze oscillating weights."""
        threshold = self.settings.freeze_oscillating
        for name, weight, encoding in network.weights_with_encodings():
            layer = self.layers.get(name)
            if layer is None:
                continue
            if threshold:
                held = encoding.dequantize(layer.average.round())
                weight.copy_(torch.where(layer.frozen > 0, held, weight))
            codes = encoding.quantize(weight)
            jump = (codes - layer.codes).sign()
            back = (jump != 0) & (jump == -layer.direction)
            layer.direction.copy_(torch.where(jump != 0, jump, layer.direction))
            layer.frequency.lerp_(back.to(codes.dtype), MOMENTUM)
            free = layer.frozen == 0
            layer.average.copy_(
                torch.where(free, layer.average.lerp(codes, MOMENTUM), layer.average)
            )
            layer.codes.copy_(codes)
            if threshold:
                layer.frozen.copy_(torch.where(layer.frequency > threshold, 1.0, layer.frozen))

    def oscillating_share(self) -> float | None:
        """Return the share of oscillating weights among followed weights; None without weights."""
        total = sum(layer.codes.numel() for layer in self.layers.values())
        shaking = sum(int((one.frequency > OSCILLATES).sum()) for one in self.layers.values())
        return shaking / total if total else None
