"""The network for export: quantized, repaired, with known ranges, and numbers of the layers."""

from dataclasses import dataclass

from accelerator.report import CostReport
from analysis.evaluation.evaluate import Data
from analysis.evaluation.layer_sqnr import measure_layer_sqnr
from analysis.runs.apply_recipe import Stage, apply_whole_recipe, plain_quantized_stage
from analysis.runs.experiment import Experiment
from analysis.sensitivity.stored import output_noise_by_layer
from analysis.sensitivity.sweep import Sensitivity
from analysis.study import Study
from quant.config import QuantConfig
from quant.errors import CalibrationError
from quant.passes.recipe import check_recipe_order
from quant.progress import Steps, part_of_progress
from quant.simulation.quant_graph import quantize_graph

IMAGES = 8
CALIBRATION_SHARE = 0.3


def quantize_for_export(study: Study, experiment: Experiment) -> Steps[Stage]:
    """Calibrate where needed, quantize and repair, as a run of the experiment does.

    Ranges may come from images, from batch norms, or from a file of encodings.

    Raises:
        QuantError: a range is not known, or the recipe does not fit.
    """
    network, config, recipe = study.network, experiment.config, experiment.all_passes
    check_recipe_order(recipe)
    calibrated = yield from part_of_progress(
        study.collect_statistics(config), 0.0, CALIBRATION_SHARE
    )
    if calibrated.statistics or not study.needs_images(config):
        stage = plain_quantized_stage(network, config, calibrated)
    else:  # a file may hold all encodings
        bare = quantize_graph(network.graph, config, None, calibrated.input_range)
        stage = Stage(network, calibrated, bare)
    repaired = apply_whole_recipe(stage, recipe, config, study.calibration, study.folder)
    stage = yield from part_of_progress(repaired, CALIBRATION_SHARE, 1.0)
    missing = [
        site.name
        for site in stage.quantized.sites
        if not site.spec.is_float and stage.quantized.quantizers[site.name].encoding is None
    ]
    if missing:
        raise CalibrationError(
            f"Every range must be known; those of {len(missing)} tensors are not, such as "
            f"{missing[0]!r}. Choose data to calibrate on, or a file of encodings."
        )
    return stage


@dataclass(frozen=True, slots=True)
class LayerNumbers:
    """A number for each layer; `low_is_bad` says that low numbers are worse."""

    name: str
    unit: str
    values: dict[str, float]
    low_is_bad: bool = False


def collect_layer_numbers(
    stage: Stage,
    report: CostReport,
    config: QuantConfig,
    data: Data | None = None,
    sensitivity: Sensitivity | None = None,
) -> tuple[LayerNumbers, ...]:
    """Return the known numbers of the layers: SQNR with images, energy, sensitivity if measured.

    Sensitivity is the noise at the network's output with only one layer quantized.
    """
    found = []
    network = stage.network
    if data is not None and len(data):
        first = next(iter(data.batches(min(network.forward_batch_size, IMAGES))))
        by_layer = measure_layer_sqnr(network, stage.quantized, first.inputs)
        found.append(LayerNumbers("SQNR", "dB", by_layer, low_is_bad=True))
    energy = {layer.layer: layer.energy_pj / 1e3 for layer in report.layers}
    found.append(LayerNumbers("Energy", "nJ", energy))
    if sensitivity is not None:
        harm = output_noise_by_layer(sensitivity, config, network)
        percent = {layer: 100 * share for layer, share in harm.items()}
        if percent:
            found.append(LayerNumbers("Sensitivity", "% noise at the output", percent))
    return tuple(found)
