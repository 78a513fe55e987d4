"""The first page of a fresh server: the frame shows before torch is there.

Torch and what needs it take seconds to import. A thread imports them, once for the process, behind
a progress line; a page run of a warm server finds everything imported.
"""

import importlib
import threading

import streamlit as st

STEPS = (
    ("torch", "Loading torch"),
    ("torch.export", "Loading torch's tracer"),
    ("model_io.load", "Loading the readers of model files"),
    ("plotly.graph_objects", "Loading the charts"),
    ("ui.frame.workspace_registry", "Loading the pages"),
    ("ui.frame.frame", "Loading the pages"),
)
"""The modules to import and what the progress line says meanwhile, in order."""
POLL_S = 0.1


class HeavyImports:
    """A thread that imports modules; `text` and `share` tell where it is."""

    def __init__(self, steps: tuple[tuple[str, str], ...] = STEPS) -> None:
        self._steps = steps
        self.text, self.share = steps[0][1], 0.0
        self._thread = threading.Thread(
            target=self._import_modules, name="quantscope-imports", daemon=True
        )
        self._thread.start()

    def _import_modules(self) -> None:
        for place, (name, text) in enumerate(self._steps):
            self.text, self.share = text, place / len(self._steps)
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001  the page run meets the error again, and tells it
                return

    def are_done(self, wait_s: float = 0.0) -> bool:
        """Wait at most `wait_s` seconds; return whether the thread has ended."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()


@st.cache_resource(show_spinner=False)
def heavy_imports() -> HeavyImports:
    """Return the imports of the process, started at the first call."""
    return HeavyImports()


def wait_for_imports() -> None:
    """Draw a progress line until everything is imported; on a warm server draw nothing."""
    imports = heavy_imports()
    if imports.are_done():
        return
    place = st.empty()
    while not imports.are_done(POLL_S):
        place.progress(imports.share, text=f"{imports.text}…")
    place.empty()
