"""Weights in training: whole numbers, and checks for finite values."""

import torch
from torch import Tensor

from quant.training.settings import TrainingError
from quant.training.trainable import Trainable


@torch.no_grad()
def codes_of_weights(network: Trainable) -> dict[str, Tensor]:
    """Return the whole numbers, of the weights' shapes, of weights with an encoding, by layer."""
    return {
        name: encoding.quantize(weight).to(torch.int16).cpu()
        for name, weight, encoding in network.weights_with_encodings()
    }


def share_of_changed_codes(before: dict[str, Tensor], after: dict[str, Tensor]) -> float | None:
    """Return the share of different whole numbers in tensors of equal shape; None if empty.

    >>> share_of_changed_codes({"a": torch.tensor([0, 1])}, {"a": torch.tensor([0, 2])})
    0.5
    """
    total = sum(one.numel() for one in before.values())
    changed = sum(int((before[name] != after[name]).sum()) for name in before)
    return changed / total if total else None


def check_finite_step(loss: float, network: Trainable, step: int) -> None:
    """Check the loss and the gradients of a step before the weights move.

    Raises:
        TrainingError: a value is NaN or infinite; the sentence names the first tensor.
    """
    rated = network.rated_parameters
    gradients = [one.parameter.grad for one in rated if one.parameter.grad is not None]
    norms = torch._foreach_norm(gradients)  # noqa: SLF001  one call for all of them
    if loss - loss == 0.0 and bool(torch.stack(norms).isfinite().all()):
        return
    where = next(
        (
            one.name
            for one in rated
            if one.parameter.grad is not None and not bool(one.parameter.grad.isfinite().all())
        ),
        network.quantized.graph.first_output_node.name,
    )
    raise TrainingError(
        f"Loss and gradients must be finite; at step {step} they are not, first seen at {where}. "
        "The last good state is kept. Lower the rate, or leave that layer in float."
    )
