"""Distance between the outputs of two networks, summed over images in constant memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from analysis.evaluation.measures import signal_to_noise_db
from analysis.evaluation.per_image import image_energies, join_outputs


class OutputTally:
    """Sums of signal energy, noise energy and cosine similarity over images, for each output."""

    def __init__(self) -> None:
        self._signal: list[float] = []
        self._noise: list[float] = []
        self._cosine = 0.0
        self._samples = 0

    def add(self, references: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Add the outputs (N, ...) of the float network and of the other network."""
        self._signal = self._signal or [0.0] * len(references)
        self._noise = self._noise or [0.0] * len(references)
        self._samples += len(references[0])
        for place, (before, after) in enumerate(zip(references, outputs, strict=True)):
            reference, other = before.double(), after.double()
            self._signal[place] += float(image_energies(reference).sum())
            self._noise[place] += float(image_energies(reference - other).sum())
            self._cosine += float(image_cosines(reference, other).sum()) / len(references)

    @property
    def sqnr_db(self) -> float:
        """The SQNR in dB; several outputs have equal weight, as in `per_image.join_outputs`."""
        signal, noise = (torch.tensor([part]).double() for part in (self._signal, self._noise))
        if len(self._signal) > 1:
            shares = join_outputs(signal.numpy(), noise.numpy())
            return signal_to_noise_db(float(shares[0].sum()), float(shares[1].sum()))
        return signal_to_noise_db(float(signal.sum()), float(noise.sum()))

    @property
    def cosine(self) -> float:
        """The cosine similarity, averaged over images and outputs."""
        return self._cosine / max(1, self._samples)


def image_cosines(reference: Tensor, other: Tensor) -> Tensor:
    """Return the cosine similarity (N,) of each image's values (N, ...); 1 for two zero rows."""
    first, second = reference.reshape(len(reference), -1), other.reshape(len(other), -1)
    product = (first * second).sum(1)
    lengths = first.norm(dim=1) * second.norm(dim=1)
    same = (first == second).all(1)
    return torch.where(same, 1.0, product / lengths.clamp(min=1e-300)).clamp(-1, 1)
