"""The places of layers, decided from as few images as a proof needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from analysis.evaluation.intervals import FEWEST_ENERGIES

RISK = 0.05
"""The greatest chance of a wrong set of layers."""

Energies = NDArray[np.float64]


@dataclass(slots=True)
class Contest:
    """Finds the `wanted` layers that add the most noise to the network's output.

    Successive elimination (Even-Dar, Mannor and Mansour, JMLR 2006) with paired differences: a
    layer is inside once it is worse than all but so many undecided layers as places are free, and
    outside once so many are worse. A wrong set needs a wrong comparison of a layer that belongs
    inside with one that does not; the risk of a round, an equal share of `RISK`, is divided by the
    number of such pairs among the undecided (our choice; the paper divides by all pairs).
    `population` is the number of all images: the whole sweep is the truth, so intervals shrink as
    the images run out, and the last image leaves no doubt.
    """

    layers: Sequence[str]
    wanted: int
    population: int
    rounds: int
    inside: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    images: int = 0

    @property
    def undecided(self) -> list[str]:
        """The layers without a place, in order."""
        settled = {*self.inside, *self.outside}
        return [layer for layer in self.layers if layer not in settled]

    @property
    def confidence(self) -> float:
        """The confidence in the set, a share of 1; certain with all images."""
        return 1.0 if self.images >= self.population else 1 - RISK

    def settle_layers(self, noise: Mapping[str, Energies]) -> None:
        """Settle layers by the noise energies (N,) of the undecided layers on the same N images.

        Raises:
            KeyError: an undecided layer has no energies.
        """
        names = self.undecided
        energies = np.stack([noise[name] for name in names])
        self.images = energies.shape[1]
        places = self.wanted - len(self.inside)
        if places >= len(names):
            self.inside += names
            return
        if self.images >= self.population:  # equal noise: the order of the network
            worst_first = np.argsort(-energies.mean(1), kind="stable").tolist()
            self._place_layers(names, worst_first[:places], worst_first[places:])
            return
        pairs = places * (len(names) - places)
        worse = worse_pairs(energies, self.population, RISK / self.rounds / pairs)
        inside = np.flatnonzero(worse.sum(1) >= len(names) - places).tolist()
        self._place_layers(names, inside, np.flatnonzero(worse.sum(0) >= places).tolist())
        if len(self.inside) == self.wanted:
            self.outside += self.undecided

    def _place_layers(
        self, names: Sequence[str], inside: Sequence[int], outside: Sequence[int]
    ) -> None:
        self.inside += [names[place] for place in inside]
        self.outside += [names[place] for place in outside]


def worse_pairs(noise: Energies, population: int, tail: float) -> NDArray[np.bool_]:
    """Return (L, L): whether layer i adds more noise than layer j, from energies (L, N).

    The logarithm of the ratio of two means over the same N of `population` images varies over
    images like a / mean(a) - b / mean(b) (delta method); the test is Student's, one-sided with the
    probability `tail`, with the correction for a finite population. Too few images prove nothing.
    """
    layers, count = noise.shape
    if count < FEWEST_ENERGIES:
        return np.zeros((layers, layers), bool)
    means = noise.mean(1)
    covariance = np.cov(noise / np.where(means > 0, means, 1.0)[:, None])
    own = np.diag(covariance)
    variance = np.maximum(0.0, own[:, None] + own[None, :] - 2 * covariance)
    quantile = -float(stdtrit(count - 1, tail))
    half = quantile * np.sqrt(variance / count * max(0.0, 1 - count / population))
    floor = np.finfo(np.float64).tiny
    level = np.log(np.maximum(means, floor))
    worse: NDArray[np.bool_] = level[:, None] - level[None, :] > half
    return worse
