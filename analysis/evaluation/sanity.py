"""Check whether the float network answers sensibly, and search a likely cause by trials."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from analysis.evaluation.intervals import proportion_interval
from analysis.network import Network, forward_first_output
from data_io.arrays import ArraySource
from data_io.dataset import Corrections, Dataset
from data_io.errors import DatasetError
from data_io.pixel_scalings import pixel_scalings
from data_io.preprocessing import BYTE, ChannelOrder, Layout, Preprocess
from quant.progress import Progress, Steps

TRIED_IMAGES = 100
FEWEST_IMAGES = 20
MOST_BYTES = 256 * 2**20
SOUND_TOP1 = 0.95
"""From here on nothing is looked at (our choice)."""
USUAL_SIZE = (0.1, 10.0)
"""The root mean square of inputs that batch norms usually expect (our choice)."""
NEAR_CHANCE = 0.05
"""Part of the way from chance to perfect that still counts as chance: 14.5 % of ten classes."""
ONE_CLASS = 0.6
LEAST_OF_CLASS = 3
"""Images that must confirm the place of a class before an order is offered (our choice)."""
SWAPPED = "red and blue swapped"

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class BetterInputs:
    """A change with better answers of the float network, measured.

    Attributes:
        change: the change in words, such as "mean and std times 255".
        top1: the share of right answers after the change.
        top1_before: the share of right answers before the change, on equal images.
        samples: the number of images.
        preprocess: the steps with the change; None for a change outside preprocessing.
        noun: the word for one of the samples.
    """

    change: str
    top1: float
    top1_before: float
    samples: int
    preprocess: Preprocess | None = None
    noun: str = "image"

    def effect_sentence(self) -> str:
        """Return the change and the measured effect in words."""
        return (
            f"With {self.change}: {self.top1:.0%} instead of {self.top1_before:.0%} of "
            f"{self.samples} {self.noun}s."
        )


@dataclass(frozen=True, slots=True)
class SanityCheck:
    """The suspicions about a float network on given data, and the most helpful change."""

    suspicions: tuple[str, ...] = ()
    better: BetterInputs | None = None

    def warning_sentences(self) -> tuple[str, ...]:
        """Return the warnings for the user; empty without suspicion."""
        if not self.suspicions:
            return ()
        cause = (
            "No change that was tried (scale and channels of the inputs, order of the classes) "
            "helps clearly; check the preprocessing and the labels."
            if self.better is None
            else f"{self.better.effect_sentence()} The preprocessing or the labels are probably "
            "wrong."
        )
        return (*self.suspicions, cause)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A change of ready inputs (N, ...), and the equivalent preprocessing steps, if they exist."""

    name: str
    change: Change
    preprocess: Preprocess | None = None


def check_float_network(network: Network, data: Dataset, top1: float | None) -> Steps[SanityCheck]:
    """Check the float network with a known top-1 on `data`, and try causes of poor answers.

    A nearly perfect network costs nothing. Otherwise up to 100 images are read once. Suspicious
    answers or an unusual size of the inputs start the trials; a trial changes the inputs. A change
    counts if the 95 % interval lies above the interval of unchanged inputs. An unusual size alone
    is no suspicion, because raw pixels are the right input of some networks.
    """
    poor = top1 is not None and top1 < SOUND_TOP1 and len(data) >= FEWEST_IMAGES
    if top1 is None or not poor or not network.is_classifier or len(network.graph.inputs) > 1:
        return SanityCheck()
    room = MOST_BYTES // (4 * math.prod(network.graph.input_shape))
    count = min(TRIED_IMAGES, len(data), max(FEWEST_IMAGES, room))
    yield Progress(0.0, f"Sanity check of the float network on {count} {network.noun}s")
    (batch,) = data.sample(count, 0).batches(count)
    if batch.labels is None or not isinstance(batch.inputs, Tensor):
        return SanityCheck()
    inputs, labels = batch.inputs, batch.labels
    answers = _predicted_classes(network, inputs)
    classes, noun = network.output_count, network.noun
    suspicions = find_suspicions(top1, len(data), answers, labels, classes, noun)
    size = float(inputs.double().square().mean().sqrt())
    trials = list(_input_change_trials(data, inputs)) if network.graph.inputs[0].real else []
    usual = not trials or USUAL_SIZE[0] <= size <= USUAL_SIZE[1]
    if usual and not suspicions:  # colours in another order rarely bring a network down to chance
        trials = [trial for trial in trials if trial.name == SWAPPED]
    known = int((answers == labels).sum())
    steps: Preprocess | None = getattr(data.source, "preprocess", None)
    found = [_match_classes(answers, labels, network.output_count, steps)] if suspicions else []
    for place, trial in enumerate(trials, 1):
        hits = int((_predicted_classes(network, trial.change(inputs)) == labels).sum())
        found.append(_better_inputs(trial.name, hits, known, count, trial.preprocess))
        yield Progress(place / len(trials), f"Sanity check: with {trial.name}")
    changes = [replace(one, noun=network.noun) for one in found if one is not None]
    better = max(changes, key=lambda one: one.top1, default=None)
    if better is not None and not usual:
        unusual = (
            f"The inputs have a root mean square of {size:.3g}; most networks expect "
            f"{USUAL_SIZE[0]:g} to {USUAL_SIZE[1]:g}."
        )
        suspicions = (*suspicions, unusual)
    if better is not None and not suspicions:
        suspicions = (f"The float network is right on {top1:.1%} of {len(data)} {network.noun}s.",)
    return SanityCheck(suspicions, better)


def find_suspicions(
    top1: float, samples: int, answers: Tensor, labels: Tensor, classes: int, noun: str = "image"
) -> tuple[str, ...]:
    """Return the suspicions about a top-1 on `samples` images, and about answers of shape (N,).

    Top-1 is at chance if the 95 % interval reaches down to 5 % of the way from chance to perfect
    (our choice).
    """
    found = []
    chance = 1 / classes
    bar = chance + NEAR_CHANCE * (1 - chance)
    if proportion_interval(round(top1 * samples), samples).low <= bar:
        found.append(
            f"The float network is right on {top1:.1%} of {samples} {noun}s; guessing among "
            f"{classes} classes gives {chance:.1%}."
        )
    largest, spread = _largest_share(answers), _largest_share(labels)
    if largest > ONE_CLASS and spread < ONE_CLASS / 2:
        found.append(
            f"The float network gives one class for {largest:.0%} of {len(answers)} {noun}s, of "
            f"which no class has more than {spread:.0%}."
        )
    return tuple(found)


def _largest_share(classes: Tensor) -> float:
    """Return the share of the commonest class in (N,)."""
    return int(torch.bincount(classes).max()) / len(classes)


def _predicted_classes(network: Network, inputs: Tensor) -> Tensor:
    """Return the class (N,) that the float network predicts for inputs of shape (N, ...)."""
    pieces = inputs.split(network.forward_batch_size)
    found = [
        forward_first_output(network.graph, network.graph.batch, piece).argmax(1)
        for piece in pieces
    ]
    return torch.cat(found)


def _better_inputs(
    name: str, hits: int, before: int, count: int, preprocess: Preprocess | None = None
) -> BetterInputs | None:
    """Return a change with `hits` right answers of `count`; None without a clear gain."""
    if proportion_interval(hits, count).low <= proportion_interval(before, count).high:
        return None
    return BetterInputs(name, hits / count, before / count, count, preprocess)


def _match_classes(
    answers: Tensor, labels: Tensor, classes: int, steps: Preprocess | None
) -> BetterInputs | None:
    """Match answers (N,) to labels (N,) on every second image; measure the match on the rest.

    The match maximises the sum of matched cells of the confusion matrix. Both tensors have the
    shape (N,). The result has steps with the order of the classes where images of each class
    confirm the order.
    """
    matched = _matched_labels(answers[::2], labels[::2], classes)
    rest, wanted = answers[1::2], labels[1::2]
    hits = int((matched[rest] == wanted).sum())
    before = int((rest == wanted).sum())
    return _better_inputs(
        "the classes in another order",
        hits,
        before,
        len(wanted),
        _reorder_classes(answers, labels, classes, steps),
    )


def _matched_labels(answers: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the label (classes,) that belongs to each answered class, from answers (N,)."""
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (answers.numpy(), labels.numpy()), 1)
    _, label_of = linear_sum_assignment(confusion, maximize=True)
    return torch.from_numpy(label_of)


def _reorder_classes(
    answers: Tensor, labels: Tensor, classes: int, steps: Preprocess | None
) -> Preprocess | None:
    """Return the steps with the order of the classes from answers and labels (N,).

    The result is None where fewer than `LEAST_OF_CLASS` images of a class confirm its place, where
    an order was corrected before, or for a table.
    """
    if steps is None or steps.table is not None:
        return None
    known = steps.corrections or Corrections()
    label_of = _matched_labels(answers, labels, classes)
    sure = torch.bincount(labels[label_of[answers] == labels], minlength=classes)
    if known.class_order or int(sure.min()) < LEAST_OF_CLASS:
        return None
    order = tuple(torch.argsort(label_of).tolist())
    return replace(steps, corrections=replace(known, class_order=order))


def _input_change_trials(data: Dataset, inputs: Tensor) -> Iterator[_Trial]:
    """Yield the changes that image inputs of shape (N, ...) can need; tables need none."""
    steps: Preprocess | None = getattr(data.source, "preprocess", None)
    if steps is not None and steps.table is not None:
        return
    if steps is None or (isinstance(data.source, ArraySource) and not data.source.has_pixels):
        times, parts = _scale_floats(steps, BYTE), _scale_floats(steps, 1 / BYTE)
        yield _Trial("the inputs times 255", lambda values: values * BYTE, times)
        yield _Trial("the inputs divided by 255", lambda values: values / BYTE, parts)
        axis = 1
    else:
        for name, other in _other_preprocess_steps(steps):
            yield _Trial(name, _rescaling_change(steps, other), other)
        axis = 3 if steps.layout is Layout.NHWC else 1
    if inputs.dim() == 4 and inputs.shape[axis] == 3:
        swapped = _swap_channels(steps, data)
        yield _Trial(SWAPPED, lambda values: values.flip(axis), swapped)


def _scale_floats(steps: Preprocess | None, factor: float) -> Preprocess | None:
    """Return the steps that multiply arrays of floats too; None without steps."""
    if steps is None:
        return None
    known = steps.corrections or Corrections()
    return replace(steps, corrections=replace(known, factor=known.factor * factor))


def _swap_channels(steps: Preprocess | None, data: Dataset) -> Preprocess | None:
    """Return the steps that reverse the colours too; None without steps."""
    if steps is None:
        return None
    if isinstance(data.source, ArraySource) and not data.source.has_pixels:
        known = steps.corrections or Corrections()
        return replace(steps, corrections=replace(known, reversed=not known.reversed))
    other = ChannelOrder.RGB if steps.channel_order is ChannelOrder.BGR else ChannelOrder.BGR
    return replace(steps, channel_order=other)


def _other_preprocess_steps(steps: Preprocess) -> Iterator[tuple[str, Preprocess]]:
    """Yield the common ways to scale pixels, apart from `steps`."""
    times, parts = (
        tuple(tuple(v * factor for v in values) for values in (steps.mean, steps.std))
        for factor in (BYTE, 1 / BYTE)
    )
    pairs = {"mean and std times 255": times, "mean and std divided by 255": parts}
    for scaling in pixel_scalings(steps.channels):
        pairs[scaling.title] = (scaling.mean, scaling.std)
    for name, (mean, std) in pairs.items():
        with suppress(DatasetError):  # a std too small to divide by cannot be meant
            other = replace(steps, mean=mean, std=std, unit_scale_assumed=False)
            if other != steps:
                yield name, other


def _rescaling_change(steps: Preprocess, other: Preprocess) -> Change:
    """Return the change from the inputs of `steps` to the inputs of `other`, by mean and std."""
    shape = (1, 1, 1, -1) if steps.layout is Layout.NHWC else (1, -1, 1, 1)
    reverse = steps.channel_order is ChannelOrder.BGR
    mean, std, new_mean, new_std = (
        torch.tensor(values[::-1] if reverse else values).reshape(shape)
        for values in (steps.mean, steps.std, other.mean, other.std)
    )
    return lambda values: (values * std + mean - new_mean) / new_std
