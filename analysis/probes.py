"""What a network's output is probed with, and what a layer's error makes of it."""

import torch
from torch import Tensor

# Values of an image from which one product an image is faster than a sum over products of all.
LONG_ROW = 2**15


def draw_probes(output: Tensor, count: int, generator: torch.Generator) -> list[Tensor]:
    """Return v for the energy and, of logits (N, classes), B u for the divergence.

    Signs are drawn image by image, so they do not depend on the batch; filling gets none.
    """
    signs, others = torch.zeros_like(output), torch.zeros_like(output)
    for image in range(count):
        for drawn in (signs, others):
            shape = output.shape[1:]
            drawn[image] = torch.randint(0, 2, shape, generator=generator) * 2.0 - 1.0
    return [signs, fisher_probes(output.softmax(1), others)] if output.dim() == 2 else [signs]


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


def inner(gradient: Tensor, error: Tensor) -> list[Tensor]:
    """Return the inner product of two tensors (N, ...) for each of N images."""
    gradient, error = _row(gradient), _row(error)
    if gradient.shape[1] < LONG_ROW:
        return list(torch.linalg.vecdot(gradient, error).unbind())
    return [torch.dot(g, e) for g, e in zip(gradient.unbind(), error.unbind(), strict=True)]


def _row(values: Tensor) -> Tensor:
    """Return one row an image; channels last stay where they are."""
    if values.dim() == 4:
        values = values.permute(0, 2, 3, 1)
    return values.reshape(len(values), -1)
