"""What one forward says of each image, kept so that more images refine a figure."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from analysis.evaluation.measures import (
    Interval,
    paired_interval,
    proportion_interval,
    signal_to_noise_db,
)
from quant.inputs import Outputs, first_of, parts_of

UNKNOWN = -1
ROW = np.dtype(
    [("energy", "<f8"), ("kl", "<f4"), ("cross_entropy", "<f4"), ("agrees", "i1"), ("right", "i1")]
)
"""One image: energy of the noise (of the signal for the float network), KL divergence in nats,
rise of the cross-entropy (its value for the float network), and whether the top-1 class is the
float network's and the label. NaN and -1 stand for what is not known. Of several outputs each has
an energy of its own."""
Rows = NDArray[np.void]

RESAMPLES = 400
ENDS = [round(share * (RESAMPLES - 1)) for share in (0.025, 0.975)]  # of 95 %, once sorted
FEWEST = 4  # images from which a bootstrap says anything


def compare(references: Outputs, outputs: Outputs, labels: Tensor | None) -> Rows:
    """Return a row for each image from the outputs (N, ...) of the float and another network.

    A first output of another form than (N, classes) has neither classes nor a softmax.
    """
    pairs = list(zip(parts_of(references), parts_of(outputs), strict=True))
    reference, output = pairs[0]
    rows = _empty(len(reference), len(pairs))
    noise = [energies(before.double() - after.double()) for before, after in pairs]
    rows["energy"] = noise[0] if len(pairs) == 1 else np.stack(noise, 1)
    if reference.dim() == 2 and reference.shape[1] > 1:
        before, after = reference.argmax(1), output.argmax(1)
        rows["agrees"] = (before == after).numpy()
        was, now = reference.double().log_softmax(1), output.double().log_softmax(1)
        rows["kl"] = (was.exp() * (was - now)).sum(1).numpy()
        if labels is not None:
            rise = F.nll_loss(now, labels, reduction="none") - _loss(was, labels)
            rows["cross_entropy"] = rise.numpy()
            rows["right"] = (after == labels).numpy()
    return rows


def describe(references: Outputs, labels: Tensor | None) -> Rows:
    """Return a row for each image from the outputs of the float network alone."""
    rows = compare(references, references, labels)
    found = [energies(output.double()) for output in parts_of(references)]
    rows["energy"] = found[0] if len(found) == 1 else np.stack(found, 1)
    reference = first_of(references)
    if reference.dim() == 2 and reference.shape[1] > 1 and labels is not None:
        rows["cross_entropy"] = _loss(reference.double().log_softmax(1), labels).numpy()
    return rows


def _loss(log_softmax: Tensor, labels: Tensor) -> Tensor:
    return F.nll_loss(log_softmax, labels, reduction="none")


def energies(values: Tensor) -> NDArray[np.float64]:
    """Return the energy (N,) of each image's values (N, ...)."""
    found: NDArray[np.float64] = values.square().reshape(len(values), -1).sum(1).numpy()
    return found


def row_type(outputs: int) -> np.dtype[Any]:
    """Return the type of a row for so many outputs."""
    if outputs == 1:
        return ROW
    return np.dtype([("energy", "<f8", (outputs,)), *ROW.descr[1:]])


def _empty(count: int, outputs: int) -> Rows:
    rows = np.zeros(count, row_type(outputs))
    rows["kl"] = rows["cross_entropy"] = np.nan
    rows["right"] = rows["agrees"] = UNKNOWN
    return rows


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of `analysis.sensitivity.sweep.CellScore` for some images."""

    images: int
    sqnr_db: float
    kl: float | None
    cross_entropy: float | None
    agreement: float | None
    accuracy_drop: float | None
    sqnr_ci95: Interval | None
    agreement_ci95: Interval | None
    accuracy_drop_ci95: Interval | None


def summarize(reference: Rows, rows: Rows) -> Figures:
    """Return figures and intervals from rows of the same images, float network's first."""
    count, agreed = len(rows), int(rows["agrees"].sum())
    signal, noise = joined(reference["energy"], rows["energy"])
    classes = bool((rows["agrees"] != UNKNOWN).all())
    drop, interval = None, None
    if (rows["right"] != UNKNOWN).all() and (reference["right"] != UNKNOWN).all():
        lost = int(((reference["right"] == 1) & (rows["right"] == 0)).sum())
        won = int(((reference["right"] == 0) & (rows["right"] == 1)).sum())
        drop, interval = (lost - won) / count, paired_interval(lost, won, count)
    return Figures(
        images=count,
        sqnr_db=signal_to_noise_db(float(signal.sum()), float(noise.sum())),
        kl=_mean(rows["kl"]),
        cross_entropy=_mean(rows["cross_entropy"]),
        agreement=agreed / count if classes else None,
        accuracy_drop=drop,
        sqnr_ci95=sqnr_interval(signal, noise),
        agreement_ci95=proportion_interval(agreed, count) if classes else None,
        accuracy_drop_ci95=interval,
    )


def joined(
    signal: NDArray[Any], noise: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return energies (N,) of all outputs together, from those of each, (N, outputs).

    Every output counts alike: its energies are shares of its own signal over all images, and the
    mean is taken over outputs. So the SQNR is that of the mean share of noise, whatever the units
    of the outputs are. Outputs that are zero throughout are left out.
    """
    if signal.ndim == 1:
        return signal, noise
    total = signal.sum(0)
    known = total > 0
    if not known.any():
        return signal.sum(1), noise.sum(1)
    return (
        (signal[:, known] / total[known]).mean(1),
        (noise[:, known] / total[known]).mean(1),
    )


def sqnr_interval(signal: NDArray[Any], noise: NDArray[Any]) -> Interval | None:
    """Return the 95 % interval of an SQNR in dB, a percentile bootstrap over images.

    `signal` and `noise` (N,) are energies. The resamples are the same in every call, so figures
    of one set of images can be compared. None for fewer images than a bootstrap needs.
    """
    return sqnr_intervals(signal, noise[None])[0]


def sqnr_intervals(signal: NDArray[Any], noises: NDArray[Any]) -> list[Interval | None]:
    """Return `sqnr_interval` for each of many noises (Q, N) over the same images."""
    if len(signal) < FEWEST:
        return [None] * len(noises)
    weights = torch.from_numpy(_resamples(len(signal)))
    drawn = np.concatenate([signal[None], noises]).astype(np.float64)
    # by torch, for threads of NumPy's own wait busily for more to come
    energies = (torch.from_numpy(drawn) @ weights.T).numpy()
    wanted, energies = energies[0], energies[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = wanted / energies
    ratios[energies <= 0] = np.inf
    with np.errstate(divide="ignore"):
        ends = 10 * np.log10(np.sort(ratios, axis=1)[:, ENDS])
    return [Interval(low, high) for low, high in ends.tolist()]


def mean_interval(values: NDArray[np.float64]) -> Interval | None:
    """Return the 95 % interval of a mean over images, a percentile bootstrap of `values` (N,).

    None for fewer images than a bootstrap needs.
    """
    if len(values) < FEWEST:
        return None
    found = _resamples(len(values)) @ values / len(values)
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(float(low), float(high))


@lru_cache(maxsize=4)
def _resamples(count: int) -> NDArray[np.float64]:
    """Return how often each of `count` images is drawn in each resample, (RESAMPLES, count)."""
    generator = np.random.default_rng(count)
    drawn = generator.integers(0, count, (RESAMPLES, count))
    offsets = np.arange(RESAMPLES)[:, None] * count
    counted = np.bincount((drawn + offsets).ravel(), minlength=RESAMPLES * count)
    return counted.reshape(RESAMPLES, count).astype(np.float64)


def _mean(values: NDArray[Any]) -> float | None:
    return None if np.isnan(values).any() else float(values.astype(np.float64).mean())


def to_bytes(rows: Rows) -> bytes:
    """Return rows as bytes."""
    return rows.tobytes()


def from_bytes(content: bytes, outputs: int = 1) -> Rows:
    """Return the rows that `to_bytes` wrote, of a network with so many outputs."""
    return np.frombuffer(content, row_type(outputs))
