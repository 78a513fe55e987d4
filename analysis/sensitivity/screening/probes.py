"""What a network's output is probed with."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from quant.inputs import Outputs, as_inputs, parts_of


def draw_probes(
    outputs: Sequence[Tensor],
    count: int,
    generator: torch.Generator,
    scales: Sequence[float] = (1.0,),
) -> list[Outputs]:
    """Return v for the energy and, where the first output is logits (N, classes > 1), B u.

    B u is for the divergence of the logits; other outputs have no part in it. Signs are drawn image
    by image, so they do not depend on the batch; filling gets none. The signs of each output are
    multiplied with its scale: probed is the sum of energies in these units.
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
        return [as_inputs(signs)]
    rest = [torch.zeros_like(output) for output in outputs[1:]]
    divergence = fisher_probes(outputs[0].softmax(1), pairs[0][:, 1])
    return [as_inputs(signs), as_inputs([divergence, *rest])]


def take_turns(probes: Sequence[Outputs], first: int) -> Outputs:
    """Return one probe that asks each image but one of the questions of several.

    Images take turns; the first of these is the image `first` of all.
    """
    each = [parts_of(probe) for probe in probes]
    parts = []
    for alike in zip(*each, strict=True):
        chosen = torch.zeros_like(alike[0])
        for own, part in zip(turns_of(len(chosen), first, len(each)), alike, strict=True):
            chosen[own] = part[own]
        parts.append(chosen)
    return as_inputs(parts)


def turns_of(images: int, first: int, probes: int) -> Tensor:
    """Return (P, N): whether each of N images, the first of them `first`, is asked by a probe."""
    return (torch.arange(first, first + images) % probes) == torch.arange(probes)[:, None]


def output_scales(outputs: Sequence[Tensor]) -> tuple[float, ...]:
    """Return what brings each of several outputs to the same energy: 1 for one alone."""
    if len(outputs) == 1:
        return (1.0,)
    energies = [float(output.double().square().sum()) / len(output) for output in outputs]
    known = sum(energy > 0 for energy in energies)
    return tuple((energy * known) ** -0.5 if energy > 0 else 0.0 for energy in energies)


def signal_of(outputs: Sequence[Tensor], scales: Sequence[float]) -> Tensor:
    """Return the energy of each image's outputs (N,) in the units of their scales."""
    parts = [
        scale**2 * output.double().square().reshape(len(output), -1).sum(1)
        for output, scale in zip(outputs, scales, strict=True)
    ]
    return torch.stack(parts).sum(0)


def fisher_probes(chances: Tensor, signs: Tensor) -> Tensor:
    """Return B u for signs u, where B B^T = diag(p) - p p^T; chances p and signs are (N, classes).

    diag(p) - p p^T is the projection off sqrt(p), scaled by sqrt(p) on both sides. The Householder
    reflection that takes the likeliest class's axis to sqrt(p) takes the other axes to a basis of
    what is off sqrt(p). Between two classes that leaves nothing to chance but a sign.
    """
    root = chances.sqrt()
    top = root.argmax(1, keepdim=True)
    normal = root.scatter_add(1, top, -torch.ones_like(root))
    others = signs.scatter(1, top, 0.0)
    length = normal.square().sum(1, keepdim=True).clamp(min=1e-30)
    along = (normal * others).sum(1, keepdim=True) / length
    return root * (others - 2 * along * normal)
