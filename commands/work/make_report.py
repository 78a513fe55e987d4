"""The steps of a report on the command line: a kept run or a new run, with the results around."""

from dataclasses import dataclass, replace
from pathlib import Path

from analysis.network import Network
from analysis.reporting.contents import Report, ReportOrigin
from analysis.reporting.flow_page import FlowPage, read_diagnosis_answer
from analysis.reporting.gather import Around, gather_run_report
from analysis.reporting.trade_off import read_optimize_answer
from analysis.runs.apply_recipe import pass_needs_images
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run, RunStore
from analysis.split import ImageChoice, Split, choose_data_split
from analysis.study import Study
from data_io.bundled import BUNDLED_DATA
from quant.config import QuantConfig, config_from_dict
from quant.errors import ConfigError
from quant.progress import Steps, part_of_progress
from sample_models.registry import SAMPLES

GATHERING = 0.85  # of the progress bar: where the run ends


@dataclass(frozen=True, slots=True)
class ReportTask:
    """The content of a report: a kept `run`, or an experiment to measure first.

    `experiment` and `choice` count only without a run. `front` is the answer of optimize as read
    from JSON, `diagnosis` that of diagnose; with `names_diagnosis` it must fit the run, else a
    diagnosis that does not fit is left out. `author` and `note` stand on the first page.
    """

    choice: ImageChoice
    experiment: Experiment
    origin: ReportOrigin | None
    run: Run | None = None
    store: RunStore | None = None
    front: object = None
    author: str = ""
    note: str = ""
    diagnosis: object = None
    names_diagnosis: bool = False


def find_run(store: RunStore, identity: str, option: str = "--run") -> Run:
    """Return the run with the id, the start of an id, or the name `identity`.

    Raises:
        ConfigError: no run fits, or several runs fit.
    """
    runs = store.all_runs()
    for found in (
        [run for run in runs if run.id == identity],
        [run for run in runs if run.id.startswith(identity) or run.name == identity],
    ):
        if len(found) == 1:
            return found[0]
    known = ", ".join(f"{run.id[:8]} ({run.name})" for run in runs[:8]) or "none"
    raise ConfigError(
        f"{option} must name one run of {store.path}; got {identity!r}. The newest are: {known}."
    )


def open_run_store(runs: Path | None, run: str | None) -> RunStore | None:
    """Return the store in a folder; None without a folder.

    Raises:
        ConfigError: a run is named without a folder of runs.
    """
    if run is not None and (runs is None or not runs.is_dir()):
        raise ConfigError(f"--run needs the folder of runs; got {runs}. Name it with --runs.")
    return None if runs is None else RunStore(runs)


def model_origin(
    model: str | None, machine: str, builder: str | None, shape: str
) -> ReportOrigin | None:
    """Return the way from the command line to a model; the images are added with their choice.

    `shape` is the text about the inputs on the command line.
    """
    return None if model is None else ReportOrigin(model, machine, builder, inputs=shape)


def make_run_report(network: Network | None, task: ReportTask) -> Steps[Report]:
    """Measure the experiment if no run is kept, and gather the report.

    Raises:
        ValueError: data, configuration, run or front do not fit each other.
    """
    if task.run is None and network is None:
        raise ConfigError("A report needs a model to measure, or a run; got neither. Name one.")
    if network is None:
        return (yield from _gather_with_context(task, None, None))
    run = task.run
    config = task.experiment.config if run is None else config_from_dict(run.config)
    choice = task.choice if run is None else _choice_of_run(run, task.choice)
    images = _report_images(task, network, config, choice)
    study = Study.of_split(network, images, task.store)
    yield from part_of_progress(study.collect_statistics(), 0.0, 0.2)
    if run is None and images is not None:
        measured = measure_experiment(study, task.experiment, with_steps=True, with_sides=True)
        run = yield from part_of_progress(measured, 0.2, GATHERING)
        if task.store is not None:
            task.store.save_run(run)
    task = replace(task, run=run)
    done = replace(task, origin=_origin_with_images(task, choice))
    return (yield from part_of_progress(_gather_with_context(done, study, images), GATHERING, 1.0))


def _gather_with_context(
    task: ReportTask, study: Study | None, images: Split | None
) -> Steps[Report]:
    if task.run is None:
        raise ConfigError("A report needs data to measure on; got none. Name some with --data.")
    same = images is not None and images.score.digest == task.run.data_digest
    notes = images.notes if images is not None and same else ()
    if images is not None and not same:
        told = f"The data named for this report ({images.score.name}) are not those of the run"
        notes = (f"{told}; nothing was looked up for them.",)
    flow, left_out = _flow_page_of_task(task, task.run)
    around = Around(
        study=study if same or study is None else Study(study.network, store=task.store),
        machine=task.experiment.machine,
        store=task.store,
        front=None if task.front is None else read_optimize_answer(task.front, task.run),
        origin=task.origin,
        notes=(*notes, *left_out),
        author=task.author,
        note=task.note,
        flow=flow,
    )
    return (yield from gather_run_report(task.run, around))


def _flow_page_of_task(task: ReportTask, run: Run) -> tuple[FlowPage | None, tuple[str, ...]]:
    """Return the page of the diagnosis, and a note where it does not fit the run.

    Raises:
        ValueError: a diagnosis that was named does not fit the run.
    """
    if task.diagnosis is None:
        return None, ()
    try:
        return read_diagnosis_answer(task.diagnosis, run), ()
    except ValueError as error:
        if task.names_diagnosis:
            raise
        return None, (f"The diagnosis beside the experiment is left out: {error}",)


def _report_images(
    task: ReportTask, network: Network, config: QuantConfig, choice: ImageChoice
) -> Split | None:
    """Return the images; None for a kept run with a report that needs no images."""
    model = task.origin.model if task.origin else network.name
    if task.run is not None and choice.data is None:
        sample = SAMPLES.get(model)
        if sample is None or sample.dataset not in BUNDLED_DATA:
            return None
    calibrated = task.run is not None and task.run.calibration_images > 0
    learning = calibrated or any(pass_needs_images(step) for step in task.experiment.all_passes)
    return choose_data_split(model, network, config, choice, learning=learning)


def _choice_of_run(run: Run, choice: ImageChoice) -> ImageChoice:
    """Return the choice of the images of a run."""
    return replace(
        choice,
        samples=run.evaluation.samples,
        calibration=run.calibration_images or choice.calibration,
        seed=run.seed,
    )


def _origin_with_images(task: ReportTask, choice: ImageChoice) -> ReportOrigin | None:
    if task.origin is None:
        return None
    kept = task.run is not None and not task.origin.machine.endswith(".toml")
    return replace(
        task.origin,
        machine=task.run.cost.machine if task.run and kept else task.origin.machine,
        data=None if choice.data is None else str(choice.data),
        preprocess="" if choice.preprocess is None else choice.preprocess.to_json(),
        samples=choice.samples,
        calibration=choice.calibration,
        seed=choice.seed,
    )
