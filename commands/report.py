"""The command report."""

import json
from pathlib import Path
from typing import Annotated

import typer

from commands.app import app
from commands.inputs import (
    MACHINE,
    open_machine,
    open_network,
    open_preprocess,
    read_config,
    read_text,
)
from commands.options import (
    ActivationBitsOption,
    BuilderOption,
    CalibrationOption,
    ConfigOption,
    DataOption,
    EstimatorOption,
    GranularityOption,
    LabelOption,
    MachineOption,
    PreprocessOption,
    SamplesOption,
    ShapeOption,
    WeightBitsOption,
)
from commands.output import errors_told, say, watch


@app.command()
def report(
    *,
    model: Annotated[
        str | None, typer.Option(help="As elsewhere; may be left out with --run.")
    ] = None,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
    label_column: LabelOption = None,
    samples: SamplesOption = None,
    calibration: CalibrationOption = 256,
    config: ConfigOption = None,
    weight_bits: WeightBitsOption = None,
    activation_bits: ActivationBitsOption = None,
    granularity: GranularityOption = None,
    estimator: EstimatorOption = None,
    machine: MachineOption = MACHINE,
    seed: Annotated[int, typer.Option(help="Of the choice of images.")] = 0,
    name: Annotated[str, typer.Option(help="Of a run that is measured now.")] = "command line",
    run: Annotated[
        str | None, typer.Option(help="Report on this kept run: its id, its start, or a name.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of kept runs; a new one is kept there too.")
    ] = None,
    front: Annotated[
        Path | None, typer.Option(help="The answer (JSON) of optimize with --front.")
    ] = None,
    out: Annotated[str, typer.Option(help="The HTML file to write.")],
) -> None:
    """Write one HTML file for people: accuracy, cost, why, and what was not measured.

    It loads nothing from anywhere and prints to A4.
    """
    with errors_told(out, "--out"):
        wish = read_config(config, weight_bits, activation_bits, granularity, estimator)
        place, how = open_machine(machine), open_preprocess(preprocess, label_column, model or "")
        from analysis.split import ImageChoice  # noqa: PLC0415
        from commands.work.make_report import (  # noqa: PLC0415
            ReportTask,
            find_run,
            open_store,
            origin_of,
            report_on,
        )
        from figures.document import render  # noqa: PLC0415

        store = open_store(runs, run)
        task = ReportTask(
            machine=place,
            choice=ImageChoice(data, how, samples, calibration, seed),
            config=wish,
            origin=origin_of(model, machine, builder, input_shape or ""),
            name=name,
            run=None if store is None or run is None else find_run(store, run),
            store=store,
            front=None if front is None else json.loads(read_text(front)),
        )
        network = None if model is None else open_network(model, builder, input_shape)
        Path(out).write_text(render(watch(report_on(network, task))), encoding="utf-8")
        say(f"Wrote {out}")
