"""Networks, images and sweeps that tests of sensitivity share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from analysis.calibration import Calibrated, calibrate_network
from analysis.network import Network, prepare_network
from analysis.runs.run_store import RunStore
from analysis.study import Study
from data_io.dataset import Dataset
from quant.progress import drain_steps
from tests.networks import CASES


@dataclass(frozen=True, eq=False)
class Held:
    """Images in memory."""

    inputs: Tensor
    labels: Tensor | None

    def read(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        chosen = list(indices)
        return self.inputs[chosen], None if self.labels is None else self.labels[chosen]


@dataclass(frozen=True, eq=False)
class Case:
    """A network with images, a third of them labelled wrongly, and its statistics."""

    network: Network
    data: Dataset
    calibrated: Calibrated

    @cached_property
    def _study(self) -> Study:
        return Study(self.network, self.data, calibrated=self.calibrated)

    def study(self, store: RunStore | None = None) -> Study:
        """The study of the case; all that are asked for share what is worked out."""
        return self._study.with_store(store)


def dataset(inputs: Tensor, labels: Tensor | None = None, digest: str = "images") -> Dataset:
    """Images in memory as a dataset."""
    held = Held(inputs, labels)
    indices = tuple(range(len(inputs)))
    return Dataset("toy", held, indices, labels is not None, (), lambda: digest)


@cache
def case(name: str, count: int = 12) -> Case:
    """One of the small networks; labels where it is a classifier."""
    built = CASES[name]
    network = prepare_network(name, built.model(), built.shape, name)
    inputs = built.inputs(count)
    with torch.no_grad():
        outputs = network.graph(inputs)
    labels = outputs.argmax(1) if outputs.dim() == 2 else None
    if labels is not None:
        labels[::3] = (labels[::3] + 1) % outputs.shape[1]
    data = dataset(inputs, labels)
    return Case(network, data, drain_steps(calibrate_network(network, data)))
