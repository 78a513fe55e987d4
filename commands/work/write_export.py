"""The work of the commands export and convert; only the commands import the module."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from analysis.calibration import config_needs_data
from analysis.cost.estimate import estimate_config_cost
from analysis.deployment.file_answers import (
    USUAL_IMAGES,
    check_answers,
    find_mismatch,
    run_named,
)
from analysis.deployment.prepare_export import collect_layer_numbers, quantize_for_export
from analysis.deployment.runtime_check import ExecutionCheck, check_file_execution
from analysis.network import Network
from analysis.runs.apply_recipe import Stage, pass_needs_images
from analysis.runs.experiment import Experiment
from analysis.runs.run_store import Run, RunStore
from analysis.split import ImageChoice, Split, choose_data_split
from analysis.study import Study
from commands.json_answers.float_weights import list_float_weights
from data_io.errors import DatasetError
from model_io.artefacts.artefact import TRIAL, Artefact, ArtefactSource
from model_io.artefacts.formats import FORMATS
from model_io.artefacts.viewer_overlays import LayerNumber
from model_io.qdq_export.export_qdq import export_qdq_onnx
from model_io.qdq_export.simulate_file import simulate_written_file
from model_io.qdq_export.weights import WeightStyle
from model_io.runtime.executed_model import open_exported_model
from model_io.runtime.onnx_runtime import open_bytes
from quant.inputs import tensors_of_batch
from quant.progress import Progress, Steps, part_of_progress

RUNS_FILE = "runs.sqlite"
QDQ = {"onnx-qdq": WeightStyle.INTEGER, "onnx-qdq-float": WeightStyle.FLOAT}


@dataclass(frozen=True, eq=False, slots=True)
class ExportWish:
    """The experiment to write, the files, and the check.

    Attributes:
        format: a key of `FORMATS`.
        out: the main file; the other files lie beside the main file.
        model: the name of the network on the command line.
        study: the network, and the images to calibrate, to try files on, and to check.
        experiment: the content of the files.
        check: whether to run the file beside the simulation and to time the file.
        notes: sentences from the steps before.
        runs: the folder of runs, where one run may have the name of the experiment.
    """

    study: Study
    experiment: Experiment
    format: str
    out: Path
    model: str
    check: bool = False
    notes: tuple[str, ...] = ()
    runs: Path | None = None


def choose_format(name: str, out: Path, weights: str, *, check: bool) -> str:
    """Return the meant key of `FORMATS`, checked before the work.

    Raises:
        ValueError: the format is unknown or has no check, or the file cannot be written.
    """
    if name not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}; got {name!r}.")
    if weights == "float":
        if name not in QDQ:
            raise ValueError(f"--weights float is for onnx-qdq; got it with {name}. Leave it out.")
        name = "onnx-qdq-float"
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"--out must name a file in a folder that exists; got {out}.")
    if check and name not in QDQ:
        raise ValueError(f"--check runs ONNX files with Q/DQ pairs; got {name}. Leave it out.")
    return name


def choose_export_images(
    model: str,
    network: Network,
    experiment: Experiment,
    choice: ImageChoice,
    *,
    check: bool,
) -> Split | None:
    """Return the images for an export; None if the export needs no images and none are named.

    Raises:
        DatasetError: the export needs images, and images are missing or do not fit.
    """
    learning = any(pass_needs_images(step) for step in experiment.all_passes)
    try:
        return choose_data_split(model, network, experiment.config, choice, learning=learning)
    except DatasetError:
        if (
            check
            or learning
            or choice.data is not None
            or config_needs_data(network, experiment.config)
        ):
            raise
        return None


def write_export(wish: ExportWish) -> Steps[tuple[dict[str, object], list[str]]]:
    """Calibrate, quantize, repair, write and check the files; return a summary and warnings.

    Raises:
        ValueError: the experiment cannot be exported; the sentence tells the reason.
    """
    stage = yield from part_of_progress(quantize_for_export(wish.study, wish.experiment), 0.0, 0.6)
    yield Progress(0.6, f"Making {FORMATS[wish.format].title}")
    source = _artefact_source(wish, stage)
    made = FORMATS[wish.format].make(source)
    answer: dict[str, object] = {
        "format": wish.format,
        "files": write_artefact_files(made, wish.out),
        "checks": list(made.checks),
        "float_weights": list_float_weights(wish.study.network),
        "notes": [*wish.notes, *made.notes],
        "command": made.command.replace(made.main_file, wish.out.name),
    }
    answer["file_check"] = None
    warnings: list[str] = []
    if wish.format in QDQ and wish.study.scored is not None:
        session = open_bytes(made.files[made.main_file])
        images = wish.study.scored.first(USUAL_IMAGES)
        steps = check_answers(stage.network, stage.quantized, session, images)
        told = yield from part_of_progress(steps, 0.6, 0.7)
        run = _run_of_name(wish)
        answer["file_check"] = _finite_values(asdict(told))
        warnings = [text for text in [find_mismatch(told, run)] if text]
    if wish.check:
        file = export_qdq_onnx(source.quantized, QDQ[wish.format], source.marked_onnx)
        executed = open_exported_model(file, torch.get_num_threads())
        simulated = simulate_written_file(source.quantized, file)
        checking = check_file_execution(
            stage.network, simulated, executed, wish.study.scored_images
        )
        found = yield from part_of_progress(checking, 0.7, 1.0)
        answer["execution"] = summarize_execution(found)
    return answer, warnings


def _run_of_name(wish: ExportWish) -> Run | None:
    """Return the run that the experiment is named after, where the folder of runs has one."""
    if wish.runs is None or wish.study.scored is None or not (wish.runs / RUNS_FILE).exists():
        return None
    stored = RunStore(wish.runs).all_runs()
    digests = wish.study.network.digest, wish.study.scored.digest
    return run_named(stored, wish.experiment.display_name, *digests)


def _artefact_source(wish: ExportWish, stage: Stage) -> ArtefactSource:
    data, experiment, network = wish.study.scored, wish.experiment, wish.study.network
    report = estimate_config_cost(network, experiment.config, experiment.machine)
    numbers = collect_layer_numbers(stage, report, experiment.config, data)
    count = network.graph.batch or TRIAL
    trial = None if data is None or len(data) < count else next(iter(data.batches(count))).inputs
    return ArtefactSource(
        wish.out.stem,
        stage.network.graph,
        stage.quantized,
        experiment.config,
        tuple(LayerNumber(n.name, n.unit, n.values, n.low_is_bad) for n in numbers),
        () if trial is None else tensors_of_batch(trial),
        shlex.quote(wish.model),
    )


def write_artefact_files(made: Artefact, out: Path) -> list[dict[str, object]]:
    """Write the main file to `out` and the other files beside `out`; return names and sizes.

    Raises:
        ValueError: two files would have an equal name, or a file would overwrite a foreign file.
    """
    others = [name for name in made.files if name != made.main_file]
    if out.name in others:
        raise ValueError(
            f"--out names {made.main_file!r}, which comes beside {out.name!r}; got the other one's "
            f"name. Let it end in {Path(made.main_file).suffix}."
        )
    paths = {name: out if name == made.main_file else out.with_name(name) for name in made.files}
    for name, path in paths.items():
        taken = name != made.main_file and path.exists()
        if taken and path.read_bytes() != made.files[name]:
            raise ValueError(
                f"{path} comes beside {out.name} and must not overwrite another file; got one of "
                "that name. Move it away, or choose another --out."
            )
    for name, path in paths.items():
        path.write_bytes(made.files[name])
    return [{"file": str(p), "bytes": len(made.files[name])} for name, p in paths.items()]


def summarize_execution(found: ExecutionCheck) -> dict[str, object]:
    """Return a check for JSON; an infinite ratio, without noise, becomes null."""
    return {
        "samples": found.samples,
        "integer_kernels": _finite_values(asdict(found.executed)),
        "node_by_node": _finite_values(asdict(found.plain)),
        "top1": {name: asdict(score) for name, score in found.scores.items()},
        "worst_layer": found.worst_layer,
        "layer_sqnr_db": _finite_values(found.layer_sqnr_db),
        "partings": [asdict(one) for one in found.partings],
        "integer_layers": list(found.integer_layers),
        "latency": {**asdict(found.latency), "speedup": found.latency.quantized_speedup},
    }


def _finite_values(values: Mapping[str, object]) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
