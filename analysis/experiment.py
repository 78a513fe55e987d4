"""The whole road for one configuration: calibrate, quantize, score, cost."""

import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Protocol

import torch
from torch import Tensor

from accelerator.estimate import estimate
from accelerator.machine import Machine, Storage
from accelerator.report import CostReport
from analysis.comparison import layer_sqnr
from analysis.evaluation import Data, evaluate
from analysis.network import Network
from analysis.runs import Run
from analysis.workload import Entropies, build_workload, weight_entropies
from quant.config import QuantConfig
from quant.errors import CalibrationError
from quant.graph import INPUT_LAYER
from quant.passes.calibrate import Calibrate, Calibration
from quant.progress import Progress, Steps
from quant.simulation import QuantGraph, quantize
from quant.spec import Estimator

SQNR_IMAGES = 8


class IdentifiedData(Data, Protocol):
    """Data with a name and a digest of its content."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def digest(self) -> str:
        """Equal digests mean equal content."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to run: a configuration on a machine, and the name to keep the result under."""

    name: str
    config: QuantConfig
    machine: Machine
    seed: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Calibrated:
    """What activation ranges are chosen from.

    `statistics` by site, from `images` images; `input_range` bounds the network's input by its
    preprocessing, for data-free ranges.
    """

    statistics: Calibration = field(default_factory=dict)
    images: int = 0
    input_range: tuple[float, float] | None = None


def calibrate(
    network: Network, data: Data, input_range: tuple[float, float] | None = None
) -> Steps[Calibrated]:
    """Collect the statistics of all activations from the images of `data`.

    Raises:
        CalibrationError: there is no image, fewer than the network's fixed batch, or an activation
            is not finite.
    """
    size = network.batch_size
    used = 0

    def inputs() -> Iterator[Tensor]:
        nonlocal used
        for batch in data.batches(size):
            whole = network.graph.batch is None or len(batch.inputs) == size
            if whole:  # a network of fixed batch cannot take the remainder
                used += len(batch.inputs)
                yield batch.inputs.contiguous(memory_format=_format(batch.inputs))

    statistics = yield from Calibrate(len(data))(network.graph, inputs())
    if used == 0:
        least = network.graph.batch or 1
        raise CalibrationError(
            f"Calibration needs at least {least} images; got {len(data)}. Allow more."
        )
    return Calibrated(statistics, used, input_range)


def _format(inputs: Tensor) -> torch.memory_format:
    return torch.channels_last if inputs.dim() == 4 else torch.contiguous_format


def needs_data(network: Network, config: QuantConfig) -> bool:
    """Whether some activation's range has to be calibrated on images."""
    chosen = config.resolve(network.graph.layers)
    return any(
        not chosen[name].activation.is_float
        and chosen[name].activation.estimator is not Estimator.BATCH_NORM
        for name in chosen
        if name != INPUT_LAYER
    )


def cost(
    network: Network, config: QuantConfig, machine: Machine, known: Entropies | None = None
) -> CostReport:
    """Return the estimated cost of one image; fast enough to follow an editor.

    `known` keeps weight entropies between calls, for machines that compress weights.

    Raises:
        ConfigError: a rule of `config` matches no layer.
    """
    entropies: Entropies = {}
    if machine.weight_storage is Storage.ENTROPY:
        entropies = weight_entropies(network.graph, config, {} if known is None else known)
    return estimate(build_workload(network.name, network.graph, config, entropies), machine)


def run_experiment(
    network: Network, data: IdentifiedData, calibrated: Calibrated, experiment: Experiment
) -> Steps[Run]:
    """Quantize as the experiment says, score on all of `data`, and estimate the cost.

    Raises:
        QuantError: the configuration, the calibration or the labels do not fit the network.
    """
    start = time.monotonic()
    yield Progress(0.0, "Choosing ranges")
    quantized = quantize(
        network.graph, experiment.config, calibrated.statistics, calibrated.input_range
    )
    report = cost(network, experiment.config, experiment.machine)
    evaluation = yield from evaluate(network, quantized, data)
    yield Progress(1.0, "Comparing layer by layer")
    by_layer = _layer_sqnr(network, quantized, data)
    return Run(
        name=experiment.name,
        model=network.name,
        model_digest=network.digest,
        data=data.name,
        data_digest=data.digest,
        config=experiment.config.to_dict(),
        calibration_images=calibrated.images,
        evaluation=evaluation,
        cost=report,
        layer_sqnr_db=by_layer,
        versions=versions(),
        seed=experiment.seed,
        seconds=time.monotonic() - start,
    )


def _layer_sqnr(network: Network, quantized: QuantGraph, data: Data) -> dict[str, float]:
    first = next(iter(data.batches(min(network.batch_size, SQNR_IMAGES))))
    return layer_sqnr(network, quantized, first.inputs)


def versions() -> dict[str, str]:
    """Return the versions that a figure depends on."""
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "torch": str(torch.__version__),
        "numpy": version("numpy"),
    }
