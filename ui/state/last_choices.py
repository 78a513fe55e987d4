"""The last choices of the person at the server's machine, in a file without half-written states."""

import logging
import os
import tempfile
from pathlib import Path

SNAPSHOT = "workspace.json"
_LOG = logging.getLogger(__name__)


def write_choices(folder: Path, choices: str) -> None:
    """Write the choices down as text; where the folder cannot be written, the log says so."""
    try:
        _replace_text(folder / SNAPSHOT, choices)
    except OSError as error:
        _LOG.warning("The choices cannot be written down: %s", error)


def _replace_text(path: Path, text: str) -> None:
    """Write `text` to `path`; whoever reads meanwhile, or after a kill, finds the old or the new.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
