"""Distance between the outputs of two networks: two numbers an image and output are held."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.intervals import energy_ratio_interval
from analysis.evaluation.measures import Interval, signal_to_noise_db
from analysis.evaluation.per_image import energy_by_image, join_output_energies


class OutputTally:
    """Signal energy, noise energy and cosine similarity of images, for each output."""

    def __init__(self) -> None:
        self._signal: list[float] = []
        self._noise: list[float] = []
        self._energies: list[NDArray[np.float64]] = []
        self._cosine = 0.0
        self._samples = 0

    def add_outputs(self, references: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Add the outputs of the float network and of the other network, of shape (N, ...)."""
        self._signal = self._signal or [0.0] * len(references)
        self._noise = self._noise or [0.0] * len(references)
        self._samples += len(references[0])
        energies = np.zeros((2, len(references[0]), len(references)))
        for place, (before, after) in enumerate(zip(references, outputs, strict=True)):
            reference, other = before.double(), after.double()
            energies[0, :, place] = energy_by_image(reference)
            energies[1, :, place] = energy_by_image(reference - other)
            self._signal[place] += float(energies[0, :, place].sum())
            self._noise[place] += float(energies[1, :, place].sum())
            self._cosine += float(cosine_by_image(reference, other).sum()) / len(references)
        self._energies.append(energies)

    @property
    def sqnr_db(self) -> float:
        """The SQNR in dB; several outputs weigh equally (`per_image.join_output_energies`)."""
        signal, noise = (torch.tensor([part]).double() for part in (self._signal, self._noise))
        if len(self._signal) > 1:
            shares = join_output_energies(signal.numpy(), noise.numpy())
            return signal_to_noise_db(float(shares[0].sum()), float(shares[1].sum()))
        return signal_to_noise_db(float(signal.sum()), float(noise.sum()))

    @property
    def sqnr_ci95(self) -> Interval | None:
        """The 95 % interval of the SQNR over images in dB; None for few images or no noise."""
        signal, noise = join_output_energies(*np.concatenate(self._energies, 1))
        return energy_ratio_interval(signal, noise)

    @property
    def mean_cosine(self) -> float:
        """The cosine similarity, averaged over images and outputs."""
        return self._cosine / max(1, self._samples)


def cosine_by_image(reference: Tensor, other: Tensor) -> Tensor:
    """Return the cosine similarity (N,) of each image's values (N, ...); 1 for two zero rows."""
    first, second = reference.reshape(len(reference), -1), other.reshape(len(other), -1)
    product = (first * second).sum(1)
    lengths = first.norm(dim=1) * second.norm(dim=1)
    same = (first == second).all(1)
    return torch.where(same, 1.0, product / lengths.clamp(min=1e-300)).clamp(-1, 1)
