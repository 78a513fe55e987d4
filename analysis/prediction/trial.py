"""A trial of a whole configuration on a few images, and what it foretells of all images.

Noise of single layers adds up to first order only. Where several layers are loud, or a repaired
network is close to collapse, the sum misses the loss by tens of points (fashion-resnet, equalized
and corrected at 4 to 5 bits: 3 points summed, 83 measured). A forward of 64 images shows it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from analysis.evaluation.measures import Z95, Array

TRIAL_IMAGES = 64
# Tuned on the front and on drawn configurations of five sample networks, seed 1
# (benchmarks.prediction_accuracy reports seeds 0 and 2).
LEAST_VARIANCE = 0.02  # of one image's loss: 64 images without a changed answer leave doubt
WIDENING = 1.3  # of the variance of the mean over the images
SHARE_DEVIATION = 0.05  # deviation of a loss as a share of the loss, for any number of images
LEAST_DEVIATION = 0.004
COMMON_SHARE = 0.8  # of the variance: networks with similar losses err on the same images
REACH = 0.1  # losses this far apart share 61 % of that
LEVEL_REACH_DB = 8.0  # the same for SQNRs


@dataclass(frozen=True, slots=True)
class ConfigTrial:
    """The outputs of a configuration on `images` images beside those of the float network.

    `sqnr_db` is that of the output. For classes, `changed` is the share of images with another
    answer than the float network, and `lost` the share of the float network's lead over guessing
    that the new answers give up, by the float network's own probabilities; no label is used.
    `deviation` is the standard deviation of one image's loss. `float_top1` is the accuracy of the
    float network on the images of which those of the trial were taken; None without labels.
    """

    images: int
    sqnr_db: float
    changed: float | None = None
    lost: float | None = None
    deviation: float = 0.0
    float_top1: float | None = None

    def expected_loss(self, most: float, *, labelled: bool) -> float | None:
        """Return the expected loss, a share of 1, if the largest possible loss is `most`.

        Without labels a changed answer is a loss. None for a network without classes.

        Example:
            >>> ConfigTrial(64, 20.0, changed=0.1, lost=0.05).expected_loss(0.8, labelled=True)
            0.04...
        """
        if self.lost is None or self.changed is None:
            return None
        return min(most, max(0.0, most * self.lost if labelled else self.changed))

    def loss_deviation(self, loss: float) -> float:
        """Return the standard deviation of the loss over all images, a share of 1."""
        by_chance = WIDENING * (self.deviation**2 + LEAST_VARIANCE) / max(1, self.images)
        return math.sqrt(by_chance + (SHARE_DEVIATION * loss) ** 2 + LEAST_DEVIATION**2)


def lost_lead(reference: Tensor, output: Tensor, chance: float) -> tuple[float, float, float]:
    """Return (changed, lost, deviation) of a `ConfigTrial` from logits of shape (N, classes).

    An image loses p(a) - p(b), where p are the probabilities of the float network, a its answer and
    b the new answer; the lead over guessing is the mean of p(a) less `chance`. By probabilities
    instead of labels the estimate varies less: one changed answer of 64 is 1.6 points of top-1.

    Example:
        >>> import torch
        >>> reference = torch.tensor([[10.0, 0.0], [0.0, 10.0]])
        >>> lost_lead(reference, reference.flip(1), chance=0.5)[0]
        1.0
    """
    likely = reference.double().softmax(1)
    before, after = reference.argmax(1, keepdim=True), output.argmax(1, keepdim=True)
    each = (likely.gather(1, before) - likely.gather(1, after)).flatten()
    lead = float(likely.gather(1, before).mean()) - chance
    changed = float((before != after).double().mean())
    lost = float(each.mean()) / lead if lead > 0 else changed
    return changed, min(1.0, lost), float(each.std(correction=0))


def representative_positions(output: Tensor, count: int) -> tuple[int, ...]:
    """Return the positions of `count` images that stand for all, from logits of shape (N, classes).

    The images are sorted by the float network's answer, then by its confidence, and taken at even
    distances: each class and each confidence has its share. A network that answers one class alone
    is then judged by the share of that class in all images; the first 64 of 1000 images were 5
    points off.

    Example:
        >>> import torch
        >>> representative_positions(torch.eye(3)[[0, 0, 1, 1, 2, 2]], 3)
        (1, 3, 5)
    """
    likely, answer = output.double().softmax(1).max(1)
    order = np.lexsort((likely.numpy(), answer.numpy()))
    chosen = (np.arange(min(count, len(order))) + 0.5) * len(order) / min(count, len(order))
    return tuple(sorted(order[chosen.astype(int)].tolist()))


def guessing_reach(chance: float, images: int) -> float:
    """Return how far below `chance` a guessing network may score on `images`, 95 %, a share.

    A network that answers one class alone gets the share of this class among the images right.

    Example:
        >>> round(guessing_reach(0.1, 1000), 3)
        0.019
    """
    return min(chance, Z95 * math.sqrt(chance * (1 - chance) / images))


def correct_by_measurements(
    value: float,
    deviation: float,
    known: Sequence[tuple[float, float, float]],
    reach: float = REACH,
) -> tuple[float, float]:
    """Return the expected value of a trial and its deviation after measurements of other networks.

    `known` holds (value of the trial, deviation, measured value) of networks with a trial on the
    same images. A Gaussian process over the value (Rasmussen and Williams 2006, chapter 2): errors
    of networks with similar values agree, because the images are the same; values that lie `reach`
    apart share 61 %.

    Example:
        >>> correct_by_measurements(0.5, 0.1, [(0.5, 0.1, 0.6)])[0]
        0.58
    """
    if not known:
        return value, deviation
    values = np.array([one[0] for one in known] + [value])
    deviations = np.array([one[1] for one in known] + [deviation])
    covariance = _error_covariance(values, deviations, reach)
    weights = np.linalg.solve(covariance[:-1, :-1], covariance[:-1, -1])
    off = float(weights @ (np.array([one[2] for one in known]) - values[:-1]))
    left = max(float(covariance[-1, -1] - weights @ covariance[:-1, -1]), 0.0)
    return value + off, math.sqrt(left)


def _error_covariance(values: Array, deviations: Array, reach: float) -> Array:
    """Return the covariance (N, N) of the errors of N trials."""
    apart = (values[:, None] - values[None]) / reach
    common = COMMON_SHARE * np.exp(-0.5 * apart**2)
    np.fill_diagonal(common, 1.0)
    covariance: Array = np.outer(deviations, deviations) * common
    return covariance
