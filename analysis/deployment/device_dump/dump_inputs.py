"""The inputs of the network behind a dump: images of the data, or what the dump recorded."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.deployment.device_dump.compare_dump import DumpComparison, compare_dump
from analysis.deployment.device_dump.match_tensors import (
    DumpMatch,
    match_tensors,
    real_readings,
)
from analysis.deployment.prepare_export import quantize_for_export
from analysis.runs.experiment import Experiment
from analysis.study import Study
from data_io.dataset import Dataset
from data_io.dump_files import DumpedTensor
from quant.errors import QuantError
from quant.inputs import Inputs
from quant.progress import Steps, part_of_progress
from quant.simulation.quant_graph import QuantGraph

CALIBRATION_SHARE = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class DeviceDump:
    """Recorded tensors, names of tensors by hand, and the recorded images.

    `images` counts images from the start of `data`; None says that the dump holds the inputs.
    """

    tensors: tuple[DumpedTensor, ...]
    names: Mapping[str, str]
    images: int | None = None
    data: Dataset | None = None


def compare_experiment_dump(
    study: Study, experiment: Experiment, dump: DeviceDump
) -> Steps[DumpComparison]:
    """Quantize as the experiment says, and compare a dump layer by layer.

    Raises:
        ValueError: the dump does not fit the network, or the inputs are unknown.
    """
    match = match_tensors(dump.tensors, study.network.graph.layers, dump.names, dump.images)
    stage = yield from part_of_progress(
        quantize_for_export(study, experiment), 0.0, CALIBRATION_SHARE
    )
    inputs = _inputs_of_dump(dump, stage.quantized, match)
    return (
        yield from part_of_progress(
            compare_dump(stage.quantized, match, inputs), CALIBRATION_SHARE, 1.0
        )
    )


def _inputs_of_dump(dump: DeviceDump, quantized: QuantGraph, match: DumpMatch) -> Inputs:
    """Return the first images of the data, or the network's input as the dump holds it."""
    if dump.images is not None:
        if dump.data is None:
            raise QuantError("--images counts images of --data; got no data. Name the data.")
        (batch,) = dump.data.first(dump.images).batches(dump.images)
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
