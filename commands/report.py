"""The command report."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from commands.app import app
from commands.experiment.complete import complete_experiment, with_stored_training
from commands.experiment.options import EXPERIMENT, ExperimentOptions, experiment_options
from commands.inputs import MACHINE, open_network, open_preprocess, read_text_file
from commands.options import (
    BuilderOption,
    CalibrationOption,
    DataOption,
    HeadOption,
    LabelOption,
    PreprocessOption,
    PriorsOption,
    SamplesOption,
    ShapeOption,
    TargetsOption,
    TaskOption,
    TrainedOption,
)
from commands.output import errors_as_sentences, print_line, watch_steps
from plain_files.read_json import parse_json


@app.command("report")
@experiment_options(calibration=EXPERIMENT)
def write_report(
    *,
    options: ExperimentOptions,
    model: Annotated[
        str | None, typer.Option(help="As elsewhere; may be left out with --run.")
    ] = None,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
    label_column: LabelOption = None,
    samples: SamplesOption = None,
    calibration: CalibrationOption = 256,
    task: TaskOption = TaskKind.AUTO,
    targets: TargetsOption = None,
    head: HeadOption = Head.AUTO,
    priors: PriorsOption = None,
    trained: TrainedOption = None,
    name: Annotated[
        str | None,
        typer.Option(help="Of a run that is measured now.", show_default="that of its content"),
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Report on this kept run: its id, its start, or a name.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of kept runs; a new one is kept there too.")
    ] = None,
    front: Annotated[
        Path | None, typer.Option(help="The answer (JSON) of optimize with --front.")
    ] = None,
    diagnosis: Annotated[
        Path | None,
        typer.Option(help="The answer (JSON) of diagnose; one given as --experiment counts too."),
    ] = None,
    author: Annotated[str, typer.Option(help="Who writes the report.")] = "",
    note: Annotated[str, typer.Option(help="A sentence of yours for the first page.")] = "",
    out: Annotated[str, typer.Option(help="The HTML file to write.")],
) -> None:
    """Write one HTML file for people: accuracy, cost, why, and what was not measured.

    It loads nothing from anywhere and prints to A4.
    """
    with errors_as_sentences(out, "--out"):
        record, how = options.read(), open_preprocess(preprocess, label_column, model or "")
        from analysis.split import ImageChoice  # noqa: PLC0415
        from commands.work.make_report import (  # noqa: PLC0415
            ReportTask,
            find_run,
            make_run_report,
            model_origin,
            open_run_store,
        )
        from figures.document import render_report  # noqa: PLC0415

        runs = Path("runs") if trained is not None and runs is None else runs
        store = open_run_store(runs, run)
        wanted = ReportTask(
            choice=ImageChoice(
                data,
                how,
                samples,
                calibration,
                record.experiment.seed,
                TaskChoice(task, head, targets, priors),
            ),
            experiment=record.experiment,
            origin=model_origin(model, options.machine or MACHINE, builder, input_shape or ""),
            run=None if store is None or run is None else find_run(store, run),
            store=store,
            front=None if front is None else parse_json(read_text_file(front)),
            author=author,
            note=note,
            diagnosis=_diagnosis_answer(diagnosis, options.experiment),
            names_diagnosis=diagnosis is not None,
        )
        network = None if model is None else open_network(model, builder, input_shape)
        if network is not None:
            tried, _ = complete_experiment(network, record, options)
            tried, choice = with_stored_training(
                network,
                (runs or Path("runs"), trained),
                tried,
                wanted.choice,
                named=options.names_config,
            )
            named = tried.with_name(name) if name else tried
            wanted = replace(wanted, experiment=named, choice=choice)
        Path(out).write_text(
            render_report(watch_steps(make_run_report(network, wanted))), encoding="utf-8"
        )
        print_line(f"Wrote {out}")


def _diagnosis_answer(diagnosis: Path | None, experiment: Path | None) -> object:
    """Return the answer of diagnose as read from JSON; None where no file holds one."""
    if diagnosis is not None:
        return parse_json(read_text_file(diagnosis))
    from analysis.reporting.flow_page import is_diagnosis_answer  # noqa: PLC0415

    found = None if experiment is None else parse_json(read_text_file(experiment))
    return found if is_diagnosis_answer(found) else None
