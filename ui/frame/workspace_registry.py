"""Workspaces by the key in the address: a reload or a second visit finds the workspace."""

import atexit
import gc
import threading
import time
from dataclasses import dataclass, field

import streamlit as st

from ui.run_owner import may_open_workspace
from ui.state.new_workspace import new_workspace
from ui.state.workspace import Workspace

PARAMETER = "w"
KEPT_S = 30 * 60
EVICTION_S = 60.0
MOST = 32


@dataclass
class Registry:
    """The workspaces of the process, and the number of browser tabs for each workspace."""

    workspaces: dict[str, Workspace] = field(default_factory=dict)
    tabs: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)

    def add_workspace(self, workspace: Workspace) -> Workspace:
        """Keep a workspace, and close workspaces without a tab for a long time.

        Returns the workspace of the key: after a restart, two tabs of one key reload at once.
        """
        with self.lock:
            kept = self.workspaces.setdefault(workspace.id, workspace)
            self._evict_surplus(kept)
        if kept is not workspace:
            workspace.close()
        return kept

    def evict_idle(self) -> None:
        """Close workspaces without a tab for a long time."""
        with self.lock:
            before = len(self.workspaces)
            self._evict_surplus(None)
            if len(self.workspaces) < before:
                freeze_garbage()

    def _evict_surplus(self, newest: Workspace | None) -> None:
        idle = [w for w in self.workspaces.values() if not self.tabs.get(w.id)]
        idle.sort(key=lambda w: w.used)
        surplus = len(self.workspaces) - MOST
        now = time.monotonic()
        for number, old in enumerate(w for w in idle if w is not newest):
            if number < surplus or now - old.used > KEPT_S:
                self.workspaces.pop(old.id).close()
                self.tabs.pop(old.id, None)

    def evict_regularly(self) -> None:
        """Evict at intervals, with or without visitors; a thread runs the function."""
        while not self.closed.wait(EVICTION_S):
            self.evict_idle()

    def count_tab(self, identity: str) -> str:
        """Count a new tab of a workspace."""
        with self.lock:
            self.tabs[identity] = self.tabs.get(identity, 0) + 1
        return identity

    def release_tab(self, identity: str) -> None:
        """Count a closed tab of a workspace."""
        with self.lock:
            self.tabs[identity] = max(0, self.tabs.get(identity, 0) - 1)
            if identity in self.workspaces:
                self.workspaces[identity].used = time.monotonic()

    def close_all(self) -> None:
        """Close the workspaces, at the end of the process."""
        self.closed.set()
        for workspace in self.workspaces.values():
            workspace.close()


@st.cache_resource(show_spinner=False)
def process_registry() -> Registry:
    """Return the registry of the process."""
    result = Registry()
    threading.Thread(target=result.evict_regularly, name="quantscope-eviction", daemon=True).start()
    atexit.register(result.close_all)
    return result


@st.cache_resource(
    scope="session", on_release=lambda identity: process_registry().release_tab(identity)
)
def _tab_presence(identity: str) -> str:
    return process_registry().count_tab(identity)


def open_workspace() -> Workspace:
    """Return the workspace of the key in the address, or a new workspace.

    After a restart of the server, the new workspace has the choices of the tab of that key; for
    an unknown key, it has the last choices.
    """
    wanted = st.query_params.get(PARAMETER, "")
    found = process_registry().workspaces.get(wanted)
    if found is not None and not may_open_workspace(found.owner, found.id, found.settings):
        found, wanted = None, ""  # that of a named user, and this is another
    if found is None:
        with st.spinner("Reading the model and tracing the network…"):
            found = new_workspace(wanted)
        found = process_registry().add_workspace(found)
        freeze_garbage()
    _tab_presence(found.id)
    return found


def freeze_garbage() -> None:
    """Hide the present objects from the garbage collector.

    Streamlit collects all generations after each script run, and a progress bar runs twice a
    second; a walk over torch's million objects left a run a twelfth of its speed. Objects hidden
    before are collected first, because closed workspaces would otherwise stay in memory.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def keep_workspace_address(workspace: Workspace) -> None:
    """Write the workspace's key into the address, so that a reload finds the workspace."""
    if st.query_params.get(PARAMETER) != workspace.id:
        st.query_params[PARAMETER] = workspace.id
