"""Making artefacts beside the page; they lie in the workspace's folder until it goes."""

import hashlib
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerator.report import CostReport
from analysis.calibration import Calibrated, calibrate, needs_data
from analysis.deployment.prepare_export import layer_numbers, quantized_to_take
from analysis.network import Network
from analysis.runs.apply_recipe import Stage, title_of
from analysis.sensitivity.sweep import Sensitivity
from analysis.split import Split
from model_io.artefacts.artefact import TRIAL, Artefact, ArtefactSource
from model_io.artefacts.formats import FORMATS
from model_io.artefacts.viewer_overlays import LayerNumber
from model_io.errors import ModelError
from quant.config import QuantConfig
from quant.inputs import parts_of
from quant.passes.recipe import Recipe
from quant.passes.use_grids import UseGrids
from quant.progress import Progress, Steps, part
from ui.answers.forecast import sensitivity_now
from ui.jobs import Job
from ui.state.workspace import Workspace

JOB = "Export of"
CALIBRATION_SHARE, STAGE_SHARE = 0.3, 0.5
MOST_KEPT = 8
VIEWERS = ("model-explorer", "netron")
EXPORTS = "exports"


@dataclass(frozen=True, slots=True)
class Made:
    """An artefact that was made and lies in a file; or why it could not be."""

    path: Path | None = None
    size_bytes: int = 0
    files: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    problem: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class ExportRequest:
    """What is to be taken home, as it is shown elsewhere when one asks."""

    network: Network
    parts: Split | None
    config: QuantConfig
    name: str
    recipe: Recipe
    report: CostReport
    sensitivity: Sensitivity | None
    model: str = "MODEL"

    @property
    def key(self) -> str:
        """Equal keys mean the same simulation."""
        images = self.parts.calibration if self.parts is not None else None
        seen = "" if images is None else images.digest
        titles = [title_of(step) for step in self.recipe]
        for step in self.recipe:  # of two files of one name
            if isinstance(step, UseGrids):
                titles += [f"{n} {float(e.scale.sum())!r}" for n, e in step.grids.items()]
        return _hash(f"{self.network.digest} {seen} {self.config.to_json()} {titles}")

    def key_of(self, form: str) -> str:
        """Equal keys mean equal artefacts; viewers show what the machine and sweeps tell, too."""
        if form not in VIEWERS:
            return self.key
        known = "" if self.sensitivity is None else repr(self.sensitivity.sweep)
        return _hash(f"{self.key} {self.report.machine} {known}")

    @property
    def stem(self) -> str:
        """What its files are called."""
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{self.network.name}-{self.name}")
        return plain.strip("-.")[:80] or "network"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def wish_of(workspace: Workspace, network: Network, recipe: Recipe) -> ExportRequest:
    """Return what is chosen now; `recipe` is that of Repair, or none."""
    config = workspace.config.present
    return ExportRequest(
        network, workspace.parts, config, workspace.config_name,
        workspace.file_grids.before(config, recipe), workspace.cost_of(config),
        sensitivity_now(workspace), workspace.model.shown or workspace.model.source,
    )  # fmt: skip


def repaired_recipe(workspace: Workspace) -> Recipe:
    """Return the passes that Repair measured for what is chosen now; none where it differs."""
    found = workspace.repaired
    if found is None or found.network is not workspace.network:
        return ()
    if found.config != workspace.config.present:
        return ()
    passes = (step.step for step in found.steps)
    # a file's grids belong to the configuration and come back with it
    return tuple(p for p in passes if p is not None and not isinstance(p, UseGrids))


def made_of(workspace: Workspace, wish: ExportRequest) -> dict[str, Made]:
    """Return the artefacts there are of a wish, by format."""
    found = {name: workspace.exports.get(wish.key_of(name), {}).get(name) for name in FORMATS}
    return {name: made for name, made in found.items() if made is not None}


def under_way(workspace: Workspace) -> bool:
    """Whether artefacts are being made."""
    return any(job.title.startswith(JOB) for job in workspace.runner.active)


def start_export(workspace: Workspace, wish: ExportRequest, formats: Iterable[str]) -> None:
    """Queue artefacts; each appears on the page as soon as it is there."""
    chosen = tuple(formats)
    workspace.runner.submit(
        Job(f"{JOB} {wish.name}", lambda: _road(workspace, wish, chosen), lambda _: None)
    )


def _road(workspace: Workspace, wish: ExportRequest, formats: tuple[str, ...]) -> Steps[None]:
    stage = yield from part(quantized_now(workspace, wish), 0.0, STAGE_SHARE)
    yield Progress(STAGE_SHARE, "Collecting numbers of layers")
    data = None if wish.parts is None else wish.parts.score
    numbers = layer_numbers(stage, wish.report, wish.config, data, wish.sensitivity)
    metrics = tuple(LayerNumber(n.name, n.unit, n.values, n.low_is_bad) for n in numbers)
    source = ArtefactSource(
        wish.stem, stage.network.graph, stage.quantized, wish.config, metrics,
        _first_images(wish), wish.model,
    )  # fmt: skip
    for number, name in enumerate(formats):
        share = STAGE_SHARE + (1 - STAGE_SHARE) * number / len(formats)
        yield Progress(share, f"Making {FORMATS[name].title}")
        try:
            made = _written(workspace, wish, name, FORMATS[name].make(source))
        except ModelError as error:  # the other formats can still be made
            made = Made(problem=str(error))
        _keep(workspace, wish.key_of(name), name, made)


def _first_images(wish: ExportRequest) -> Any:
    """Return a few images to try files on; none where there are fewer than the network takes."""
    count = wish.network.graph.batch or TRIAL
    if wish.parts is None or len(wish.parts.score) < count:
        return ()
    return parts_of(next(iter(wish.parts.score.batches(count))).inputs)


def quantized_now(workspace: Workspace, wish: ExportRequest) -> Steps[Stage]:
    """Calibrate where that has not been done, quantize and repair."""
    network, parts = wish.network, wish.parts
    calibrated, start = None, 0.0
    if parts is not None:
        calibrated = workspace.calibrated(network, parts)
        if calibrated is None and parts.calibration and needs_data(network, wish.config):
            steps = calibrate(network, parts.calibration, parts.input_range)
            calibrated = yield from part(steps, 0.0, CALIBRATION_SHARE)
            workspace.keep_calibrated(network, parts, calibrated)
            start = CALIBRATION_SHARE
    limits = None if parts is None else parts.input_range
    known = calibrated or Calibrated(input_range=limits)
    images = None if parts is None else parts.calibration
    rest = quantized_to_take(network, wish.config, known, wish.recipe, images)
    return (yield from part(rest, start, 1.0))


def _keep(workspace: Workspace, key: str, name: str, made: Made) -> None:
    """Keep an artefact; those of the oldest simulations go, so that the disk does not fill."""
    while key not in workspace.exports and len(workspace.exports) >= MOST_KEPT:
        oldest = next(iter(workspace.exports))
        workspace.exports.pop(oldest)
        shutil.rmtree(workspace.folder / EXPORTS / oldest, ignore_errors=True)
    workspace.exports.setdefault(key, {})[name] = made


def _written(workspace: Workspace, wish: ExportRequest, name: str, found: Artefact) -> Made:
    folder = workspace.folder / EXPORTS / wish.key_of(name) / name
    folder.mkdir(parents=True, exist_ok=True)
    file, content = found.packed(f"{wish.stem}.{name}")
    path = folder / file
    path.write_bytes(content)
    return Made(path, len(content), tuple(found.files), found.checks, found.notes, found.command)
