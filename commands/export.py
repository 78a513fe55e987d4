"""The commands export and convert."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from commands.app import app
from commands.experiment.complete import complete_experiment, with_stored_training
from commands.experiment.options import EXPERIMENT, ExperimentOptions, experiment_options
from commands.inputs import open_network, open_preprocess
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
    TrainedOption,
    TrainingsOption,
)
from commands.output import (
    add_warnings,
    check_answer_place,
    errors_as_sentences,
    print_line,
    watch_steps,
    write_answer,
)


@app.command("export")
@experiment_options(calibration=EXPERIMENT)
def export_network(
    *,
    options: ExperimentOptions,
    model: ModelOption,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="onnx-qdq, aimet-2.0.0, aimet-1.0.0, pt2, config, model-explorer or netron.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file to write; others come beside it.")],
    weights: Annotated[
        Literal["integer", "float"],
        typer.Option(help="Of onnx-qdq: whole numbers, or float ones between Q and DQ."),
    ] = "integer",
    check: Annotated[
        bool, typer.Option("--check", help="Run it on all data beside the simulation; time it.")
    ] = False,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
    label_column: LabelOption = None,
    samples: SamplesOption = None,
    calibration: CalibrationOption = 256,
    trained: TrainedOption = None,
    runs: TrainingsOption = Path("runs"),
    answer: JsonOption = "-",
) -> None:
    """Write the quantized network for the next tool; say what was checked of the file.

    With --encodings, the file's bits are the configuration unless one is named; so are a
    training's with --trained.
    """
    with errors_as_sentences(answer):
        record = options.read()
        from analysis.runs.reconstruction_state import store_for_states  # noqa: PLC0415
        from analysis.split import ImageChoice  # noqa: PLC0415
        from analysis.study import Study  # noqa: PLC0415
        from commands.work import write_export  # noqa: PLC0415

        kind = write_export.choose_format(format_, out, weights, check=check)
        how = open_preprocess(preprocess, label_column, model)
        choice = ImageChoice(data, how, samples, calibration, record.experiment.seed)
        network = open_network(model, builder, input_shape)
        tried, notes = complete_experiment(network, record, options)
        tried, choice = with_stored_training(
            network, (runs, trained), tried, choice, named=options.names_config
        )
        images = write_export.choose_export_images(model, network, tried, choice, check=check)
        notes = (*notes, *(images.notes if images is not None else ()))
        study = Study.of_split(network, images, store_for_states(tried, runs))
        asked = write_export.ExportWish(
            study, tried, kind, out, model, check=check, notes=notes, runs=runs
        )
        found, warnings = watch_steps(write_export.write_export(asked))
        told = (*(how.notes if how else ()), *warnings)
        write_answer(answer, add_warnings(found, told))


@app.command("convert")
def convert_model(
    *,
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="The .pt2 file to write.")],
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    answer: JsonOption = "-",
) -> None:
    """Import a network once and keep it as a .pt2 file with the same names of layers."""
    with errors_as_sentences(answer):
        check_answer_place(str(out), "--out")
        from model_io.convert import convert_to_pt2  # noqa: PLC0415
        from model_io.input_specs import read_input_specs  # noqa: PLC0415
        from model_io.load import load_model  # noqa: PLC0415

        print_line(f"Loading {model}")
        loaded = load_model(model, builder, read_input_specs(input_shape or ""))
        if not loaded.expected_inputs:
            raise ValueError(
                f"The shape of an input must be known; {model} does not tell it. Name it with "
                "--input-shape, such as 3,224,224."
            )
        write_answer(answer, asdict(convert_to_pt2(loaded, out)))
