"""The steps of a sensitivity analysis on the command line: images, ranges, answers."""

from dataclasses import replace
from pathlib import Path

from analysis.calibration import Calibrated
from analysis.network import Network
from analysis.runs.run_store import RunStore
from analysis.sensitivity.analyze import analyze_sensitivity
from analysis.sensitivity.exact.dask_executor import open_dask_cluster
from analysis.sensitivity.exact.executors import Pool
from analysis.sensitivity.exact.most_harmful import find_most_harmful
from analysis.sensitivity.sweep import Depth, Sweep, View
from analysis.sensitivity.tensor_noise import tensor_noise_sensitivity
from analysis.split import ImageChoice, Split, choose_data_split
from analysis.study import Study
from commands.json_answers.sensitivity import summarize_most_harmful, summarize_sensitivity
from quant.config import LayerConfig, QuantConfig
from quant.errors import QuantError
from quant.progress import Steps
from quant.simulation.plan import TENSOR_SIDES, Side
from quant.spec import FLOAT_BITS

MIB = 2**20


def sweep_from_words(
    config: QuantConfig,
    bits: tuple[int, ...],
    side: str | None,
    view: str,
    memory_mib: int,
    *,
    stop_early: bool,
) -> Sweep:
    """Return the sweep in plain words; without a side, weights, then activations."""
    chosen = (Side(side),) if side else TENSOR_SIDES
    return Sweep(
        config,
        bits,
        chosen,
        View(view),
        memory_bytes=memory_mib * MIB,
        stop_when_decided=stop_early,
    )


def answer_sensitivity(
    model: str,
    network: Network,
    choice: ImageChoice,
    sweep: Sweep,
    depth: str,
    runs: Path | None,
    scheduler: str | None,
    most_harmful: int | None = None,
) -> Steps[dict[str, object]]:
    """Choose images, calibrate for questions about activations, and answer for JSON.

    With `most_harmful` the answer names so many layers, proven, instead of all scores.

    Raises:
        ValueError: data, labels or settings do not fit the network, or no scheduler answers.
    """
    if most_harmful is not None and Depth(depth) is not Depth.EXACT:
        raise QuantError(
            f"The most harmful layers are proven by forwards; got the depth {depth}. "
            f"Leave --depth at {Depth.EXACT}."
        )
    quantizes_activations = any(side.includes_role(Side.ACTIVATIONS) for side in sweep.sides)
    if Depth(depth) is Depth.INSTANT and not quantizes_activations:  # needs no image
        found = tensor_noise_sensitivity(Study(network), sweep)
        return summarize_sensitivity(found, network, None, Calibrated())
    workers = open_dask_cluster(scheduler) if scheduler else Pool()
    images = _choose_sweep_images(model, network, choice, sweep, learning=quantizes_activations)
    study = Study.of_split(network, images, RunStore(runs) if runs else None)
    if quantizes_activations:
        yield from study.collect_statistics()
    if most_harmful is not None:
        proven = yield from find_most_harmful(study, sweep, most_harmful, workers)
        return summarize_most_harmful(
            proven, network, images.score, study.known_statistics, sweep.config, images.notes
        )
    found = yield from analyze_sensitivity(study, sweep, Depth(depth), workers)
    return summarize_sensitivity(found, network, images.score, study.known_statistics, images.notes)


def _choose_sweep_images(
    model: str, network: Network, choice: ImageChoice, sweep: Sweep, *, learning: bool
) -> Split:
    """Return the images; the images to score do not depend on the question."""
    config = sweep.config
    if not learning:  # activations stay float, so no range is chosen from images
        activation = replace(config.default.activation, bits=FLOAT_BITS)
        config = QuantConfig(LayerConfig(activation=activation))
    return choose_data_split(
        model, network, config, choice, learning=learning or choice.calibration > 0
    )
