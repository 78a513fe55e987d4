"""Options of several commands."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.evaluation.tasks.kinds import Head, TaskKind

ModelOption = Annotated[
    str, typer.Option("--model", help="A sample's name, an .onnx, .pt2 or .safetensors file.")
]
ModelOfExperimentOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A sample's name, an .onnx, .pt2 or .safetensors file.",
        show_default="the model that the experiment's file names",
    ),
]
BuilderOption = Annotated[
    str | None,
    typer.Option(help="path.py:function that makes the network of a .safetensors file. It is run."),
]
ShapeOption = Annotated[
    str | None,
    typer.Option(
        help="Shape of one input where the file does not tell, such as 3,224,224; of several by "
        "name, such as 'image=3,224,224; ids=int:16'."
    ),
]
MachineOption = Annotated[
    str | None,
    typer.Option(help="A preset's name or a machine's TOML file.", show_default="edge_systolic_8b"),
]
SeedOption = Annotated[
    int | None, typer.Option(help="Of the choice of images or rows.", show_default="0")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="A folder of images, an .npz file with an array for each input, or a .csv table."
    ),
]
LabelOption = Annotated[
    str | None, typer.Option("--label-column", help="Of a table: the column with the classes.")
]
PreprocessOption = Annotated[
    Path | None, typer.Option(help="Preprocessing (JSON); samples bring their own.")
]
SamplesOption = Annotated[int | None, typer.Option(help="Score on so many images or rows only.")]
CalibrationOption = Annotated[int, typer.Option(help="Images or rows to choose ranges from.")]
TrainedOption = Annotated[
    str | None,
    typer.Option(help="Name of a training: its weights and encodings; its bits if none are named."),
]
TrainingsOption = Annotated[
    Path,
    typer.Option("--runs", help="Folder that keeps trainings, and blocks that were reconstructed."),
]
TaskOption = Annotated[
    TaskKind, typer.Option(help="Chooses the metric; auto decides from the targets of the data.")
]
TargetsOption = Annotated[
    Path | None,
    typer.Option(help="Of a folder of images: masks (.png), YOLO labels (.txt), or a COCO file."),
]
HeadOption = Annotated[Head, typer.Option(help="Of a detector: how its outputs hold boxes.")]
PriorsOption = Annotated[
    Path | None,
    typer.Option(help="Of an SSD head: an .npy file of prior boxes (M, 4), x, y, w, h as shares."),
]
MlflowOption = Annotated[
    str | None,
    typer.Option(
        "--mlflow", help="Log the run to this MLflow server or folder; mlflow must be installed."
    ),
]
JsonOption = Annotated[
    str, typer.Option("--json", help="File for the answer, or - for standard output.")
]
