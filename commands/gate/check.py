"""The command check: conditions on a run, for a pipeline that must stop where one is broken."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from commands.app import app
from commands.experiment.model_source import model_of_experiment
from commands.experiment.options import ExperimentOptions
from commands.inputs import open_network, open_preprocess, open_user_metric
from commands.options import (
    BuilderOption,
    CalibrationOption,
    DataOption,
    HeadOption,
    JsonOption,
    LabelOption,
    MachineOption,
    MlflowOption,
    ModelOfExperimentOption,
    PreprocessOption,
    PriorsOption,
    SamplesOption,
    SeedOption,
    ShapeOption,
    TargetsOption,
    TaskOption,
)
from commands.output import (
    add_warnings,
    check_answer_place,
    errors_as_sentences,
    print_line,
    write_answer,
)

BROKEN, UNDECIDED = 1, 3


@app.command("check")
def check_conditions(
    *,
    model: ModelOfExperimentOption = None,
    experiment: Annotated[Path, typer.Option(help="The experiment (JSON) that is checked.")],
    fail_if: Annotated[
        list[str],
        typer.Option(
            "--fail-if",
            help="A condition under which it fails, such as 'drop > 0.5', 'top1 < 90 %' or "
            "'energy > 1.2 mJ'; may stand several times.",
        ),
    ],
    confidence: Annotated[
        float, typer.Option(help="Percent: how seldom chance alone decides, over all conditions.")
    ] = 95.0,
    stop_when_decided: Annotated[
        bool,
        typer.Option(
            "--stop-when-decided",
            help="Score no more data than the conditions need; the looks share the chance of "
            "an error.",
        ),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(help="A run of --runs by name or id, or an experiment's file: drop and x."),
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of runs: keeps this run, and has --against.")
    ] = None,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
    label_column: LabelOption = None,
    samples: SamplesOption = None,
    calibration: CalibrationOption = 256,
    machine: MachineOption = None,
    seed: SeedOption = None,
    metric: Annotated[
        str | None, typer.Option(help="path.py:function for 'metric' and 'loss'. It is run.")
    ] = None,
    task: TaskOption = TaskKind.AUTO,
    targets: TargetsOption = None,
    head: HeadOption = Head.AUTO,
    priors: PriorsOption = None,
    junit: Annotated[Path | None, typer.Option(help="File for the outcome as JUnit XML.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="File for the outcome, and the comparison, as Markdown.")
    ] = None,
    mlflow: MlflowOption = None,
    out: JsonOption = "-",
) -> None:
    """Hold an experiment to conditions: exit code 0 holds, 1 broken, 3 too few images, 2 unusable.

    A run is broken only where the whole interval lies beyond the limit, and holds only where none
    of it does.
    """
    with errors_as_sentences(out):
        for option, place in (("--junit", junit), ("--markdown", markdown)):
            check_answer_place("-" if place is None else str(place), option)
        from commands.work.log_to_mlflow import log_run, open_mlflow  # noqa: PLC0415

        client = None if mlflow is None else open_mlflow(mlflow)
        from analysis.gate.condition import read_condition  # noqa: PLC0415
        from analysis.gate.decide import GateOutcome, check_run, join_outcomes  # noqa: PLC0415
        from analysis.split import ImageChoice  # noqa: PLC0415
        from commands.gate.outcome_files import outcome_as_markdown, summarize_check, write_outcome  # noqa: PLC0415
        from commands.gate.score_both import CheckTask, StopRule, score_both  # noqa: PLC0415
        from commands.work.make_report import open_run_store  # noqa: PLC0415

        conditions = [read_condition(text) for text in fail_if]
        options = ExperimentOptions(experiment=experiment, machine=machine, seed=seed)
        first = options.read().experiment.seed  # says what is wrong with the file
        model = model_of_experiment(model, experiment)
        own_metric, how = open_user_metric(metric), open_preprocess(preprocess, label_column, model)
        wish = TaskChoice(task, head, targets, priors)
        choice = ImageChoice(data, how, samples, calibration, first, wish)
        network = open_network(model, builder, input_shape)
        store = open_run_store(runs, None)
        asked = CheckTask(
            model,
            network,
            options,
            choice,
            own_metric,
            against,
            store,
            stops=StopRule(tuple(conditions), confidence / 100) if stop_when_decided else None,
        )
        scored = score_both(asked)
        level = scored.confidence or confidence / 100
        decisions = check_run(scored.run, conditions, scored.against, level)
        write_outcome(decisions, scored, junit, markdown)
        answer = summarize_check(decisions, scored, network)
        if client is not None:
            text = outcome_as_markdown(decisions, scored.run, scored.against)
            log_run(client, scored.run, {"check.md": text})
        warnings = (*(how.notes if how else ()), *scored.run.evaluation.warnings)
        write_answer(out, add_warnings(answer, warnings))
        for decision in decisions:
            print_line(decision.decision_sentence)
        outcome = join_outcomes(decisions)
    if outcome is not GateOutcome.HOLDS:
        raise typer.Exit(BROKEN if outcome is GateOutcome.BROKEN else UNDECIDED)
