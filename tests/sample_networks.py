"""The sample networks, traced once a process: networks are frozen, and tracing takes a second."""

from functools import cache

from analysis.network import Network, prepare_network
from model_io.load import load_sample_model


@cache
def sample_network(name: str) -> Network:
    """Return the sample of that name; one for all tests, so none may change it."""
    loaded = load_sample_model(name)
    return prepare_network(
        loaded.name, loaded.module, loaded.expected_inputs, loaded.digest, loaded.batch
    )
