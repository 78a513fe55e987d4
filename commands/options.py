"""Options of several commands."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.evaluation.tasks.kinds import Head, TaskKind
from quant.passes.methods import Method
from quant.spec import Estimator, Granularity

ModelOption = Annotated[
    str, typer.Option("--model", help="A sample's name, an .onnx, .pt2 or .safetensors file.")
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
SeedOption = Annotated[int | None, typer.Option(help="Of the choice of images.", show_default="0")]
ConfigOption = Annotated[
    Path | None, typer.Option(help="A configuration (JSON) instead of the four options below.")
]
ExperimentOption = Annotated[
    Path | None,
    typer.Option(
        help="An experiment (JSON) from Configure or evaluate: configuration, repairs, machine."
    ),
]
WeightBitsOption = Annotated[
    int | None, typer.Option(help="1 to 16, or 32 for float.", show_default="8")
]
ActivationBitsOption = Annotated[
    int | None, typer.Option(help="2 to 16, or 32 for float.", show_default="8")
]
GranularityOption = Annotated[
    Granularity | None, typer.Option(help="Of weights.", show_default="per-channel")
]
EstimatorOption = Annotated[
    Estimator | None, typer.Option(help="How ranges are chosen.", show_default="mse")
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
SamplesOption = Annotated[int | None, typer.Option(help="Score on so many images only.")]
CalibrationOption = Annotated[int, typer.Option(help="Images to choose ranges from.")]
EqualizeOption = Annotated[
    bool, typer.Option("--equalize", help="Cross-layer equalization, exact caps.")
]
SmoothOption = Annotated[
    bool, typer.Option("--smooth", help="Move outliers of a transformer's activations to weights.")
]
AbsorbOption = Annotated[bool, typer.Option("--absorb-bias", help="Absorb high biases, data-free.")]
CorrectOption = Annotated[Method | None, typer.Option(help="Correct biases.")]
AdaroundOption = Annotated[bool, typer.Option("--adaround", help="Learn the rounding.")]
IterationsOption = Annotated[int, typer.Option(help="Steps for each layer.")]
EncodingsOption = Annotated[
    str | None,
    typer.Option(help="Use the grids of a file (AIMET JSON), or own: those of the ONNX file."),
]
TrainedOption = Annotated[
    str | None,
    typer.Option(help="Name of a training: its weights and grids; its bits if none are named."),
]
TrainingsOption = Annotated[Path, typer.Option("--runs", help="Folder that keeps trainings.")]
TaskOption = Annotated[
    TaskKind, typer.Option(help="Chooses the metric; auto decides from the targets of the data.")
]
MasksOption = Annotated[
    Path | None,
    typer.Option(help="Of segmentation: a folder with a .png for each image, a class a pixel."),
]
HeadOption = Annotated[Head, typer.Option(help="Of a detector: how its outputs hold boxes.")]
JsonOption = Annotated[
    str, typer.Option("--json", help="File for the answer, or - for standard output.")
]
