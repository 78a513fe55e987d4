"""The sample networks, traced once in a process and shared by all users, who only read."""

import threading
from collections.abc import Callable

import streamlit as st

from analysis.network import Network
from quant.progress import Progress, Steps


class SampleNetworks:
    """Networks by the name of their sample; a second request waits for the first request."""

    def __init__(self) -> None:
        self._networks: dict[str, Network] = {}
        self._lock = threading.Lock()

    def load_sample(self, name: str, read: Callable[[], Steps[Network]]) -> Steps[Network]:
        """Return the network of a sample; the first request for a sample calls `read`.

        Raises:
            ValueError: the sample cannot be read or traced.
        """
        yield Progress(0.1, "Reading the model")
        with self._lock:
            if name not in self._networks:
                self._networks[name] = yield from read()
        return self._networks[name]


@st.cache_resource(show_spinner=False)
def sample_networks() -> SampleNetworks:
    """Return the collection of the process."""
    return SampleNetworks()
