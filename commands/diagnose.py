"""The command diagnose."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from commands.app import app
from commands.experiment.complete import complete_experiment, with_stored_training
from commands.experiment.model_source import source_of_model, with_model_source
from commands.experiment.options import EXPERIMENT, ExperimentOptions, experiment_options
from commands.inputs import check_onnx_import, open_network, open_preprocess
from commands.options import (
    BuilderOption,
    CalibrationOption,
    DataOption,
    HeadOption,
    JsonOption,
    LabelOption,
    ModelOption,
    PreprocessOption,
    PriorsOption,
    SamplesOption,
    ShapeOption,
    TargetsOption,
    TaskOption,
    TrainedOption,
)
from commands.output import (
    add_warnings,
    check_answer_place,
    errors_as_sentences,
    watch_steps,
    write_answer,
)


@app.command("diagnose")
@experiment_options(calibration=EXPERIMENT)
def diagnose_network(
    *,
    options: ExperimentOptions,
    model: ModelOption,
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
    goal: Annotated[
        str, typer.Option(help="Points of top-1 that may be lost, by the paired interval.")
    ] = "drop <= 1.0",
    runs: Annotated[
        Path,
        typer.Option(help="Folder that keeps each step as a run: a killed diagnosis goes on."),
    ] = Path("runs"),
    write_experiment: Annotated[
        str | None, typer.Option(help="File for the experiment that was chosen (JSON).")
    ] = None,
    out: JsonOption = "-",
) -> None:
    """Find why accuracy fell, try repairs in order of cost, and name the cheapest that is enough.

    The answer holds the experiment that was chosen: evaluate, report and export take the answer
    with --experiment.
    """
    with errors_as_sentences(out):
        if write_experiment is not None:
            check_answer_place(write_experiment, "--write-experiment")
        record = options.read()
        from analysis.diagnosis.flow.goal import read_goal  # noqa: PLC0415

        wish = read_goal(goal)
        from analysis.diagnosis.flow.run_diagnosis import (  # noqa: PLC0415
            DiagnosisTask,
            run_diagnosis,
        )
        from analysis.runs.experiment_file import write_experiment_json as text_of  # noqa: PLC0415
        from analysis.runs.run_store import RunStore  # noqa: PLC0415
        from analysis.split import ImageChoice, choose_data_split  # noqa: PLC0415
        from analysis.study import Study  # noqa: PLC0415
        from commands.json_answers.diagnosis import summarize_diagnosis  # noqa: PLC0415

        how = open_preprocess(preprocess, label_column, model)
        choice = ImageChoice(
            data,
            how,
            samples,
            calibration,
            record.experiment.seed,
            TaskChoice(task, head, targets, priors),
        )
        network = open_network(model, builder, input_shape)
        tried, notes = complete_experiment(network, record, options)
        tried, choice = with_stored_training(
            network, (runs, trained), tried, choice, named=options.names_config
        )
        images = choose_data_split(model, network, tried.config, choice, learning=True)
        checked = check_onnx_import(model, network, images.score)
        store = RunStore(runs)
        job = DiagnosisTask(Study.of_split(network, images, store), tried, wish, store)
        found = watch_steps(run_diagnosis(job))
        if write_experiment is not None:
            text = with_model_source(text_of(found.experiment), model)
            Path(write_experiment).write_text(text, encoding="utf-8")
        answer = summarize_diagnosis(found, network.graph)
        told = {
            "model_source": source_of_model(model),
            "notes": [*notes, *images.notes],
            "import_check": checked,
        }
        write_answer(out, add_warnings({**answer, **told}, how.notes if how else ()))
