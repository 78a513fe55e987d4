"""Scores for each image, stored so that more images refine a result without repeating a forward."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from analysis.evaluation.intervals import paired_interval, proportion_interval
from analysis.evaluation.measures import Interval, signal_to_noise_db
from quant.inputs import Outputs, first_output_of, tensors_of_batch

UNKNOWN = -1
ROW = np.dtype(
    [("energy", "<f8"), ("kl", "<f4"), ("cross_entropy", "<f4"), ("agrees", "i1"), ("right", "i1")]
)
"""The scores of one image.

`energy` is the energy of the noise (float network: of the signal), one number for each output;
`kl` the KL divergence in nats; `cross_entropy` the rise of the cross-entropy in nats (float
network: the cross-entropy); `agrees` and `right` whether the top-1 class equals the class of the
float network and the label. NaN and -1 mean unknown.
"""
Rows = NDArray[np.void]

RESAMPLES = 400
INTERVAL_ENDS = [
    round(share * (RESAMPLES - 1)) for share in (0.025, 0.975)
]  # ends of a 95 % interval in sorted resamples
MIN_IMAGES = 4  # images that a bootstrap needs


def compare_image_outputs(references: Outputs, outputs: Outputs, labels: Tensor | None) -> Rows:
    """Return a row of scores for each image: `outputs` (N, ...) against `references` (N, ...).

    Without a first output of shape (N, classes), class and softmax scores stay unknown.
    """
    pairs = list(zip(tensors_of_batch(references), tensors_of_batch(outputs), strict=True))
    reference, output = pairs[0]
    rows = _empty_rows(len(reference), len(pairs))
    noise = [energy_by_image(before.double() - after.double()) for before, after in pairs]
    rows["energy"] = noise[0] if len(pairs) == 1 else np.stack(noise, 1)
    if reference.dim() == 2 and reference.shape[1] > 1:
        before, after = reference.argmax(1), output.argmax(1)
        rows["agrees"] = (before == after).numpy()
        was, now = reference.double().log_softmax(1), output.double().log_softmax(1)
        rows["kl"] = (was.exp() * (was - now)).sum(1).numpy()
        if labels is not None:
            rise = F.nll_loss(now, labels, reduction="none") - _image_losses(was, labels)
            rows["cross_entropy"] = rise.numpy()
            rows["right"] = (after == labels).numpy()
    return rows


def describe_float_outputs(references: Outputs, labels: Tensor | None) -> Rows:
    """Return a row for each image with the facts of the float outputs, of shape (N, ...)."""
    rows = compare_image_outputs(references, references, labels)
    signal = [energy_by_image(output.double()) for output in tensors_of_batch(references)]
    rows["energy"] = signal[0] if len(signal) == 1 else np.stack(signal, 1)
    reference = first_output_of(references)
    if reference.dim() == 2 and reference.shape[1] > 1 and labels is not None:
        rows["cross_entropy"] = _image_losses(reference.double().log_softmax(1), labels).numpy()
    return rows


def _image_losses(log_softmax: Tensor, labels: Tensor) -> Tensor:
    return F.nll_loss(log_softmax, labels, reduction="none")


def energy_by_image(values: Tensor) -> NDArray[np.float64]:
    """Return the energy, the sum of squares, (N,) of values (N, ...) for each image."""
    sums: NDArray[np.float64] = values.square().reshape(len(values), -1).sum(1).numpy()
    return sums


def image_row_type(outputs: int) -> np.dtype[np.void]:
    """Return the type of a row for a network with `outputs` outputs."""
    if outputs == 1:
        return ROW
    return np.dtype([("energy", "<f8", (outputs,)), *ROW.descr[1:]])


def _empty_rows(count: int, outputs: int) -> Rows:
    rows = np.zeros(count, image_row_type(outputs))
    rows["kl"] = rows["cross_entropy"] = np.nan
    rows["right"] = rows["agrees"] = UNKNOWN
    return rows


@dataclass(frozen=True, slots=True)
class Figures:
    """The scores of `analysis.sensitivity.sweep.CellScore` for some images."""

    images: int
    sqnr_db: float
    kl: float | None
    cross_entropy: float | None
    agreement: float | None
    accuracy_drop: float | None
    sqnr_ci95: Interval | None
    agreement_ci95: Interval | None
    accuracy_drop_ci95: Interval | None


def summarize_rows(reference: Rows, rows: Rows) -> Figures:
    """Return scores and intervals from the rows (N,) of the float and the other network.

    Both arrays of rows describe equal images in equal order.
    """
    count, agreed = len(rows), int(rows["agrees"].sum())
    signal, noise = join_output_energies(reference["energy"], rows["energy"])
    classes = bool((rows["agrees"] != UNKNOWN).all())
    drop, interval = None, None
    if (rows["right"] != UNKNOWN).all() and (reference["right"] != UNKNOWN).all():
        lost = int(((reference["right"] == 1) & (rows["right"] == 0)).sum())
        won = int(((reference["right"] == 0) & (rows["right"] == 1)).sum())
        drop, interval = (lost - won) / count, paired_interval(lost, won, count)
    return Figures(
        images=count,
        sqnr_db=signal_to_noise_db(float(signal.sum()), float(noise.sum())),
        kl=_mean_or_none(rows["kl"]),
        cross_entropy=_mean_or_none(rows["cross_entropy"]),
        agreement=agreed / count if classes else None,
        accuracy_drop=drop,
        sqnr_ci95=sqnr_interval(signal, noise),
        agreement_ci95=proportion_interval(agreed, count) if classes else None,
        accuracy_drop_ci95=interval,
    )


def join_output_energies(
    signal: NDArray[np.float64], noise: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return signal and noise energies (N,) of the outputs together, from energies (N, outputs).

    Outputs have equal weight: the energies of an output become shares of the output's signal over
    the images, and the shares are averaged over outputs. The SQNR therefore does not depend on the
    outputs' units. An output of zeros is left out.
    """
    if signal.ndim == 1:
        return signal, noise
    total = signal.sum(0)
    nonzero = total > 0
    if not nonzero.any():
        return signal.sum(1), noise.sum(1)
    return (
        (signal[:, nonzero] / total[nonzero]).mean(1),
        (noise[:, nonzero] / total[nonzero]).mean(1),
    )


def sqnr_interval(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> Interval | None:
    """Return the 95 % interval of an SQNR in dB, a percentile bootstrap over images.

    `signal` and `noise` (N,) are energies. Every call uses equal resamples, so results for equal
    images are comparable. None with fewer than `MIN_IMAGES` images.
    """
    return sqnr_intervals(signal, noise[None])[0]


def sqnr_intervals(
    signal: NDArray[np.float64], noises: NDArray[np.float64]
) -> list[Interval | None]:
    """Return `sqnr_interval` for Q noises (Q, N) over equal images."""
    if len(signal) < MIN_IMAGES:
        return [None] * len(noises)
    weights = torch.from_numpy(resample_counts(len(signal)))
    drawn = np.concatenate([signal[None], noises]).astype(np.float64)
    # Torch multiplies here because NumPy's own threads busy-wait afterwards.
    noise_sums = (torch.from_numpy(drawn) @ weights.T).numpy()
    signal_sums, noise_sums = noise_sums[0], noise_sums[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = signal_sums / noise_sums
    ratios[noise_sums <= 0] = np.inf
    with np.errstate(divide="ignore"):
        ends = 10 * np.log10(np.sort(ratios, axis=1)[:, INTERVAL_ENDS])
    return [Interval(low, high) for low, high in ends.tolist()]


def mean_interval(values: NDArray[np.float64]) -> Interval | None:
    """Return the 95 % interval of a mean, a percentile bootstrap of `values` (N,) over images.

    None with fewer than `MIN_IMAGES` images.
    """
    if len(values) < MIN_IMAGES:
        return None
    means = resample_counts(len(values)) @ values / len(values)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(low), float(high))


@lru_cache(maxsize=4)
def resample_counts(count: int) -> NDArray[np.float64]:
    """Return how often a resample draws each of `count` images, (RESAMPLES, count)."""
    generator = np.random.default_rng(count)
    drawn = generator.integers(0, count, (RESAMPLES, count))
    offsets = np.arange(RESAMPLES)[:, None] * count
    counted = np.bincount((drawn + offsets).ravel(), minlength=RESAMPLES * count)
    return counted.reshape(RESAMPLES, count).astype(np.float64)


def _mean_or_none(values: NDArray[np.float64]) -> float | None:
    return None if np.isnan(values).any() else float(values.astype(np.float64).mean())


def rows_to_bytes(rows: Rows) -> bytes:
    """Return rows as bytes."""
    return rows.tobytes()


def rows_from_bytes(content: bytes, outputs: int = 1) -> Rows:
    """Return the rows in the bytes of `rows_to_bytes`, for a network with `outputs` outputs."""
    return np.frombuffer(content, image_row_type(outputs))
