"""The range book of the present network: each tensor with its statistics."""

from analysis.network import Network
from analysis.ranges.tensors import RangeBook
from ui.ranges.view import _book
from ui.state.workspace import Workspace


def book_of(workspace: Workspace, network: Network) -> RangeBook:
    """Return the distributions of the present model, with activations once calibrated."""
    parts = workspace.parts
    found = workspace.calibrated(network, parts) if parts is not None else None
    images = parts.calibration.digest if found and parts and parts.calibration else ""
    return _book(f"{network.digest} {images}", network, found)
