import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_io.dataset import check_class_labels
from data_io.errors import DatasetError
from data_io.open_dataset import open_dataset
from data_io.preprocessing import Preprocess
from quant.inputs import first_output_of
from tests.random_numbers import RANDOM

GREY = Preprocess(channels=1, mean=(2.0,), std=(4.0,))


def save(path: Path, compressed: bool = False, **arrays: Any) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", ["NHW", "NHWC", "NCHW"])
def test_images_are_preprocessed(tmp_path: Path, compressed: bool, form: str) -> None:
    images = RANDOM.integers(0, 256, (7, 5, 6), np.uint8)
    shaped = {"NHW": images, "NHWC": images[..., None], "NCHW": images[:, None]}[form]
    labels = np.arange(7, dtype=np.uint8)
    path = save(tmp_path / "d.npz", compressed, inputs=shaped, labels=labels)
    dataset = open_dataset(path, GREY)
    assert (len(dataset), dataset.labelled, dataset.name) == (7, True, "d.npz")
    batches = list(dataset.batches(3))
    wanted = (torch.from_numpy(images)[:, None].float() - 2) / 4
    assert torch.equal(torch.cat([first_output_of(b.inputs) for b in batches]), wanted)
    assert torch.cat([b.labels for b in batches if b.labels is not None]).tolist() == list(range(7))


def test_images_are_resized_and_converted(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (2, 6, 8, 3), np.uint8)
    steps = Preprocess(channels=1, resize=4, crop=4, mean=(0.0,), std=(1.0,))
    dataset = open_dataset(save(tmp_path / "d.npz", inputs=images), steps)
    batch = next(dataset.batches(2))
    assert torch.equal(batch.inputs[1], steps.preprocess_image(images[1]))
    assert batch.labels is None


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_are_taken_as_they_are(tmp_path: Path, dtype: str, compressed: bool) -> None:
    values = RANDOM.normal(size=(5, 4, 2)).astype(dtype)
    dataset = open_dataset(save(tmp_path / "d.npz", compressed, inputs=values), GREY)
    inputs = torch.cat([first_output_of(b.inputs) for b in dataset.batches(2)])
    assert torch.equal(inputs, torch.from_numpy(values.astype(np.float32)))


def test_fortran_order(tmp_path: Path) -> None:
    values = np.asfortranarray(RANDOM.normal(size=(5, 4, 2)).astype(np.float32))
    dataset = open_dataset(save(tmp_path / "d.npz", inputs=values), GREY)
    assert torch.equal(
        first_output_of(next(dataset.batches(5)).inputs), torch.from_numpy(values.copy("C"))
    )


def test_memory_does_not_hold_the_array(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", compressed=True, inputs=np.zeros((64, 256, 256), np.float32))
    source: Any = open_dataset(path, GREY).source
    assert isinstance(source.inputs, np.memmap)


def test_digest(tmp_path: Path) -> None:
    values = RANDOM.normal(size=(5, 4)).astype(np.float32)
    first = open_dataset(save(tmp_path / "a.npz", inputs=values), GREY).digest
    assert (
        open_dataset(save(tmp_path / "b.npz", compressed=True, inputs=values), GREY).digest == first
    )
    assert open_dataset(save(tmp_path / "c.npz", inputs=values + 1), GREY).digest != first
    labels = np.zeros(5, np.int64)
    assert (
        open_dataset(save(tmp_path / "e.npz", inputs=values, labels=labels), GREY).digest != first
    )


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.marker)!r}, 'w').close()",))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    objects = np.array([Evil(marker)] * 3, dtype=object)
    cases: list[dict[str, Any]] = [
        {"inputs": objects},
        {"inputs": np.zeros((3, 2)), "labels": objects},
    ]
    for arrays in cases:
        with pytest.raises(DatasetError, match=r"Python objects: .* can run code"):
            open_dataset(save(tmp_path / "d.npz", **arrays), GREY)
    assert not marker.exists()
    np.load(tmp_path / "d.npz", allow_pickle=True)["labels"]
    assert marker.exists(), "the payload of this test does nothing"


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        (
            {"x": np.zeros(3)},
            "must hold the arrays inputs and, optionally, labels or targets, got x",
        ),
        ({"inputs": np.zeros((3, 2)), "y": np.zeros(3)}, "got inputs, y"),
        ({"inputs": np.zeros(3)}, r"\(N, ...\), got shape \(3,\)"),
        ({"inputs": np.zeros((0, 2))}, "got shape"),
        ({"inputs": np.zeros((3, 2), np.int64)}, "int64 inputs in .* 1 or 3 channels"),
        ({"inputs": np.zeros((3, 2, 2), bool)}, "must be whole numbers .* got bool"),
        ({"inputs": np.full((3, 2, 2), 256)}, "pixels of 0 to 255, got int64 from 256 to 256"),
        ({"inputs": np.full((3, 2, 2), -1, np.int8)}, "got int8 from -1 to -1. Scale them"),
        ({"inputs": np.zeros((3, 2), np.complex64)}, "got complex64"),
        ({"inputs": np.zeros((3, 4, 5, 7), np.uint8)}, "1 or 3 channels, got shape"),
        ({"inputs": np.zeros((3, 2)), "labels": np.zeros(4, np.int64)}, r"shape \(3,\), one for"),
        ({"inputs": np.zeros((3, 2)), "labels": np.zeros(3)}, "whole numbers .* got float64"),
        ({"inputs": np.zeros((3, 2)), "labels": np.array([0, -2, 1])}, "got -2 for item 1"),
        ({"inputs": np.array([[0.0], [np.nan]])}, "NaN or infinity in item 1"),
        ({"inputs": np.array([[1e300], [0.0]])}, "NaN or infinity in item 0"),
        ({"inputs": np.array([[0.0], [1], [np.inf]])}, "NaN or infinity in item 2"),
    ],
)
def test_arrays_that_cannot_be(tmp_path: Path, arrays: dict[str, Any], match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        open_dataset(save(tmp_path / "d.npz", **arrays), GREY)


@pytest.mark.parametrize("kind", ["int32", "int64", "uint16", ">i4", "uint64"])
def test_pixels_in_any_type_of_whole_numbers_are_those_of_8_bits(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8))
    wide, narrow = (
        open_dataset(save(tmp_path / f"{index}.npz", inputs=pixels.astype(one)), GREY)
        for index, one in enumerate((kind, "uint8"))
    )
    found, wanted = (next(data.batches(5)).inputs for data in (wide, narrow))
    assert torch.equal(first_output_of(found), first_output_of(wanted))


def test_nan_far_into_a_large_array(tmp_path: Path) -> None:
    values = np.zeros((1200, 8192), np.float32)
    values[1111, 77] = np.nan
    with pytest.raises(DatasetError, match="item 1111"):
        open_dataset(save(tmp_path / "d.npz", inputs=values), GREY)


def test_labels_beyond_the_outputs(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", inputs=np.zeros((3, 2)), labels=np.array([0, 9, 3]))
    dataset = open_dataset(path, GREY)
    check_class_labels(dataset, 10)
    with pytest.raises(DatasetError, match="between 0 and 8, the model's outputs, got 9"):
        check_class_labels(dataset, 9)


def test_damaged_files(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", compressed=True, inputs=RANDOM.normal(size=(50, 20)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match=r"d\.npz must be a readable \.npz"):
        open_dataset(path, GREY)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inputs.npy", b"\x93NUMPY\x01\x00nonsense")
    with pytest.raises(DatasetError, match="numpy's format 1 or 2"):
        open_dataset(path, GREY)


def test_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", inputs=np.zeros((3, 2)))
    data = path.read_bytes().replace(b"'shape': (3, 2)", b"'shape': (9, 9)")
    content = data[data.index(b"\x93NUMPY") :][: 128 + 48]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inputs.npy", content)
    with pytest.raises(DatasetError, match="648 bytes of data for shape"):
        open_dataset(path, GREY)


def test_other_paths(tmp_path: Path) -> None:
    (tmp_path / "d.zip").write_bytes(b"")
    for name, match in (
        ("d.zip", r"a file \.zip \(d\.zip\)"),
        ("gone.npz", "nothing of that name"),
    ):
        with pytest.raises(DatasetError, match=match):
            open_dataset(tmp_path / name, GREY)
