"""Measure experiments as named runs; a stored run is not measured again."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from analysis.diagnosis.flow.contents import OUTCOMES, FlowStage, FlowStep
from analysis.diagnosis.flow.goal import Goal, Loss, Standing, loss_of, standing_of
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import experiment_to_plain
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run
from analysis.study import AnswerStore, Study
from quant.progress import Steps

FORMAT = 1
"""Of the questions under which runs are found again."""


class RunKeeper(AnswerStore, Protocol):
    """A store of runs and answers, such as `analysis.runs.run_store.RunStore`."""

    def save_run(self, run: Run) -> None:
        """Keep a run."""

    def all_runs(self) -> tuple[Run, ...]:
        """Return the runs."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A measured experiment."""

    experiment: Experiment
    run: Run
    loss: Loss
    standing: Standing
    resumed: bool = False

    @property
    def goal_distance(self) -> tuple[bool, float, float]:
        """The sort key of trials: the nearest to the goal first."""
        return self.standing is not Standing.KEPT, self.loss.interval.high, self.loss.points


@dataclass(eq=False)
class Trials:
    """Measures experiments on one study, and stores the steps in order."""

    study: Study
    goal: Goal
    keeper: RunKeeper | None = None
    board: list[FlowStep] = field(default_factory=list)
    measured: list[Trial] = field(default_factory=list)
    _kept: dict[str, Run] | None = None

    def measure_trial(self, experiment: Experiment, name: str) -> Steps[Trial]:
        """Return the trial of an experiment; the run gets the name of the step.

        Raises:
            QuantError: the experiment does not fit the network or the images.
        """
        question = self._question_of_run(experiment)
        run = self._find_run(question)
        resumed = run is not None
        if run is None:
            titled = experiment.with_name(f"Diagnose: {name}")
            run = yield from _with_title(name, measure_experiment(self.study, titled))
            if self.keeper is not None:
                self.keeper.save_run(run)
                self.keeper.keep_answer(question, run.id)
        loss = loss_of(run.evaluation)
        trial = Trial(experiment, run, loss, standing_of(loss, self.goal), resumed)
        self.measured.append(trial)
        return trial

    def tell_step(
        self,
        stage: FlowStage,
        name: str,
        trial: Trial,
        sentence: str,
        *,
        adopted: bool | None = None,
    ) -> FlowStep:
        """Add the step of a trial."""
        step = FlowStep(
            stage,
            name,
            OUTCOMES[trial.standing],
            sentence,
            trial.run.seconds,
            trial.loss,
            trial.run.evaluation.quantized_top1,
            trial.run.evaluation.quantized_top1_ci95,
            trial.run.cost.energy_pj,
            trial.run.id if self.keeper is not None else "",
            adopted,
            trial.resumed,
        )
        self.board.append(step)
        return step

    def _question_of_run(self, experiment: Experiment) -> str:
        """Return a text with every input of a run."""
        study = self.study
        plain = experiment_to_plain(replace_name(experiment))
        parts = (
            str(FORMAT),
            json.dumps(plain, sort_keys=True),
            study.network.graph_digest,
            study.scored_images.digest,
            study.calibration.digest if study.calibration is not None else "",
            repr(study.input_range),
            "" if study.metric is None else study.metric.identity,
            str(torch.__version__),
        )
        return f"diagnosis {hashlib.sha256('|'.join(parts).encode()).hexdigest()}"

    def _find_run(self, question: str) -> Run | None:
        if self.keeper is None:
            return None
        identity = self.keeper.find_answer(question)
        if not isinstance(identity, str):
            return None
        if self._kept is None:
            self._kept = {run.id: run for run in self.keeper.all_runs()}
        return self._kept.get(identity)


def replace_name(experiment: Experiment) -> Experiment:
    """Return the experiment without a given name."""
    return experiment.with_name("")


def _with_title(name: str, steps: Steps[Run]) -> Steps[Run]:
    """Run steps; a name precedes the texts of the steps."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            result: Run = stop.value
            return result
        yield replace(step, text=f"{name}: {step.text}")


def nearest_to_goal(trials: Iterable[Trial]) -> Trial:
    """Return the trial nearest to the goal; the first of equally near trials."""
    return min(trials, key=lambda trial: trial.goal_distance)
