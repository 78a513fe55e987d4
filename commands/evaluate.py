"""The commands cost and evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from commands.app import app
from commands.experiment.complete import complete_experiment, with_stored_training
from commands.experiment.model_source import source_of_model
from commands.experiment.options import CONFIG, EXPERIMENT, ExperimentOptions, experiment_options
from commands.inputs import check_onnx_import, open_network, open_preprocess, open_user_metric
from commands.options import (
    BuilderOption,
    CalibrationOption,
    DataOption,
    HeadOption,
    JsonOption,
    LabelOption,
    MlflowOption,
    ModelOption,
    PreprocessOption,
    PriorsOption,
    SamplesOption,
    ShapeOption,
    TargetsOption,
    TaskOption,
    TrainedOption,
    TrainingsOption,
)
from commands.output import add_warnings, errors_as_sentences, watch_steps, write_answer


@app.command("cost")
@experiment_options(model=("machine",), input_shape=("experiment", *CONFIG))
def print_cost(
    *,
    options: ExperimentOptions,
    model: ModelOption,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    out: JsonOption = "-",
) -> None:
    """Estimate energy, latency and memory of one image; needs no data."""
    with errors_as_sentences(out):
        tried = options.read().experiment
        from analysis.cost.estimate import estimate_config_cost as estimate_cost  # noqa: PLC0415
        from commands.json_answers.run import summarize_cost  # noqa: PLC0415

        network = open_network(model, builder, input_shape)
        report = estimate_cost(network, tried.config, tried.machine)
        write_answer(out, add_warnings(summarize_cost(network, tried.config, report)))


@app.command("evaluate")
@experiment_options(calibration=EXPERIMENT)
def evaluate_network(
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
    trained: TrainedOption = None,
    runs: TrainingsOption = Path("runs"),
    metric: Annotated[
        str | None,
        typer.Option(
            help="path.py:function of (outputs, targets) that gives a number for each image or "
            "row, or one for all. It is run."
        ),
    ] = None,
    task: TaskOption = TaskKind.AUTO,
    targets: TargetsOption = None,
    head: HeadOption = Head.AUTO,
    priors: PriorsOption = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the score so far: a killed command goes on there."),
    ] = None,
    mlflow: MlflowOption = None,
    out: JsonOption = "-",
) -> None:
    """Quantize, score beside the float network on the same images, and estimate the cost.

    With --encodings, the file's bits are the configuration unless one is named; so are a
    training's with --trained.
    """
    with errors_as_sentences(out):
        record = options.read()
        from commands.work.log_to_mlflow import log_run, open_mlflow  # noqa: PLC0415

        client = None if mlflow is None else open_mlflow(mlflow)
        from analysis.evaluation.sanity import check_float_network  # noqa: PLC0415
        from analysis.runs.apply_recipe import pass_needs_images  # noqa: PLC0415
        from analysis.runs.reconstruction_state import store_for_states  # noqa: PLC0415
        from analysis.runs.run_experiment import measure_experiment  # noqa: PLC0415
        from analysis.runs.run_store import RunStore  # noqa: PLC0415
        from analysis.split import ImageChoice, choose_data_split  # noqa: PLC0415
        from analysis.study import Study  # noqa: PLC0415
        from commands.json_answers.run import summarize_run  # noqa: PLC0415

        how, own_metric = open_preprocess(preprocess, label_column, model), open_user_metric(metric)
        wish = TaskChoice(task, head, targets, priors)
        choice = ImageChoice(data, how, samples, calibration, record.experiment.seed, wish)
        network = open_network(model, builder, input_shape)
        tried, notes = complete_experiment(network, record, options)
        tried, choice = with_stored_training(
            network, (runs, trained), tried, choice, named=options.names_config
        )
        learning = any(pass_needs_images(step) for step in tried.all_passes)
        images = choose_data_split(model, network, tried.config, choice, learning=learning)
        checked = check_onnx_import(model, network, images.score)
        store = store_for_states(tried, runs) if resume is None else RunStore(resume)
        study = Study.of_split(network, images, store)
        run = watch_steps(measure_experiment(study, tried, own_metric, with_sides=True))
        found = summarize_run(run, network, (*notes, *images.notes))
        sanity = watch_steps(check_float_network(network, images.score, run.evaluation.float_top1))
        notes_of_data = how.notes if how else ()
        warnings = (*notes_of_data, *sanity.warning_sentences(), *run.evaluation.warnings)
        told = {"model_source": source_of_model(model), "import_check": checked}
        write_answer(out, add_warnings({**found, **told}, warnings))
        if client is not None:
            log_run(client, run, {})
        if run.evaluation.metric_problem:
            raise ValueError(run.evaluation.metric_problem)
