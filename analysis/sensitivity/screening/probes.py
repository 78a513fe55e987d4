"""Probes of a network's output: random vectors for the backward pass."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from quant.inputs import Outputs, as_network_inputs, tensors_of_batch


def draw_output_probes(
    outputs: Sequence[Tensor],
    count: int,
    generator: torch.Generator,
    scales: Sequence[float] = (1.0,),
) -> list[Outputs]:
    """Return v for the energy and, for logits of shape (N, classes), B u for the KL divergence.

    Only the first output takes part in the divergence. Signs are drawn image by image, independent
    of the batch; padding has no signs. The signs of an output are multiplied by the output's scale,
    so that the energies add up in common units.
    """
    sizes = [2 * math.prod(output.shape[1:]) for output in outputs]
    drawn = torch.randint(0, 2, (count, sum(sizes)), generator=generator) * 2.0 - 1.0
    pairs = [
        functional.pad(part, (0, 0, 0, len(output) - count)).reshape(len(output), 2, -1)
        for part, output in zip(drawn.split(sizes, 1), outputs, strict=True)
    ]
    signs = [
        pair[:, 0].reshape(output.shape) * scale
        for pair, output, scale in zip(pairs, outputs, scales, strict=True)
    ]
    if outputs[0].dim() != 2 or outputs[0].shape[1] < 2:
        return [as_network_inputs(signs)]
    rest = [torch.zeros_like(output) for output in outputs[1:]]
    divergence = fisher_probes(outputs[0].softmax(1), pairs[0][:, 1])
    return [as_network_inputs(signs), as_network_inputs([divergence, *rest])]


def take_probes_in_turn(probes: Sequence[Outputs], first: int) -> Outputs:
    """Return one probe; in turn, an image gets the vector of one of several probes.

    `first` is the position of the first image in the data.
    """
    each = [tensors_of_batch(probe) for probe in probes]
    parts = []
    for alike in zip(*each, strict=True):
        chosen = torch.zeros_like(alike[0])
        for own, part in zip(probe_turns(len(chosen), first, len(each)), alike, strict=True):
            chosen[own] = part[own]
        parts.append(chosen)
    return as_network_inputs(parts)


def probe_turns(images: int, first: int, probes: int) -> Tensor:
    """Return (P, N): whether an image belongs to a probe, for N images from position `first`."""
    return (torch.arange(first, first + images) % probes) == torch.arange(probes)[:, None]


def output_scales(outputs: Sequence[Tensor]) -> tuple[float, ...]:
    """Return factors that bring several outputs to equal energy; 1 for a single output.

    Example:
        >>> output_scales([torch.ones(4, 10)])
        (1.0,)
    """
    if len(outputs) == 1:
        return (1.0,)
    energies = [float(output.double().square().sum()) / len(output) for output in outputs]
    known = sum(energy > 0 for energy in energies)
    return tuple((energy * known) ** -0.5 if energy > 0 else 0.0 for energy in energies)


def signal_energy_by_image(outputs: Sequence[Tensor], scales: Sequence[float]) -> Tensor:
    """Return the energy of each image's outputs (N,) in the units of the scales."""
    parts = [
        scale**2 * output.double().square().reshape(len(output), -1).sum(1)
        for output, scale in zip(outputs, scales, strict=True)
    ]
    return torch.stack(parts).sum(0)


def fisher_probes(chances: Tensor, signs: Tensor) -> Tensor:
    """Return B u for signs u, where B B^T = diag(p) - p p^T; p and signs are (N, classes).

    diag(p) - p p^T is the projection off sqrt(p), scaled by sqrt(p) on both sides. The Householder
    reflection from the most likely class's axis to sqrt(p) maps the other axes to a basis of the
    space orthogonal to sqrt(p). With two classes only a sign is random.
    """
    root = chances.sqrt()
    top = root.argmax(1, keepdim=True)
    normal = root.scatter_add(1, top, -torch.ones_like(root))
    others = signs.scatter(1, top, 0.0)
    length = normal.square().sum(1, keepdim=True).clamp(min=1e-30)
    along = (normal * others).sum(1, keepdim=True) / length
    return root * (others - 2 * along * normal)
