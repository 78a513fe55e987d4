"""Names shown literally, for widgets and pages: see `ui.plain_text`."""

from ui.plain_text import plain

__all__ = ["plain"]
