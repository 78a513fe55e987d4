"""The command train."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from analysis.evaluation.tasks.kinds import Head, TaskChoice, TaskKind
from commands.app import app
from commands.experiment.options import CONFIG, ExperimentOptions, experiment_options
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
)
from commands.output import (
    add_warnings,
    errors_as_sentences,
    write_answer,
)
from quant.training.settings import (
    BlendGradient,
    BlendSchedule,
    LossKind,
    NeuronWidthSettings,
    NormHandling,
    OptimizerKind,
    TrainingMethod,
    TrainingSettings,
)


@app.command("train")
@experiment_options(calibration=(*CONFIG, "equalize"))
def train_network(
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
    method: Annotated[
        TrainingMethod, typer.Option(help="How weights learn to be quantized.")
    ] = TrainingMethod.LEARNED_STEP,
    steps: Annotated[int, typer.Option(help="Batches to train on.", min=0)] = 400,
    batch: Annotated[int, typer.Option(help="Images or rows of a step.", min=2)] = 32,
    rate: Annotated[
        float, typer.Option(help="Share of its own size by which a tensor moves in a step.")
    ] = 3e-3,
    loss: Annotated[
        LossKind | None,
        typer.Option(
            help="labels, distil (the float network's answers, no labels needed), or both.",
            show_default="both; distil without labels",
        ),
    ] = None,
    norms: Annotated[
        NormHandling,
        typer.Option(help="Batch norms train and are folded again, or stay folded."),
    ] = NormHandling.KEPT,
    optimizer: Annotated[OptimizerKind, typer.Option(help="How a step is made.")] = (
        OptimizerKind.ADAM
    ),
    dampening: Annotated[
        float,
        typer.Option(help="Weight of the distance of weights from their quantized values.", min=0),
    ] = 0.0,
    freeze_oscillating: Annotated[
        float, typer.Option(help="Share of flips from which a weight is frozen; 0: never.", min=0)
    ] = 0.0,
    blend_exponent: Annotated[
        float, typer.Option(help="Of alpha-blend: 3 is the cubic schedule, 1 the linear one.")
    ] = 3.0,
    blend_gradient: Annotated[
        BlendGradient, typer.Option(help="Of alpha-blend: of the blend, or straight through.")
    ] = BlendGradient.BLEND,
    patience: Annotated[
        int, typer.Option(help="Looks without a better state until it stops; 0: never.", min=0)
    ] = 0,
    go_on: Annotated[
        str | None, typer.Option("--continue", help="Name of a training to start from.")
    ] = None,
    width_rate: Annotated[
        float,
        typer.Option(help="Of neuron-widths: how fast widths learn; a knob of compression.", min=0),
    ] = 3e-3,
    pressure: Annotated[
        float,
        typer.Option(help="Of neuron-widths: times the mean width, added to the loss.", min=0),
    ] = 0.0,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Tell what it would cost and gain over repair, and train no further."
        ),
    ] = False,
    write_every: Annotated[
        float,
        typer.Option(
            help="Seconds between two states on the disk; more where writing would take 5% of the "
            "time.",
            min=0,
        ),
    ] = 1.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of images or rows, and of their order.")] = 0,
    runs: Annotated[Path, typer.Option(help="Folder that keeps trainings.")] = Path("runs"),
    out: JsonOption = "-",
) -> None:
    """Train the quantized network; the same call again goes on where it was stopped.

    The answer tells the scores of the float network, of the quantized one without training, and of
    the trained one, on images that neither trained nor watched.
    """
    with errors_as_sentences(out):
        wish = options.read_config()
        how = TrainingSettings(
            method=method,
            steps=steps,
            batch=batch,
            rate=rate,
            norms=norms,
            optimizer=optimizer,
            dampening=dampening,
            freeze_oscillating=freeze_oscillating,
            blend=BlendSchedule(exponent=blend_exponent, gradient=blend_gradient),
            widths=NeuronWidthSettings(rate=width_rate, pressure=pressure),
            patience=patience,
            seed=seed,
            device=device,
        )
        from analysis.split import ImageChoice  # noqa: PLC0415
        from analysis.training.divide import divide_training_images  # noqa: PLC0415
        from analysis.training.run_training import TrainingTask, loss_for_split  # noqa: PLC0415
        from analysis.training.stored import open_stored_training  # noqa: PLC0415
        from commands.work.answer_training import answer_training  # noqa: PLC0415
        from quant.passes.recipe import Recipe, build_recipe  # noqa: PLC0415
        from quant.training.workers import join_workers  # noqa: PLC0415

        recipe: Recipe = build_recipe(equalize=options.equalize)
        pixels = open_preprocess(preprocess, label_column, model)
        choice = ImageChoice(
            data, pixels, samples, calibration, seed, TaskChoice(task, head, targets, priors)
        )
        network = open_network(model, builder, input_shape)
        if go_on is not None:
            recipe = open_stored_training(runs, go_on, network).whole_recipe
        split = divide_training_images(model, network, choice)
        checked = check_onnx_import(model, network, split.score)
        how = replace(how, loss=loss_for_split(split, loss))
        with join_workers(device) as workers:
            work = TrainingTask(network, wish, split, how, runs, recipe, write_every)
            found = answer_training(work, workers, ask=ask)
        if found is not None:
            told = {**found, "import_check": checked}
            write_answer(out, add_warnings(told, pixels.notes if pixels else ()))
