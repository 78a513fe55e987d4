from pathlib import Path

import numpy as np
import pytest
import torch

from data_io.bundled import letter_preprocess, letter_test, letter_train
from data_io.errors import DatasetError
from data_io.letter_files import (
    FEATURES,
    LETTER_DIGEST,
    LETTERS,
    digest_of_letters,
    letter_columns,
    read_bundled_letters,
)
from data_io.open_dataset import measure_standardisation, open_dataset
from data_io.preprocessing import Preprocess
from data_io.table_columns import TableColumns

TEXT = "height,kind,width\n1,cat,10\n3,dog,30\n5,cat,80\n"


def write(path: Path, text: str = TEXT) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def steps(**fields: object) -> Preprocess:
    return Preprocess(table=TableColumns(**fields))  # type: ignore[arg-type]


def test_a_table_gives_rows_and_labels(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path / "t.csv"), steps(label="kind"))
    batch = next(data.batches(3))
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.inputs.tolist() == [[1, 10], [3, 30], [5, 80]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1, 0]
    assert data.class_names == ("cat", "dog")


def test_standardisation_is_measured_once_and_used_on_other_rows(tmp_path: Path) -> None:
    measured = measure_standardisation(write(tmp_path / "train.csv"), steps(label="kind"))
    assert measured.table is not None
    assert measured.table.mean == pytest.approx((3.0, 40.0))
    assert measured.table.std == pytest.approx(np.array([[1, 10], [3, 30], [5, 80]]).std(0))
    assert Preprocess.from_json(measured.to_json()) == measured
    # columns are found by name, and a class keeps its number where the other does not occur
    other = write(tmp_path / "test.csv", "width;kind;note;height\n40;dog;7;3\n")
    batch = next(open_dataset(other, measured).batches(1))
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.inputs.tolist() == [[0, 0]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [1]


def test_a_target_is_no_feature_and_numbers_need_no_header(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path / "t.csv", "1,2,0.5\n3,4,1.5\n"), steps(target="3"))
    batch = next(data.batches(2))
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.inputs.tolist() == [[1, 2], [3, 4]]
    assert isinstance(batch.targets, torch.Tensor)
    assert batch.targets.tolist() == [[0.5], [1.5]]
    assert not data.labelled


def test_a_table_in_an_npz_file_is_standardised_too(tmp_path: Path) -> None:
    rows, path = np.array([[0, 4], [2, 8]], np.uint8), tmp_path / "t.npz"
    np.savez(path, inputs=rows, labels=np.array([0, 1]))
    measured = measure_standardisation(path, Preprocess())
    batch = next(open_dataset(path, measured).batches(2))
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.inputs.tolist() == [[-1, -1], [1, 1]]


@pytest.mark.parametrize(
    ("text", "fields", "sentence"),
    [
        ("a,b\n1,x\n", {}, r"finite number, got 'x' in row 1 of b"),
        ("a,b\n1,2\n", {"label": "c"}, r"must have the column 'c', got a, b"),
        ("a,b\n1,2,3\n", {}, r"must have 2 cells, got 3 in row 1"),
        ("a,a\n1,2\n", {}, "different names"),
        ("a,b\n", {}, "0 rows"),
        ("a\n1\n", {}, "at least two columns"),
        ("a,b\n1,nan\n", {}, "finite number, got 'nan'"),
        ("a,b\n1,z\n", {"label": "b", "classes": ("x", "y")}, "one of the classes x, y, got 'z'"),
        ("a,b\n1,2\n", {"mean": (0.0,), "std": (1.0,)}, "the 1 columns that mean"),
    ],
)
def test_tables_that_cannot_be(
    tmp_path: Path, text: str, fields: dict[str, object], sentence: str
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        open_dataset(write(tmp_path / "t.csv", text), steps(**fields))


def test_steps_of_images_are_written_as_before() -> None:
    assert "table" not in Preprocess().to_json()
    assert Preprocess.from_json(Preprocess().to_json()) == Preprocess()
    with pytest.raises(DatasetError, match=r"table\.label must name a column"):
        Preprocess.from_json('{"table": {"label": 3}}')
    with pytest.raises(DatasetError, match="must be above 0"):
        TableColumns(mean=(0.0,), std=(0.0,))


def test_bundled_letters_are_what_the_donor_describes() -> None:
    rows, labels = read_bundled_letters()
    assert digest_of_letters(rows, labels) == LETTER_DIGEST
    assert rows.shape == (20_000, 16)
    assert (int(rows.min()), int(rows.max())) == (0, 15)
    # the frequencies of A, B, Z in the documentation of the data set
    assert np.bincount(labels)[[0, 1, 25]].tolist() == [789, 766, 734]
    assert (len(letter_train()), len(letter_test())) == (16_000, 4_000)
    assert letter_train().digest != letter_test().digest


def test_bundled_letters_read_as_a_csv_of_them_does(tmp_path: Path) -> None:
    rows, labels = read_bundled_letters()
    lines = [",".join((*FEATURES, "lettr"))]
    lines += [
        f"{','.join(map(str, r))},{LETTERS[k]}"
        for r, k in zip(rows[16_000:], labels[16_000:], strict=True)
    ]
    path = write(tmp_path / "letters.csv", "\n".join(lines))
    ours, theirs = (
        next(letter_test().batches(64)),
        next(open_dataset(path, letter_preprocess()).batches(64)),
    )
    assert isinstance(ours.inputs, torch.Tensor)
    assert isinstance(theirs.inputs, torch.Tensor)
    assert torch.equal(ours.inputs, theirs.inputs)
    assert ours.labels is not None
    assert theirs.labels is not None
    assert torch.equal(ours.labels, theirs.labels)
    standardised = letter_columns().standardize_rows(rows[:16_000])
    assert np.abs(standardised.mean(0)).max() < 1e-5
    assert np.abs(standardised.std(0) - 1).max() < 1e-5
