"""An `.npz` with an array for each input, tokens among them, and targets beside the labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from data_io.arrays import open_array_file
from data_io.errors import DatasetError
from data_io.open_dataset import open_dataset
from data_io.preprocessing import Preprocess
from quant.inputs import Input
from tests.random_numbers import RANDOM

IMAGE, MASK = Input("image", (3, 4, 4)), Input("mask", (4, 4), "bool")
IDS = Input("ids", (5,), "int32", 9)
SCALED = Preprocess(mean=(0.0,) * 3, std=(255.0,) * 3)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "d.npz", **arrays)
    return folder / "d.npz"


def test_each_input_has_its_array_in_the_order_of_the_network(tmp_path: Path) -> None:
    image = RANDOM.integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
    mask = RANDOM.integers(0, 2, (6, 4, 4))
    path = saved(tmp_path, mask=mask, labels=np.arange(6), image=image)
    data = open_array_file(path, SCALED, (IMAGE, MASK))
    assert len(data) == 6
    assert data.labelled
    (batch,) = data.subset([4, 1]).batches(9)
    first, second = batch.inputs
    assert torch.allclose(first, torch.from_numpy(image[[4, 1]]).permute(0, 3, 1, 2) / 255)
    assert second.dtype is torch.bool
    assert torch.equal(second, torch.from_numpy(mask[[4, 1]]).bool())
    assert batch.labels is not None
    assert batch.labels.tolist() == [4, 1]
    assert isinstance(batch.targets, Tensor)
    assert batch.targets.tolist() == [4, 1]


@pytest.mark.parametrize("name", ["ids", "inputs"])
def test_tokens_come_in_as_whole_numbers(tmp_path: Path, name: str) -> None:
    ids = RANDOM.integers(0, 9, (4, 5))
    (batch,) = open_array_file(saved(tmp_path, **{name: ids}), SCALED, (IDS,)).batches(9)
    assert isinstance(batch.inputs, Tensor)
    assert batch.inputs.dtype is torch.int32
    assert torch.equal(batch.inputs, torch.from_numpy(ids).int())


def test_targets_of_any_form_come_with_the_batch(tmp_path: Path) -> None:
    inputs, maps = RANDOM.normal(size=(4, 3)), RANDOM.integers(0, 5, (4, 2, 2))
    (batch,) = open_array_file(saved(tmp_path, inputs=inputs, targets=maps), SCALED).batches(9)
    assert isinstance(batch.targets, Tensor)
    assert torch.equal(batch.targets, torch.from_numpy(maps))
    assert batch.labels is None
    path = saved(tmp_path, inputs=inputs, **{"targets.a": maps, "targets.b": inputs})
    (batch,) = open_array_file(path, SCALED).subset([3]).batches(9)
    assert isinstance(batch.targets, dict)
    assert {name: tuple(value.shape) for name, value in batch.targets.items()} == {
        "a": (1, 2, 2), "b": (1, 3),
    }  # fmt: skip


def test_the_digest_tells_inputs_and_targets_apart(tmp_path: Path) -> None:
    image, mask = np.ones((3, 2, 2)), np.ones((3, 2), np.int64)
    wanted = (Input("image", (2, 2)), Input("mask", (2,), "int64"))

    def digest(**arrays: Any) -> str:
        return open_array_file(saved(tmp_path, **arrays), SCALED, wanted).digest

    found = {
        digest(image=image, mask=mask),
        digest(image=image, mask=0 * mask),
        digest(image=2 * image, mask=mask),
        digest(image=image, mask=mask, targets=mask),
        digest(image=image, mask=mask, targets=0 * mask),
    }
    assert len(found) == 5
    assert digest(mask=mask, image=image) in found


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"inputs": np.ones((3, 2))}, r"arrays image, mask and, optionally, labels or targets"),
        ({"image": np.ones((3, 2))}, "got image"),
        ({"image": np.ones((3, 2)), "mask": np.ones((3, 2)), "x": np.ones(3)}, "image, mask and"),
        ({"image": np.ones((3, 2)), "mask": np.ones((3, 2))}, "mask in d.npz must be whole"),
        ({"image": np.ones((3, 2)), "mask": np.ones((2, 2), int)}, "for each of 3 inputs"),
        ({"image": np.ones((3, 2)), "mask": np.ones((3, 2), int), "targets": np.ones(2)},
         "targets in d.npz must hold"),
        ({"image": np.ones((3, 2)), "mask": np.full((3, 2), -1)}, "mask in d.npz must be 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    wanted = (Input("image", (2,)), Input("mask", (2,), "int64"))
    with pytest.raises(DatasetError, match=words):
        open_array_file(saved(tmp_path, **arrays), SCALED, wanted)


def test_tokens_beyond_the_table_are_named(tmp_path: Path) -> None:
    ids = np.zeros((4, 5), np.int64)
    ids[2, 1] = 9
    with pytest.raises(DatasetError, match=r"must be 0 to 8, .* got 9 in item 2"):
        open_array_file(saved(tmp_path, ids=ids), SCALED, (IDS,))


def test_a_folder_is_no_data_for_several_inputs(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="takes image, mask needs an"):
        open_dataset(tmp_path, SCALED, (IMAGE, MASK))
