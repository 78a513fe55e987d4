"""The type of an uploaded file."""

from typing import Protocol


class Upload(Protocol):
    """A file in the form of st.file_uploader: a name, a size in bytes, and the content."""

    name: str
    size: int

    def getbuffer(self) -> bytes | memoryview:
        """Return the content."""
        ...
