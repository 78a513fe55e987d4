"""The whole road for one configuration: calibrate, quantize, score, cost."""

import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

import torch

from accelerator.machine import Machine
from analysis.calibration import Calibrated
from analysis.cost.estimate import cost
from analysis.cost.workload import Entropies
from analysis.evaluation.evaluate import Data, evaluate
from analysis.evaluation.layer_sqnr import measure_layer_sqnr
from analysis.evaluation.user_metric import UserMetric
from analysis.network import Network
from analysis.runs.apply_recipe import apply_recipe, first_stage, title_of
from analysis.runs.run_store import Run
from quant.config import QuantConfig
from quant.passes.recipe import Recipe, check_order
from quant.progress import Progress, Steps, part
from quant.simulation.quant_graph import QuantGraph

SQNR_IMAGES = 8
REPAIR_SHARE = 0.7  # of a run's progress bar, where there is a recipe


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
    """What to run: a configuration on a machine, repaired by a recipe; and the result's name."""

    name: str
    config: QuantConfig
    machine: Machine
    seed: int = 0
    recipe: Recipe = ()


def run_experiment(
    network: Network,
    data: IdentifiedData,
    calibrated: Calibrated,
    experiment: Experiment,
    images: Data | None = None,
    known: Entropies | None = None,
    metric: UserMetric | None = None,
) -> Steps[Run]:
    """Quantize as the experiment says, score on all of `data`, and estimate the cost.

    `images` are what the passes of a recipe learn from; `data` should hold none of them. `known`
    holds weight entropies measured before, as for `cost`. `metric` is one of the user's own.

    Raises:
        QuantError: the configuration, the calibration or the labels do not fit the network.
    """
    start = time.monotonic()
    yield Progress(0.0, "Choosing ranges")
    report = cost(network, experiment.config, experiment.machine, known)
    check_order(experiment.recipe)
    stage = first_stage(network, experiment.config, calibrated)
    repaired = apply_recipe(stage, experiment.recipe, experiment.config, images)
    share = REPAIR_SHARE if experiment.recipe else 0.0
    stage = yield from part(repaired, 0.0, share)
    evaluation = yield from part(evaluate(network, stage.quantized, data, metric), share, 1.0)
    yield Progress(1.0, "Comparing layer by layer")
    by_layer = _layer_sqnr(stage.network, stage.quantized, data)
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
        recipe=tuple(title_of(step) for step in experiment.recipe),
    )


def _layer_sqnr(network: Network, quantized: QuantGraph, data: Data) -> dict[str, float]:
    first = next(iter(data.batches(min(network.batch_size, SQNR_IMAGES))))
    return measure_layer_sqnr(network, quantized, first.inputs)


def versions() -> dict[str, str]:
    """Return the versions that a figure depends on."""
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "torch": str(torch.__version__),
        "numpy": version("numpy"),
    }
