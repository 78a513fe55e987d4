"""The choices of the person at the server's machine: the last choices, and those of each tab."""

import contextlib
import logging
import os
import re
import tempfile
from pathlib import Path

SNAPSHOT = "workspace.json"
TAB_FOLDER = "tabs"
MOST_TABS = 64
"""How many tabs have their choices on disk; the tabs changed last stay."""
_TAB_KEY = re.compile(r"[0-9a-f]{12}")
_LOG = logging.getLogger(__name__)


def tab_choices(folder: Path, tab: str) -> Path | None:
    """Return the file with the choices of the tab of that key; None without such a file."""
    place = folder / TAB_FOLDER / f"{tab}.json"
    return place if _TAB_KEY.fullmatch(tab) and place.is_file() else None


def write_choices(folder: Path, choices: str, tab: str = "") -> None:
    """Write the choices down as text: as the last choices, and as those of the tab of a key.

    Where the folder cannot be written, the log says so.
    """
    try:
        _replace_text(folder / SNAPSHOT, choices)
        if _TAB_KEY.fullmatch(tab):
            _replace_text(folder / TAB_FOLDER / f"{tab}.json", choices)
            _drop_oldest_tabs(folder / TAB_FOLDER)
    except OSError as error:
        _LOG.warning("The choices cannot be written down: %s", error)


def _drop_oldest_tabs(folder: Path) -> None:
    """Delete the choices of all tabs but the `MOST_TABS` changed last."""
    aged: list[tuple[float, Path]] = []
    for place in folder.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # another thread deleted the file
            aged.append((place.stat().st_mtime, place))
    for _, place in sorted(aged)[:-MOST_TABS]:
        place.unlink(missing_ok=True)


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
