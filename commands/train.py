"""The command train."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from commands.app import app
from commands.experiment.options import CONFIG, ExperimentOptions, experiment_options
from commands.inputs import check_onnx_import, open_network, open_preprocess
from commands.options import (
    BuilderOption,
    CalibrationOption,
    DataOption,
    JsonOption,
    LabelOption,
    ModelOption,
    PreprocessOption,
    SamplesOption,
    ShapeOption,
)
from commands.output import (
    add_warnings,
    errors_as_sentences,
    print_line,
    watch_steps,
    write_answer,
)
from quant.training.settings import (
    BlendGradient,
    BlendSchedule,
    LossKind,
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
    method: Annotated[
        TrainingMethod, typer.Option(help="How weights learn to be quantized.")
    ] = TrainingMethod.LEARNED_STEP,
    steps: Annotated[int, typer.Option(help="Batches to train on.", min=0)] = 400,
    batch: Annotated[int, typer.Option(help="Images of a step.", min=2)] = 32,
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
    write_every: Annotated[
        float, typer.Option(help="Seconds between two states on the disk, at most.", min=0)
    ] = 30.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of images and of their order.")] = 0,
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
            patience=patience,
            seed=seed,
            device=device,
        )
        from analysis.split import ImageChoice  # noqa: PLC0415
        from analysis.training.divide import divide_training_images  # noqa: PLC0415
        from analysis.training.run_training import (  # noqa: PLC0415
            TrainingTask,
            loss_for_split,
            run_training_task,
            train_task,
        )
        from analysis.training.stored import open_stored_training  # noqa: PLC0415
        from commands.json_answers.training import summarize_training  # noqa: PLC0415
        from quant.passes.recipe import Recipe, build_recipe  # noqa: PLC0415
        from quant.progress import drain_steps  # noqa: PLC0415
        from quant.training.workers import join_workers  # noqa: PLC0415

        recipe: Recipe = build_recipe(equalize=options.equalize)
        pixels = open_preprocess(preprocess, label_column, model)
        choice = ImageChoice(data, pixels, samples, calibration, seed)
        network = open_network(model, builder, input_shape)
        if go_on is not None:
            recipe = open_stored_training(runs, go_on, network).whole_recipe
        split = divide_training_images(model, network, choice)
        checked = check_onnx_import(model, network, split.score)
        how = replace(how, loss=loss_for_split(split, loss))
        with join_workers(device) as workers:
            task = TrainingTask(network, wish, split, how, runs, recipe, write_every)
            if not workers.is_first:
                drain_steps(train_task(task))
                return
            print_line(split.counts_sentence)
            if workers.count > 1:
                print_line(f"{workers.count} processes train {batch} images each of a step")
            print_line(f"Training {task.stored_name}: the same call again goes on if it is stopped")
            outcome = watch_steps(run_training_task(task))
            found = {**summarize_training(outcome), "import_check": checked}
        write_answer(out, add_warnings(found, pixels.notes if pixels else ()))
