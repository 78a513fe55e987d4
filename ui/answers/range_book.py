"""The range book of the present network: the tensors with their statistics."""

from analysis.network import Network
from analysis.ranges.tensors import RangeBook
from analysis.study import Study
from ui.state.workspace import Workspace


def present_range_book(workspace: Workspace, network: Network) -> RangeBook:
    """Return the distributions of the present model, with activations once calibrated."""
    study = workspace.study
    return (study if study is not None else Study(network)).range_book()
