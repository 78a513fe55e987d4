from pathlib import Path

import numpy as np
import pytest

from data_io.fashion_files import (
    COUNTS,
    DATA,
    DEBIAN_FOLDER,
    DIGESTS,
    bundled_file_of,
    bundled_part_indices,
    bundled_splits,
    digest_of_images,
    pack_images,
    unpack_images,
)

needs_debian = pytest.mark.skipif(
    not DEBIAN_FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)


@pytest.mark.parametrize("split", COUNTS)
def test_bundled_files_hold_what_they_should(split: str) -> None:
    images, labels = unpack_images(bundled_file_of(split).read_bytes(), COUNTS[split])
    assert images.shape == (COUNTS[split], 28, 28)
    assert digest_of_images(images, labels) == DIGESTS[split]


@needs_debian
def test_bundled_files_equal_the_package() -> None:
    for split, (images, labels) in bundled_splits(DEBIAN_FOLDER).items():
        ours = unpack_images(bundled_file_of(split).read_bytes(), COUNTS[split])
        assert np.array_equal(ours[0], images)
        assert np.array_equal(ours[1], labels)


def test_bundle_is_small_and_licensed() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 12_000_000
    text = (DATA / "LICENSE.txt").read_text()
    assert "MIT" in text
    assert "Copyright (c) 2017 Zalando SE" in text


def test_pack_and_unpack() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (50, 28, 28), np.uint8)
    labels = generator.integers(0, 10, 50, np.uint8)
    back = unpack_images(pack_images(images, labels), 50)
    assert np.array_equal(back[0], images)
    assert np.array_equal(back[1], labels)


def test_part_is_stratified_and_seeded() -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(10, dtype=np.uint8), 2000))
    chosen = bundled_part_indices(labels)
    assert np.array_equal(chosen, bundled_part_indices(labels))
    assert np.array_equal(chosen, np.unique(chosen))
    assert np.bincount(labels[chosen]).tolist() == [1200] * 10


@pytest.mark.parametrize("damage", [b"", b"x"])
def test_damaged_files(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "data.lzma"
    path.write_bytes(damage)
    with pytest.raises(ValueError, match="must hold 10 images and labels, got damaged"):
        unpack_images(path.read_bytes(), 10)
