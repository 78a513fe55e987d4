"""The work behind compare-device: from files to the comparison."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from analysis.deployment.device_dump.compare_dump import (
    DumpComparison,
    LayerDivergence,
    compare_dump,
)
from analysis.deployment.device_dump.match_tensors import (
    DumpMatch,
    match_tensors,
    real_readings,
)
from analysis.deployment.prepare_export import quantize_for_export
from analysis.network import Network
from analysis.split import ImageChoice, Split, open_user_data
from analysis.study import Study
from commands.experiment.complete import complete_experiment
from commands.experiment.options import ExperimentOptions
from commands.inputs import read_text_file
from commands.work.write_export import choose_export_images
from data_io.dump_files import read_dump
from plain_files.read_json import parse_json
from quant.errors import QuantError
from quant.inputs import Inputs
from quant.progress import Steps, part_of_progress
from quant.simulation.quant_graph import QuantGraph

CALIBRATION_SHARE = 0.5
MOST_TRIED = 12


@dataclass(frozen=True, eq=False, slots=True)
class DumpTask:
    """A dump, and the experiment that the device runs; `images` from the start of the data."""

    model: str
    network: Network
    options: ExperimentOptions
    choice: ImageChoice
    dump: Path
    names: Path | None
    images: int | None


def compare_device_dump(task: DumpTask) -> Steps[tuple[DumpComparison, tuple[str, ...]]]:
    """Quantize as the experiment says, and compare the dump; return what was found and notes.

    Raises:
        ValueError: a file cannot be read, or the dump does not fit the network.
    """
    tensors = read_dump(task.dump)
    names = {} if task.names is None else read_names(task.names)
    tried, notes = complete_experiment(task.network, task.options.read(), task.options)
    match = match_tensors(tensors, task.network.graph.layers, names, task.images)
    images = choose_export_images(task.model, task.network, tried, task.choice, check=False)
    study = Study.of_split(task.network, images)
    stage = yield from part_of_progress(quantize_for_export(study, tried), 0.0, CALIBRATION_SHARE)
    inputs = _network_inputs(task, stage.quantized, match, images)
    steps = compare_dump(stage.quantized, match, inputs)
    found = yield from part_of_progress(steps, CALIBRATION_SHARE, 1.0)
    return found, (*notes, *(images.notes if images else ()))


def read_names(path: Path) -> dict[str, str]:
    """Return the map from names of a dump to layers in a JSON file.

    Raises:
        QuantError: the file is no such map.
    """
    raw = parse_json(read_text_file(path))
    if not isinstance(raw, dict) or not all(isinstance(one, str) for one in raw.values()):
        raise QuantError(
            f'{path.name} must map names of the dump to layers, such as {{"conv_out": "conv1"}}; '
            "got something else."
        )
    return raw


def _network_inputs(
    task: DumpTask, quantized: QuantGraph, match: DumpMatch, images: Split | None
) -> Inputs:
    """Return the first images of the data, or the network's input as the dump holds it."""
    if task.images is not None:
        own = task.choice.data is not None
        data = open_user_data(task.model, task.network, task.choice)[0] if own else None
        data = data or (None if images is None else images.score)
        if data is None:
            raise QuantError("--images counts images of --data; got no data. Name the data.")
        (batch,) = data.first(task.images).batches(task.images)
        return batch.inputs
    inputs = [layer.name for layer in quantized.graph.layers if not layer.inputs]
    found = [match.tensors.get(name) for name in inputs]
    if len(quantized.graph.inputs) != len(inputs) or not all(found):
        raise QuantError(
            f"Without --images the dump must hold the input of the network ({', '.join(inputs)}); "
            "got none. Name --data and --images, or record the input."
        )
    tensors = []
    for name, tensor in zip(inputs, found, strict=True):
        if tensor is not None:
            tensors += real_readings(tensor, quantized.quantizers[name].encoding)[:1]
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def summarize_comparison(found: DumpComparison, notes: tuple[str, ...]) -> dict[str, object]:
    """Return the comparison for JSON."""
    return {
        "sentence": found.sentence,
        "images": found.images,
        "first": None if found.first is None else found.first.layer,
        "divergences": [_divergence_values(one) for one in found.divergences],
        "agreeing": list(found.agreeing),
        "missing": list(found.missing),
        "unmatched": list(found.unmatched),
        "near_ties": found.near_ties,
        "notes": list(notes),
    }


def _divergence_values(one: LayerDivergence) -> dict[str, object]:
    found = asdict(one) | {"tried": [asdict(reason) for reason in one.tried[:MOST_TRIED]]}
    found["unrecorded"] = list(one.unrecorded)
    found["largest_steps"] = one.largest_steps if math.isfinite(one.largest_steps) else None
    found["reason"] = None if one.reason is None else asdict(one.reason)
    return found
