"""YOLO labels beside a folder of images, and which targets lie at a path."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_io.errors import DatasetError
from data_io.folder import open_folder
from data_io.preprocessing import Preprocess
from data_io.targets.attach_targets import with_targets
from data_io.targets.prior_boxes import read_prior_boxes


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((100, 200, 3), np.uint8)).save(folder / name)
    (tmp_path / "labels").mkdir()
    return folder


def test_shares_become_pixels_of_the_input(images: Path) -> None:
    labels = images.parent / "labels"
    (labels / "a.txt").write_text("2 0.5 0.5 0.2 0.4\n\n0 0.25 0.5 0.1 0.1\n")
    data = with_targets(open_folder(images, Preprocess(resize=50, crop=50)), labels)
    (batch,) = data.batches(2)
    assert isinstance(batch.targets, dict)
    # 200 x 100 is halved, then 25 pixels less on the left: a centre of 50, 25 with sides 20, 20
    assert batch.targets["boxes"][0].tolist() == pytest.approx(
        np.array([[15, 15, 35, 35], [0, 22.5, 5, 27.5]])
    )
    assert batch.targets["classes"].tolist() == [[2, 0], [-1, -1]]
    assert data.digest != open_folder(images, Preprocess(resize=50, crop=50)).digest


@pytest.mark.parametrize(
    "line",
    [
        "1 0.5 0.5 0.2",
        "x 0.5 0.5 0.2 0.2",
        "1 0.5 0.5 1.2 0.2",
        "1.5 0.5 0.5 0.2 0.2",
        "-1 0.5 0.5 0.2 0.2",
        "1 0.1 0.1 0.2 0.2 0.3",
        "1 nan 0.5 0.2 0.2",
        "99999999999999999999 0.5 0.5 0.2 0.2",
    ],
)
def test_a_line_that_is_no_box_is_named(images: Path, line: str) -> None:
    (images.parent / "labels" / "b.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(DatasetError, match=r"line 2 of the labels of b\.png is"):
        with_targets(open_folder(images, Preprocess(resize=50, crop=50)), images.parent / "labels")


def test_lines_as_other_tools_write_them(images: Path) -> None:
    """A class as a float, a share just above 1 by rounding, a polygon in place of a box."""
    labels = images.parent / "labels"
    (labels / "a.txt").write_text("2.0 0.5 0.5 1.000001 1.0\n3 0.1 0.2 0.3 0.2 0.2 0.6\n")
    data = with_targets(open_folder(images, Preprocess()), labels)
    batch = next(iter(data.batches(1)))
    assert isinstance(batch.targets, dict)
    assert batch.targets["classes"].tolist() == [[2, 3]]
    assert batch.targets["boxes"][0].tolist() == [
        pytest.approx([0, 0, 200, 100], abs=1e-3),
        pytest.approx([20, 20, 60, 60], abs=1e-3),
    ]


def test_labels_lie_where_the_yolo_projects_have_them(images: Path) -> None:
    """images/val/a.png has labels/val/a.txt, whether labels or labels/val is named."""
    val = images / "val"
    val.mkdir()
    for name in ("a.png", "b.png"):
        (images / name).rename(val / name)
    labels = images.parent / "labels" / "val"
    labels.mkdir()
    (labels / "b.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    for named in (labels, labels.parent):
        (batch,) = with_targets(open_folder(val, Preprocess()), named).batches(2)
        assert isinstance(batch.targets, dict)
        assert batch.targets["classes"].tolist() == [[-1], [1]]


def test_a_file_that_is_no_coco_file_is_refused(images: Path) -> None:
    (images.parent / "data.yaml").write_text("path: .")
    with pytest.raises(DatasetError, match=r"got the file data\.yaml\. Name the folder"):
        with_targets(open_folder(images, Preprocess()), images.parent / "data.yaml")


def test_what_lies_at_a_path_decides(images: Path) -> None:
    data = open_folder(images, Preprocess(resize=50, crop=50))
    with pytest.raises(DatasetError, match="nothing of the name gone"):
        with_targets(data, images.parent / "gone")
    (images.parent / "labels" / "other.txt").write_text("")
    with pytest.raises(DatasetError, match=r"none of 2 has\. Name the folder"):
        with_targets(data, images.parent / "labels")
    masks = images.parent / "masks"
    masks.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.ones((100, 200), np.uint8)).save(masks / f"{name}.png")
    (batch,) = with_targets(data, masks).batches(2)
    assert tuple(np.asarray(batch.targets).shape) == (2, 50, 50)


def test_priors_must_be_rows_of_four(tmp_path: Path) -> None:
    np.save(tmp_path / "priors.npy", np.ones((3, 4)))
    assert read_prior_boxes(tmp_path / "priors.npy").shape == (3, 4)
    np.save(tmp_path / "flat.npy", np.ones(4))
    with pytest.raises(DatasetError, match=r"flat\.npy holds \(4,\)"):
        read_prior_boxes(tmp_path / "flat.npy")
    (tmp_path / "short.npy").write_bytes((tmp_path / "flat.npy").read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"must be an \.npy file of numbers"):
        read_prior_boxes(tmp_path / "short.npy")
    np.save(tmp_path / "code.npy", np.array([print]), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"must be an \.npy file of numbers"):
        read_prior_boxes(tmp_path / "code.npy")
