import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_io.dataset import check_class_labels
from data_io.errors import DatasetError
from data_io.folder import open_folder
from data_io.open_dataset import open_dataset
from data_io.preprocessing import Preprocess
from quant.inputs import first_output_of

STEPS = Preprocess(channels=1, mean=(0.0,), std=(1.0,))
IMAGENET_FOLDER = Path(__file__).parents[2].parent / "shared/datasets/imagenet-sample"


def save(path: Path, value: int, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for value, name in enumerate(["dog/b.png", "cat/z.PNG", "dog/a.png", "cat/y.bmp", "owl/x.png"]):
        save(tmp_path / "animals" / name, value)
    (tmp_path / "animals/cat/notes.txt").write_text("no image")
    (tmp_path / "animals/.hidden").mkdir()
    return tmp_path / "animals"


def all_of(dataset: object, size: int) -> tuple[list[float], list[int]]:
    batches = list(dataset.batches(size))  # type: ignore[attr-defined]
    values = torch.cat([b.inputs[:, 0, 0, 0] for b in batches]).tolist()
    labels = torch.cat([b.labels for b in batches]).tolist()
    return values, labels


def test_classes_and_images_are_in_alphabetical_order(root: Path) -> None:
    dataset = open_dataset(root, STEPS)
    assert (dataset.name, len(dataset), dataset.labelled) == ("animals", 5, True)
    assert dataset.class_names == ("cat", "dog", "owl")
    for size in (1, 2, 5, 100):
        assert all_of(dataset, size) == ([3.0, 1.0, 2.0, 0.0, 4.0], [0, 0, 1, 1, 2])
    assert [b.indices for b in dataset.batches(2)] == [(0, 1), (2, 3), (4,)]


def test_classes_file_gives_the_outputs(root: Path) -> None:
    (root / "classes.txt").write_text("owl\r\nbear\ncat\ndog\n\n")
    dataset = open_folder(root, STEPS)
    assert dataset.class_names == ("owl", "bear", "cat", "dog")
    assert all_of(dataset, 8)[1] == [2, 2, 3, 3, 0]
    check_class_labels(dataset, 4)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("cat\ndog\n", r"Every class folder must stand in classes.txt, got 1 .* such as owl"),
        ("cat\ndog\nowl\ncat\n", r"each folder once, got cat twice"),
        ("cat\n\ndog\nowl\n", r"line 2 empty"),
    ],
)
def test_classes_file_that_does_not_fit(root: Path, lines: str, match: str) -> None:
    (root / "classes.txt").write_text(lines)
    with pytest.raises(DatasetError, match=match):
        open_folder(root, STEPS)


def test_classes_file_of_other_bytes(root: Path) -> None:
    (root / "classes.txt").write_bytes(b"\xff\xfe\x00c")
    with pytest.raises(DatasetError, match="UTF-8"):
        open_folder(root, STEPS)


@pytest.mark.parametrize("outputs", [2, 4, 1000])
def test_folders_that_do_not_fit_the_outputs(root: Path, outputs: int) -> None:
    with pytest.raises(DatasetError, match=rf"outputs \({outputs}\), got 3 in animals.*classes"):
        check_class_labels(open_folder(root, STEPS), outputs)


def test_images_alone_have_no_labels(tmp_path: Path) -> None:
    for value, name in enumerate(["b.png", "a.png"]):
        save(tmp_path / name, value)
    (tmp_path / "classes.txt").write_text("unused\n")
    dataset = open_folder(tmp_path, STEPS)
    assert not dataset.labelled
    assert dataset.class_names == ()
    batch = next(dataset.batches(8))
    assert batch.labels is None
    assert first_output_of(batch.inputs)[:, 0, 0, 0].tolist() == [1.0, 0.0]
    with pytest.raises(DatasetError, match="Accuracy needs labels"):
        check_class_labels(dataset, 2)


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="must hold images"):
        open_folder(tmp_path, STEPS)
    with pytest.raises(DatasetError, match="must exist, got gone"):
        open_folder(tmp_path / "gone", STEPS)


def test_images_beside_class_folders(root: Path) -> None:
    save(root / "loose.png", 1)
    with pytest.raises(
        DatasetError, match=r"not both, got 3 folders and images such as loose\.png"
    ):
        open_folder(root, STEPS)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(30)])
def test_unreadable_image_is_named(root: Path, content: bytes) -> None:
    (root / "cat/broken.png").write_bytes(content)
    with pytest.raises(DatasetError, match=r"got cat/broken\.png: it is") as error:
        list(open_folder(root, STEPS).batches(2))
    assert str(root) not in str(error.value)


def test_truncated_image_is_named(root: Path) -> None:
    path = root / "cat/y.bmp"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r"got cat/y\.bmp: it is damaged"):
        list(open_folder(root, STEPS).batches(2))


def test_image_of_a_format_that_needs_other_programs(root: Path) -> None:
    (root / "cat/script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DatasetError, match=r"cat/script\.png: it is no image"):
        list(open_folder(root, STEPS).batches(8))


def test_links_that_lead_outside(root: Path, tmp_path: Path) -> None:
    save(tmp_path / "secret.png", 1)
    (root / "cat/link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DatasetError, match=r"got cat/link\.png, a link that leads outside"):
        open_folder(root, STEPS)


def test_class_folder_that_leads_outside(root: Path, tmp_path: Path) -> None:
    save(tmp_path / "elsewhere/secret.png", 1)
    (root / "zebra").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="got zebra, a link that leads outside"):
        open_folder(root, STEPS)


def test_links_inside_are_followed(root: Path) -> None:
    (root / "cat/link.png").symlink_to(root / "cat/y.bmp")
    assert len(open_folder(root, STEPS)) == 6


def test_sizes_that_differ(root: Path) -> None:
    save(root / "cat/wide.png", 1, (4, 9))
    with pytest.raises(DatasetError, match="one size after the preprocessing"):
        list(open_folder(root, STEPS).batches(8))


def test_digest_follows_the_content(root: Path) -> None:
    before = open_folder(root, STEPS).digest
    for path in root.glob("*/*"):
        os.utime(path, (1, 1))
    assert open_folder(root, STEPS).digest == before
    other = Preprocess(channels=1, mean=(1.0,), std=(1.0,))
    assert open_folder(root, other).digest != before
    assert open_folder(root, STEPS).first(4).digest != before
    (root / "classes.txt").write_text("owl\ncat\ndog\n")
    assert open_folder(root, STEPS).digest != before
    (root / "classes.txt").unlink()
    save(root / "dog/a.png", 99)
    assert open_folder(root, STEPS).digest != before


@pytest.mark.skipif(not IMAGENET_FOLDER.is_dir(), reason="needs the shared ImageNet folder")
def test_shared_imagenet_folder() -> None:
    dataset = open_folder(IMAGENET_FOLDER, Preprocess(resize=8, crop=8))
    assert len(dataset) == 500
    check_class_labels(dataset, 1000)
    with pytest.raises(DatasetError, match="got 1000"):
        check_class_labels(dataset, 500)
    batch = next(dataset.batches(3))
    assert first_output_of(batch.inputs).shape == (3, 3, 8, 8)
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 2, 4]  # n01440764, n01484850, n01494475
