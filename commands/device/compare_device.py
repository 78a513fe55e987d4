"""The command compare-device: tensors that a device recorded, beside the simulation."""

from pathlib import Path
from typing import Annotated

import typer

from commands.app import app
from commands.experiment.model_source import model_of_experiment
from commands.experiment.options import ExperimentOptions
from commands.inputs import open_network, open_preprocess
from commands.options import (
    BuilderOption,
    CalibrationOption,
    DataOption,
    JsonOption,
    LabelOption,
    ModelOfExperimentOption,
    PreprocessOption,
    SeedOption,
    ShapeOption,
)
from commands.output import add_warnings, errors_as_sentences, print_line, watch_steps, write_answer


@app.command("compare-device")
def compare_device(
    *,
    model: ModelOfExperimentOption = None,
    experiment: Annotated[Path, typer.Option(help="The experiment (JSON) that the device runs.")],
    dump: Annotated[
        Path, typer.Option(help="An .npz or .npy file, or a folder of .npy, .raw or .bin files.")
    ],
    names: Annotated[
        Path | None,
        typer.Option(help='JSON that maps names of the dump to layers, {"tensor": "layer"}.'),
    ] = None,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
    label_column: LabelOption = None,
    images: Annotated[
        int | None,
        typer.Option(
            help="So many images or rows from the start of --data were recorded.",
            show_default="as many as the dump's input has",
            min=1,
        ),
    ] = None,
    calibration: CalibrationOption = 256,
    seed: SeedOption = None,
    out: JsonOption = "-",
) -> None:
    """Find the first layer in which a device differs from the simulation, and the probable reason.

    Each layer is judged on the inputs that the device recorded. Without --images the dump must
    hold the network's input. Exit code 1: a layer differs.
    """
    with errors_as_sentences(out):
        options = ExperimentOptions(experiment=experiment, seed=seed)
        record = options.read()
        model = model_of_experiment(model, experiment)
        from analysis.split import ImageChoice  # noqa: PLC0415
        from commands.device.dump_work import (  # noqa: PLC0415
            DumpTask,
            compare_device_dump,
            summarize_comparison,
        )

        how = open_preprocess(preprocess, label_column, model)
        choice = ImageChoice(data, how, None, calibration, record.experiment.seed)
        network = open_network(model, builder, input_shape)
        task = DumpTask(model, network, options, choice, dump, names, images)
        found, notes = watch_steps(compare_device_dump(task))
        write_answer(
            out, add_warnings(summarize_comparison(found, notes), how.notes if how else ())
        )
        print_line(found.sentence)
    if found.first is not None:
        raise typer.Exit(1)
