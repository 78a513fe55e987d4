"""Making artefacts beside the page; the files lie in the workspace's folder."""

import hashlib
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace

from accelerator.report import CostReport
from analysis.deployment.file_answers import (
    USUAL_IMAGES,
    check_answers,
    describe_answers,
    find_mismatch,
    run_named,
)
from analysis.deployment.prepare_export import collect_layer_numbers, quantize_for_export
from analysis.network import Network
from analysis.runs.apply_recipe import Stage, title_of_pass
from analysis.runs.experiment import Experiment
from analysis.sensitivity.sweep import Sensitivity
from analysis.study import Study
from model_io.artefacts.artefact import TRIAL, Artefact, ArtefactSource
from model_io.artefacts.formats import FORMATS
from model_io.artefacts.viewer_overlays import LayerNumber
from model_io.errors import ModelError
from model_io.runtime.onnx_runtime import open_bytes
from quant.config import QuantConfig
from quant.inputs import tensors_of_batch
from quant.passes.use_encodings import UseEncodings
from quant.progress import Progress, Steps, part_of_progress
from ui.answers.forecast import deepest_sensitivity
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.results import Made
from ui.state.workspace import Workspace

STAGE_SHARE = 0.5
MOST_KEPT = 8
RUNNABLE = ("onnx-qdq", "onnx-qdq-float")
VIEWERS = ("model-explorer", "netron")
EXPORTS = "exports"


@dataclass(frozen=True, eq=False, slots=True)
class ExportRequest:
    """The experiment to export, with model, cost and sensitivity at the time of asking."""

    study: Study
    experiment: Experiment
    report: CostReport
    sensitivity: Sensitivity | None
    model: str = "MODEL"

    @property
    def network(self) -> Network:
        """The float network."""
        return self.study.network

    @property
    def config(self) -> QuantConfig:
        """The configuration of the experiment."""
        return self.experiment.config

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return self.experiment.display_name

    @property
    def key(self) -> str:
        """The digest of the simulation: equal digests mean equal simulations."""
        images = self.study.calibration
        seen = "" if images is None else images.digest
        titles = [title_of_pass(step) for step in self.experiment.all_passes]
        for step in self.experiment.all_passes:  # of two files of one name
            if isinstance(step, UseEncodings):
                titles += [f"{n} {float(e.scale.sum())!r}" for n, e in step.encodings.items()]
        return _short_hash(f"{self.network.digest} {seen} {self.config.to_json()} {titles}")

    def artefact_key(self, form: str) -> str:
        """Return the digest of an artefact; files for viewers depend on cost and sensitivity."""
        if form not in VIEWERS:
            return self.key
        known = "" if self.sensitivity is None else repr(self.sensitivity.sweep)
        return _short_hash(f"{self.key} {self.report.machine} {known}")

    @property
    def file_stem(self) -> str:
        """The name of the files without an ending."""
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{self.network.name}-{self.name}")
        return plain.strip("-.")[:80] or "network"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def present_export_request(workspace: Workspace, study: Study) -> ExportRequest:
    """Return the request to export the present experiment."""
    experiment = workspace.experiment
    report = workspace.config_cost(experiment.config)
    model = workspace.model.shown or workspace.model.source
    return ExportRequest(study, experiment, report, deepest_sensitivity(workspace), model)


def finished_artefacts(workspace: Workspace, wish: ExportRequest) -> dict[str, Made]:
    """Return the finished artefacts of a request, by format."""
    kept = workspace.exports.artefacts
    made = {name: kept.get(wish.artefact_key(name), {}).get(name) for name in FORMATS}
    return {name: one for name, one in made.items() if one is not None}


def is_exporting(workspace: Workspace) -> bool:
    """Whether artefacts are being made."""
    return workspace.runner.active_of(JobKind.EXPORT) is not None


def start_export(workspace: Workspace, wish: ExportRequest, formats: Iterable[str]) -> None:
    """Queue artefacts; the page shows an artefact as soon as its file is written."""
    chosen = tuple(formats)
    workspace.runner.submit(
        Job(
            JobKind.EXPORT,
            f"{JobKind.EXPORT} {wish.name}",
            lambda: _make_artefacts(workspace, wish, chosen),
            lambda _: None,
        )
    )


def _make_artefacts(
    workspace: Workspace, wish: ExportRequest, formats: tuple[str, ...]
) -> Steps[None]:
    stage = yield from part_of_progress(
        quantize_for_export(wish.study, wish.experiment), 0.0, STAGE_SHARE
    )
    yield Progress(STAGE_SHARE, "Collecting numbers of layers")
    scored = wish.study.scored
    numbers = collect_layer_numbers(stage, wish.report, wish.config, scored, wish.sensitivity)
    metrics = tuple(LayerNumber(n.name, n.unit, n.values, n.low_is_bad) for n in numbers)
    count = wish.network.graph.batch or TRIAL
    few = scored is None or len(scored) < count
    inputs = (
        () if few or scored is None else tensors_of_batch(next(iter(scored.batches(count))).inputs)
    )
    source = ArtefactSource(
        wish.file_stem,
        stage.network.graph,
        stage.quantized,
        wish.config,
        metrics,
        inputs,
        wish.model,
    )
    for number, name in enumerate(formats):
        share = STAGE_SHARE + (1 - STAGE_SHARE) * number / len(formats)
        yield Progress(share, f"Making {FORMATS[name].title}")
        try:
            found = FORMATS[name].make(source)
            made = _write_artefact(workspace, wish, name, found)
            if name in RUNNABLE:
                made = yield from _run_file(workspace, wish, stage, found, made)
        except ModelError as error:  # the other formats can still be made
            made = Made(problem=str(error))
        _keep_artefact(workspace, wish.artefact_key(name), name, made)


def _run_file(
    workspace: Workspace, wish: ExportRequest, stage: Stage, file: Artefact, made: Made
) -> Steps[Made]:
    """Run a file in ONNX Runtime on a few images; return `made` with the answers and an alarm."""
    scored = wish.study.scored
    if scored is None:
        return made
    session = open_bytes(file.files[file.main_file])
    images = scored.first(USUAL_IMAGES)
    found = yield from check_answers(stage.network, stage.quantized, session, images)
    digests = wish.network.digest, scored.digest
    run = run_named(workspace.store.all_runs(), wish.name, *digests)
    told = (*made.checks, describe_answers(found))
    return replace(made, checks=told, alarm=find_mismatch(found, run))


def _keep_artefact(workspace: Workspace, key: str, name: str, made: Made) -> None:
    """Keep an artefact, and delete the artefacts of the oldest simulations to save disk space."""
    kept = workspace.exports.artefacts
    while key not in kept and len(kept) >= MOST_KEPT:
        oldest = next(iter(kept))
        kept.pop(oldest)
        shutil.rmtree(workspace.folder / EXPORTS / oldest, ignore_errors=True)
    kept.setdefault(key, {})[name] = made


def _write_artefact(workspace: Workspace, wish: ExportRequest, name: str, found: Artefact) -> Made:
    folder = workspace.folder / EXPORTS / wish.artefact_key(name) / name
    folder.mkdir(parents=True, exist_ok=True)
    file, content = found.pack_files(f"{wish.file_stem}.{name}")
    path = folder / file
    path.write_bytes(content)
    return Made(path, len(content), tuple(found.files), found.checks, found.notes, found.command)
