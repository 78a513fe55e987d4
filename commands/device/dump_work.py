"""The work behind compare-device: from files to the comparison."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from analysis.deployment.device_dump.compare_dump import DumpComparison, LayerDivergence
from analysis.deployment.device_dump.dump_inputs import DeviceDump, compare_experiment_dump
from analysis.network import Network
from analysis.split import ImageChoice, Split, open_user_data
from analysis.study import Study
from commands.experiment.complete import complete_experiment
from commands.experiment.options import ExperimentOptions
from commands.work.write_export import choose_export_images
from data_io.dump_files import DumpedTensor, read_dump, read_dump_names
from quant.progress import Steps

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
    file = task.names
    names = {} if file is None else read_dump_names(file.read_bytes(), file.name)
    tried, notes = complete_experiment(task.network, task.options.read(), task.options)
    images = choose_export_images(task.model, task.network, tried, task.choice, check=False)
    study = Study.of_split(task.network, images)
    dump = _device_dump(task, tensors, names, images)
    found = yield from compare_experiment_dump(study, tried, dump)
    return found, (*notes, *(images.notes if images else ()))


def _device_dump(
    task: DumpTask,
    tensors: tuple[DumpedTensor, ...],
    names: dict[str, str],
    images: Split | None,
) -> DeviceDump:
    """Return the dump with the data whose first images were recorded."""
    if task.images is None:
        return DeviceDump(tensors, names)
    own = task.choice.data is not None
    data = open_user_data(task.model, task.network, task.choice)[0] if own else None
    return DeviceDump(
        tensors, names, task.images, data or (None if images is None else images.score)
    )


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
