"""The command optimize."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.cost.quantity import Quantity
from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from commands.app import app
from commands.experiment.options import REPAIRS, ExperimentOptions, experiment_options
from commands.inputs import open_network, open_preprocess, read_reference_config
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
)
from commands.output import add_warnings, errors_as_sentences, watch_steps, write_answer


@app.command("optimize")
@experiment_options(
    model=("machine",),
    measure=("experiment", "config", "granularity", "estimator"),
    runs=("equalize", *REPAIRS, "seed"),
)
def optimize_bits(
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
    budget: Annotated[
        list[str] | None,
        typer.Option(help="energy, latency, size, memory or bops, = and the most, as energy=0.6."),
    ] = None,
    relative_to: Annotated[
        str | None, typer.Option(help="Budgets are shares of this: w8a8, or a configuration.")
    ] = None,
    least: Annotated[
        Quantity | None, typer.Option(help="Make this least, within --loss, instead.")
    ] = None,
    loss: Annotated[
        float | None,
        typer.Option(help="Most top-1 to lose against float, predicted, as a share.", min=0, max=1),
    ] = None,
    pin: Annotated[
        list[str] | None, typer.Option(help="LAYER=8/8: bits of weight/output, - for free.")
    ] = None,
    edge_bits: Annotated[
        int | None, typer.Option(help="Bits of input, first and last layer.", min=2, max=16)
    ] = None,
    bits: Annotated[str, typer.Option(help="Widths on offer.")] = "2,3,4,6,8",
    allow: Annotated[
        str, typer.Option(help="Granularities each weight may have: per-tensor,per-channel.")
    ] = "",
    front: Annotated[int, typer.Option(help="Points of the front.", min=0, max=100)] = 0,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the choice.")] = False,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of runs that correct predictions; keeps new ones.")
    ] = None,
    out: JsonOption = "-",
) -> None:
    """Choose bits layer by layer: the most accurate within budgets, or the cheapest.

    The images that choose ranges also tell how sensitive layers are; others measure the choice.
    """
    with errors_as_sentences(out):
        tried = options.read().experiment
        from analysis.mixed_precision.optimize import Task  # noqa: PLC0415
        from analysis.mixed_precision.optimize import optimize_bits as find  # noqa: PLC0415
        from analysis.runs.run_store import RunStore  # noqa: PLC0415
        from analysis.split import ImageChoice, choose_data_split  # noqa: PLC0415
        from analysis.study import Study  # noqa: PLC0415
        from commands import bit_options  # noqa: PLC0415
        from commands.json_answers.optimize import summarize_optimum  # noqa: PLC0415

        relative = relative_to is not None
        search = Task(
            machine=tried.machine,
            config=tried.config,
            rules=bit_options.read_choice_rules(bits, pin or (), edge_bits, allow),
            budgets=tuple(
                bit_options.read_budget(text, relative=relative) for text in budget or ()
            ),
            reference=read_reference_config(relative_to, tried.config),
            least=least,
            most_loss=loss,
            front=front,
            measured=measure,
            seed=tried.seed,
            recipe=tried.recipe,
        )
        steps = open_preprocess(preprocess, label_column, model)
        choice = ImageChoice(
            data, steps, samples, calibration, tried.seed, TaskChoice(task, head, targets, priors)
        )
        network = open_network(model, builder, input_shape)
        images = choose_data_split(model, network, tried.config, choice, learning=True)
        store = RunStore(runs) if runs else None
        study = Study.of_split(network, images, store)
        watch_steps(study.collect_statistics())
        answer = watch_steps(find(study, search, store))
        found = summarize_optimum(answer, network)
        told = (*(steps.notes if steps else ()), *answer.warnings)
        write_answer(out, add_warnings(found, told))
