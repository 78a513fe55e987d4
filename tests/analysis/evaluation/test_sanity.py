"""The float network's sanity check: chance, one class, and causes that are tried and measured."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from analysis.evaluation.sanity import SanityCheck, check_float_network, find_suspicions
from analysis.network import Network, forward_first_output, prepare_network
from data_io.arrays import ArraySource
from data_io.dataset import Corrections, Dataset
from data_io.preprocessing import Preprocess
from quant.progress import drain_steps

CLASSES = 4
STEPS = Preprocess(mean=(128.0,) * 3, std=(64.0,) * 3)


@pytest.fixture(scope="module")
def by_colour() -> Network:
    """A network that tells bright from dark, red from blue: right where pixels come scaled."""
    linear = nn.Linear(3, CLASSES)
    with torch.no_grad():
        # score of the class = w . (red, green, blue), for inputs scaled by STEPS
        linear.weight.copy_(torch.tensor([[3.0, 0, -1], [-1.0, 0, 3], [2.0, 0, 2], [-1.0, 0, -1]]))
        linear.bias.copy_(torch.tensor([0.0, 0, 0, 1]))  # black, where inputs are far too small
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    return prepare_network("by colour", pool.eval(), (3, 2, 2), "digest")


def coloured(steps: Preprocess, order: tuple[int, ...] = (0, 1, 2, 3)) -> Dataset:
    """Return 80 images in four colours: red, blue, pink, black; labels in the given order."""
    colours = np.array([[240, 128, 10], [10, 128, 240], [200, 128, 200], [20, 128, 20]], np.uint8)
    kinds = np.arange(80) // 2 % CLASSES
    images = np.repeat(np.repeat(colours[kinds][:, :, None, None], 2, 2), 2, 3)
    labels = np.array(order)[kinds].astype(np.int64)
    return Dataset(
        name="colours",
        source=ArraySource(images, labels, steps),
        indices=tuple(range(80)),
        labelled=True,
        class_names=(),
        source_digest=lambda: "colours",
        largest_label=3,
    )


def check(network: Network, data: Dataset) -> SanityCheck:
    """Return the sanity check at the float top-1 that is measured first."""
    (batch,) = data.batches(len(data))
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.labels is not None
    top1 = float(
        (forward_first_output(network.graph, None, batch.inputs).argmax(1) == batch.labels)
        .float()
        .mean()
    )
    return drain_steps(check_float_network(network, data, top1))


def test_a_sound_network_is_not_suspected(by_colour: Network) -> None:
    assert check(by_colour, coloured(STEPS)).warning_sentences() == ()


def test_classes_in_another_order_are_matched(by_colour: Network) -> None:
    found = check(by_colour, coloured(STEPS, (1, 2, 3, 0)))
    assert found.better is not None
    assert found.better.change == "the classes in another order"
    assert (found.better.top1, found.better.top1_before) == (1.0, 0.0)
    steps = found.better.preprocess
    assert steps is not None
    assert steps.corrections == Corrections(class_order=(3, 0, 1, 2))
    put_right = check(by_colour, coloured(Preprocess.from_json(steps.to_json()), (1, 2, 3, 0)))
    assert put_right == SanityCheck(), "one click makes the float network right"


def test_an_order_of_classes_that_too_few_images_confirm_is_told_and_not_offered(
    by_colour: Network,
) -> None:
    data = coloured(STEPS, (1, 2, 3, 0))
    few = data.subset([p for p in range(80) if p // 2 % CLASSES < 3])  # no image of a class
    found = check(by_colour, few)
    assert found.better is not None
    assert found.better.change == "the classes in another order"
    assert found.better.preprocess is None


@pytest.mark.parametrize(
    ("harm", "words", "corrections"),
    [
        (lambda x: x / 255, "the inputs times 255", Corrections(factor=255.0)),
        (lambda x: x[:, ::-1], "red and blue swapped", Corrections(reversed=True)),
    ],
)
def test_arrays_of_floats_are_put_right_by_one_click(
    by_colour: Network,
    harm: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    words: str,
    corrections: Corrections,
) -> None:
    data = coloured(STEPS)
    source = data.source
    assert isinstance(source, ArraySource)
    sound = (source.inputs.astype(np.float32) - np.float32(128)) / np.float32(64)
    broken = replace(source, inputs=np.ascontiguousarray(harm(sound)))
    found = check(by_colour, replace(data, source=broken))
    assert found.better is not None
    assert found.better.change == words
    steps = found.better.preprocess
    assert steps is not None
    assert steps.corrections == corrections
    again = replace(broken, preprocess=Preprocess.from_json(steps.to_json()))
    (batch,) = replace(data, source=again).batches(80)
    assert isinstance(batch.inputs, torch.Tensor)
    assert torch.allclose(batch.inputs, torch.from_numpy(sound), atol=1e-5)


def test_mean_and_std_on_the_wrong_scale_are_told(by_colour: Network) -> None:
    wrong = replace(STEPS, mean=(128 / 255,) * 3, std=(64 / 255,) * 3)
    found = check(by_colour, coloured(wrong))
    assert found.better is not None
    assert found.better.change == "mean and std times 255"
    assert found.better.preprocess is not None
    assert found.better.preprocess.mean == pytest.approx((128.0,) * 3)
    assert found.better.top1 == 1.0
    assert "With mean and std times 255: 100%" in " ".join(found.warning_sentences())


def test_chance_and_one_class_by_hand() -> None:
    labels = torch.arange(100) % 10
    answers = torch.cat([torch.zeros(70, dtype=torch.long), torch.arange(30) % 10])
    chance, one_class = find_suspicions(0.10, 100, answers, labels, 10)
    assert "right on 10.0% of 100 images; guessing among 10 classes gives 10.0%" in chance
    assert "one class for 73% of 100 images" in one_class
    # the interval of 30 of 100 begins at 0.212, above 0.1 + 0.05 x 0.9 = 0.145
    assert find_suspicions(0.30, 100, labels, labels, 10) == ()
