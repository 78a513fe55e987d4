import zipfile
from pathlib import Path

import pytest

from plain_files import open_zip
from plain_files.open_zip import BoundedZip


def archive_of(path: Path, members: int) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for place in range(members):
            archive.writestr(f"member {place:08}", bytes(4000))
    return path


def test_a_short_list_opens_and_reads_long_members(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "some.zip", 3)
    for source in (path, path.read_bytes()):
        with BoundedZip(source) as archive:
            assert archive.read("member 00000001") == bytes(4000)


def test_a_list_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_zip, "MOST_LIST_BYTES", 3000)
    path = archive_of(tmp_path / "many.zip", 100)
    for source in (path, path.read_bytes()):
        with pytest.raises(zipfile.BadZipFile, match="list of members"):
            BoundedZip(source)
