"""The runs that a check compares: the experiment, and another one on the same images."""

from dataclasses import dataclass, replace
from pathlib import Path

from analysis.evaluation.evaluate import Metric
from analysis.gate.condition import Condition
from analysis.gate.early_stop import EarlyStop, in_random_order
from analysis.network import Network
from analysis.runs.apply_recipe import pass_needs_images
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run, RunStore
from analysis.split import ImageChoice, choose_data_split
from analysis.study import Study
from commands.experiment.complete import complete_experiment
from commands.experiment.options import ExperimentOptions
from commands.output import watch_steps
from commands.work.make_report import find_run
from quant.errors import ConfigError


@dataclass(frozen=True, slots=True)
class StopRule:
    """Conditions that end the scoring once they are decided, and their confidence, a share."""

    conditions: tuple[Condition, ...]
    confidence: float


@dataclass(frozen=True, eq=False, slots=True)
class CheckTask:
    """What a check measures: the experiment of `options` on `choice`, perhaps beside `against`.

    `against` is an experiment's file, or the name or id of a run in `store`; None compares with
    the float network alone. `keep` keeps the run in the store.
    `metric` is the user's own; without it, the task of `choice` has one. `stops` scores only as
    many images as its conditions need.
    """

    model: str
    network: Network
    options: ExperimentOptions
    choice: ImageChoice
    metric: Metric | None = None
    against: str | None = None
    store: RunStore | None = None
    keep: bool = True
    stops: StopRule | None = None


@dataclass(frozen=True, eq=False, slots=True)
class ScoredPair:
    """The run that is checked, the run beside it if any, and what was done in words.

    `confidence` is that of the conditions together where looks at part of the images took a share.
    """

    run: Run
    against: Run | None
    notes: tuple[str, ...]
    confidence: float | None = None


def score_both(task: CheckTask) -> ScoredPair:
    """Measure the experiment, and the other one where a file of it is named.

    Raises:
        ValueError: a file cannot be read, a run is not there, or the data do not fit.
    """
    if task.stops is not None and task.against is not None:
        raise ConfigError(
            "A check that stops when it is decided compares with the float network; got --against "
            f"{task.against}. Leave --against or --stop-when-decided out."
        )
    tried, notes = _complete_from_options(task, task.options)
    other: Experiment | None = None
    kept: Run | None = None
    if task.against is not None and Path(task.against).suffix == ".json":
        other, _ = _complete_from_options(
            task, replace(task.options, experiment=Path(task.against))
        )
    elif task.against is not None:
        if task.store is None:
            raise ConfigError(
                f"--against must be an experiment's file, or a run in the folder of --runs; got "
                f"{task.against!r} without --runs. Name the folder."
            )
        kept = find_run(task.store, task.against, "--against")
    passes = (*tried.all_passes, *(other.all_passes if other else ()))
    images = choose_data_split(
        task.model,
        task.network,
        tried.config,
        task.choice,
        learning=any(map(pass_needs_images, passes)),
    )
    study = Study.of_split(task.network, images)
    if other is not None:
        kept = watch_steps(measure_experiment(study, other, task.metric))
    notes = (*notes, *images.notes)
    if task.stops is not None:
        return _score_until_decided(task, task.stops, study, tried, notes)
    run = watch_steps(measure_experiment(study, tried, task.metric))
    if task.store is not None and task.keep:
        task.store.save_run(run)
    return ScoredPair(run, kept, notes)


def _score_until_decided(
    task: CheckTask, rule: StopRule, study: Study, tried: Experiment, notes: tuple[str, ...]
) -> ScoredPair:
    """Score the images in random order, and stop at the first look that decides."""
    study = study.with_scored_images(in_random_order(study.scored_images, tried.seed))
    stop = EarlyStop.of_check(study, tried, rule.conditions, rule.confidence)
    run = watch_steps(measure_experiment(study, tried, task.metric, look=stop.may_stop))
    if task.store is not None and task.keep:
        task.store.save_run(run)
    seen = run.evaluation.samples
    return ScoredPair(run, None, (*notes, stop.stop_note(seen)), stop.confidence_at(seen))


def _complete_from_options(
    task: CheckTask, options: ExperimentOptions
) -> tuple[Experiment, tuple[str, ...]]:
    return complete_experiment(task.network, options.read(), options)
