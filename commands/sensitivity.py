"""The command sensitivity."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from commands.app import app
from commands.experiment.options import ExperimentOptions, experiment_options
from commands.inputs import open_network, open_preprocess, read_widths
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
    ShapeOption,
    TargetsOption,
    TaskOption,
)
from commands.output import add_warnings, errors_as_sentences, watch_steps, write_answer


@app.command("sensitivity")
@experiment_options(depth=("experiment", "config", "granularity", "estimator"), runs=("seed",))
def measure_sensitivity(
    *,
    options: ExperimentOptions,
    model: ModelOption,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
    label_column: LabelOption = None,
    samples: Annotated[int, typer.Option(help="Images or rows that answer.")] = 128,
    calibration: CalibrationOption = 256,
    task: TaskOption = TaskKind.AUTO,
    targets: TargetsOption = None,
    head: HeadOption = Head.AUTO,
    priors: PriorsOption = None,
    bits: Annotated[str, typer.Option(help="Widths in question, such as 8,4.")] = "8,6,4,3,2",
    role: Annotated[
        Literal["weights", "activations", "both"] | None,
        typer.Option(
            help="What is quantized; both means at once.", show_default="weights, then activations"
        ),
    ] = None,
    view: Annotated[
        Literal["only", "all-but"],
        typer.Option(help="Only one layer quantized, or all but one."),
    ] = "only",
    depth: Annotated[
        Literal["instant", "screening", "exact"],
        typer.Option(help="No forward, one over the data, or one for each answer."),
    ] = "exact",
    most_harmful: Annotated[
        int | None,
        typer.Option(
            help="Name so many layers, the most harmful at the fewest bits: proven at 95 %, in a "
            "fraction of the time.",
            min=1,
        ),
    ] = None,
    stop_early: Annotated[
        bool, typer.Option("--stop-early", help="Stop a layer once its place is decided.")
    ] = False,
    memory: Annotated[
        int, typer.Option(help="MiB of activations that a process keeps between layers.", min=1)
    ] = 64,
    scheduler: Annotated[
        str | None, typer.Option(help="A Dask scheduler, such as tcp://host:8786.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder that keeps answers; none is computed twice.")
    ] = None,
    out: JsonOption = "-",
) -> None:
    """Tell what each layer costs when it alone is quantized, or when it alone is not.

    With --runs, stop it and start it again: it goes on where it was.
    """
    with errors_as_sentences(out):
        tried = options.read().experiment
        widths = read_widths(bits)
        from analysis.split import ImageChoice  # noqa: PLC0415
        from commands.work.answer_sensitivity import answer_sensitivity, sweep_from_words  # noqa: PLC0415

        sweep = sweep_from_words(tried.config, widths, role, view, memory, stop_early=stop_early)
        steps = open_preprocess(preprocess, label_column, model)
        choice = ImageChoice(
            data, steps, samples, calibration, tried.seed, TaskChoice(task, head, targets, priors)
        )
        network = open_network(model, builder, input_shape)
        found = watch_steps(
            answer_sensitivity(model, network, choice, sweep, depth, runs, scheduler, most_harmful)
        )
        write_answer(out, add_warnings(found, steps.notes if steps else ()))
