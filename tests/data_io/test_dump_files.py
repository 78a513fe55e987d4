"""Dumps in each form, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from data_io.dump_files import read_dump, read_dump_names
from data_io.errors import DatasetError


def test_each_form_gives_the_same_numbers(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.savez(tmp_path / "all.npz", conv1=values)
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "conv1.npy", values)
    (folder / "conv2.raw").write_bytes(values.tobytes())
    (folder / "notes.txt").write_text("not a tensor")
    (packed,) = read_dump(tmp_path / "all.npz")
    first, second = read_dump(folder)
    assert packed.name == first.name == "conv1"
    assert (packed.values == values).all()
    assert (first.values == values).all()
    assert second.raw
    assert bytes(second.values) == values.tobytes()


def test_folders_of_results_are_joined_in_the_order_of_numbers(tmp_path: Path) -> None:
    for number in range(11):
        folder = tmp_path / f"Result_{number}"
        folder.mkdir()
        (folder / "out.raw").write_bytes(np.full(2, number, np.float32).tobytes())
    (found,) = read_dump(tmp_path)
    assert found.values.view(np.float32).tolist() == [n for n in range(11) for _ in (0, 1)]
    (tmp_path / "Result_3" / "out.raw").unlink()
    with pytest.raises(DatasetError, match="must hold the same tensors"):
        read_dump(tmp_path)


def test_what_is_no_dump_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"an \.npy file, or a folder"):
        read_dump(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="must hold tensors"):
        read_dump(tmp_path)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DatasetError, match="plain numbers"):
        read_dump(tmp_path)
    np.savez(tmp_path / "objects.npz", a=np.zeros(3))
    (tmp_path / "objects.npz").rename(tmp_path / "objects.npy")
    with pytest.raises(DatasetError, match="numpy's format 1 or 2"):
        read_dump(tmp_path)
    header = b"\x93NUMPY\x01\x00\x76\x00" + b"(" * 118
    (tmp_path / "objects.npy").write_bytes(header)
    with pytest.raises(DatasetError, match="numpy's format 1 or 2"):
        read_dump(tmp_path)
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(DatasetError, match=r"readable \.npz"):
        read_dump(tmp_path / "bad.npz")


def test_names_of_a_dump_are_read_without_trust() -> None:
    assert read_dump_names(b'{"conv_out": "conv1"}', "names.json") == {"conv_out": "conv1"}
    for content in (b"[" * 100_000, b'{"a": "b", "a": "c"}', b"\xff"):
        with pytest.raises(DatasetError, match=r"names\.json must be JSON; "):
            read_dump_names(content, "names.json")
    with pytest.raises(DatasetError, match="must map names of the dump"):
        read_dump_names(b'{"a": 1}', "names.json")
