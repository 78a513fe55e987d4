import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_io.arrays import ArraySource
from data_io.bundled import CLASS_NAMES, fashion_test_set, fashion_train_part
from data_io.dataset import Corrections, Dataset, check_class_labels
from data_io.errors import DatasetError
from data_io.preprocessing import Preprocess
from quant.inputs import first_output_of


def numbers(count: int) -> Dataset:
    """Item i is the number i, label i % 3."""
    values = np.arange(count, dtype=np.float32)[:, None]
    source = ArraySource(values, np.arange(count) % 3, Preprocess())
    return Dataset(
        "numbers",
        source,
        tuple(range(count)),
        labelled=True,
        class_names=("a", "b", "c"),
        source_digest=lambda: "x",
    )


def values_of(dataset: Dataset) -> list[int]:
    return [int(v) for batch in dataset.batches(4) for v in first_output_of(batch.inputs).flatten()]


@pytest.mark.parametrize("seed", [0, 1, 2**31])
@pytest.mark.parametrize(
    ("count", "calibration"), [(1, 0), (1, 1), (7, 3), (60, 0), (60, 59), (60, 60)]
)
def test_split_is_disjoint_complete_and_deterministic(
    count: int, calibration: int, seed: int
) -> None:
    dataset = numbers(count)
    first, rest = dataset.split(calibration, seed)
    assert len(first) == calibration
    assert sorted(values_of(first) + values_of(rest)) == list(range(count))
    assert values_of(first) == sorted(values_of(first))
    again = dataset.split(calibration, seed)
    assert (again[0].indices, again[1].indices) == (first.indices, rest.indices)


def test_split_depends_on_the_seed() -> None:
    dataset = numbers(100)
    assert dataset.split(50, 0)[0].indices != dataset.split(50, 1)[0].indices
    assert dataset.sample(50, 1).indices == dataset.split(50, 1)[0].indices


def test_subsets_of_subsets_keep_the_labels() -> None:
    dataset = numbers(20).subset([7, 3, 11]).subset([2, 0])
    batch = next(dataset.batches(9))
    assert first_output_of(batch.inputs).flatten().tolist() == [11.0, 7.0]
    assert batch.labels is not None
    assert batch.labels.tolist() == [2, 1]
    assert batch.indices == (11, 7)


def test_wrong_sizes() -> None:
    dataset = numbers(5)
    with pytest.raises(DatasetError, match="0 to 5 images, got 6"):
        dataset.split(6)
    with pytest.raises(DatasetError, match="between 0 and 4, got -1"):
        dataset.subset([0, -1])
    with pytest.raises(DatasetError, match="at least 1 image, got 0"):
        next(dataset.batches(0))
    assert len(dataset.first(9)) == 5


def test_digest_follows_the_choice() -> None:
    dataset = numbers(9)
    digests = {d.digest for d in (dataset, dataset.first(8), dataset.subset([1, 0]))}
    assert len(digests) == 3
    assert numbers(9).digest == dataset.digest


@pytest.mark.parametrize(
    ("opened", "count"), [(fashion_test_set, 10_000), (fashion_train_part, 12_000)]
)
def test_bundled_fashion(opened: object, count: int) -> None:
    dataset: Dataset = opened()  # type: ignore[operator]
    assert len(dataset) == count
    check_class_labels(dataset, 10)
    labels = torch.cat([b.labels for b in dataset.batches(1000) if b.labels is not None])
    assert labels.bincount().tolist() == [count // 10] * 10
    batch = next(dataset.batches(2))
    images = first_output_of(batch.inputs)
    assert images.shape == (2, 1, 28, 28)
    assert images.dtype == torch.float32


def test_first_bundled_image_is_an_ankle_boot() -> None:
    batch = next(fashion_test_set().batches(1))
    assert batch.labels is not None
    assert CLASS_NAMES[int(batch.labels)] == "Ankle boot"
    with pytest.raises(DatasetError, match=r"outputs \(1000\), got 10"):
        check_class_labels(fashion_test_set(), 1000)


def test_corrections_reorder_labels_and_the_names_of_outputs() -> None:
    found = Corrections(class_order=(2, 0, 1))
    assert found.correct_labels(torch.tensor([0, 1, 2, 0])).tolist() == [2, 0, 1, 2]  # type: ignore[union-attr]
    assert found.names_of_outputs(("a", "b", "c")) == ("b", "c", "a")
    assert found.correct_labels(None) is None
    with pytest.raises(DatasetError, match=r"must hold each label of the data, got 3 classes"):
        found.correct_labels(torch.tensor([3]))
    steps = Preprocess(corrections=replace(found, factor=255.0, reversed=True))
    assert Preprocess.from_json(steps.to_json()) == steps
    assert "corrections" not in Preprocess().to_json(), "older data keep their digest"


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"order": []},
        {"class_order": [0, 0]},
        {"class_order": [True]},
        {"class_order": 3},
        {"factor": 0},
        {"factor": "2"},
        {"factor": math.inf},
        {"reversed": 1},
    ],
)
def test_corrections_of_a_file_are_checked(value: object) -> None:
    with pytest.raises(DatasetError, match="must"):
        Corrections.from_dict(value)
