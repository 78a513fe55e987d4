"""Open a zip archive whose list of members is bounded: the list alone could fill the memory."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

MOST_LIST_BYTES = 16 * 1024**2
"""The most that the list of members may take; a member takes about a hundred bytes."""


class _BoundedReads:
    """A file that refuses long reads until `opened`."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.opened = False
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.close = file.close

    def read(self, size: int = -1) -> bytes:
        if not self.opened and size > MOST_LIST_BYTES:
            raise zipfile.BadZipFile("the list of members is too long")
        return self.file.read(size)


class BoundedZip(zipfile.ZipFile):
    """An archive with at most `MOST_LIST_BYTES` of members' names; close it after use.

    Raises:
        zipfile.BadZipFile: no archive, a damaged one, or a list of members above the bound.
        OSError: the file cannot be read.
    """

    def __init__(self, source: Path | bytes) -> None:
        file = source.open("rb") if isinstance(source, Path) else BytesIO(source)
        self._held = _BoundedReads(file)
        try:
            super().__init__(self._held)
        except BaseException:
            file.close()
            raise
        self._held.opened = True

    def close(self) -> None:
        """Close the archive and its file."""
        super().close()
        self._held.close()
