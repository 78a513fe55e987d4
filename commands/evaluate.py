"""The commands cost and evaluate."""

from typing import Annotated

import typer

from commands.app import app
from commands.inputs import (
    MACHINE,
    check_import,
    open_machine,
    open_metric,
    open_network,
    open_preprocess,
    read_config,
    with_file_encodings,
)
from commands.options import (
    AbsorbOption,
    ActivationBitsOption,
    AdaroundOption,
    BuilderOption,
    CalibrationOption,
    ConfigOption,
    CorrectOption,
    DataOption,
    EncodingsOption,
    EqualizeOption,
    EstimatorOption,
    GranularityOption,
    IterationsOption,
    JsonOption,
    LabelOption,
    MachineOption,
    ModelOption,
    PreprocessOption,
    SamplesOption,
    ShapeOption,
    WeightBitsOption,
)
from commands.output import errors_told, watch, write_answer


@app.command()
def cost(
    *,
    model: ModelOption,
    machine: MachineOption = MACHINE,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    config: ConfigOption = None,
    weight_bits: WeightBitsOption = None,
    activation_bits: ActivationBitsOption = None,
    granularity: GranularityOption = None,
    estimator: EstimatorOption = None,
    out: JsonOption = "-",
) -> None:
    """Estimate energy, latency and memory of one image; needs no data."""
    with errors_told(out):
        wish = read_config(config, weight_bits, activation_bits, granularity, estimator)
        place = open_machine(machine)
        from analysis.cost.estimate import cost as estimate_cost  # noqa: PLC0415
        from commands.json_answers.run import summarize_cost  # noqa: PLC0415

        network = open_network(model, builder, input_shape)
        write_answer(out, summarize_cost(network, wish, estimate_cost(network, wish, place)))


@app.command()
def evaluate(
    *,
    model: ModelOption,
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
    equalize: EqualizeOption = False,
    absorb_bias: AbsorbOption = False,
    correct_bias: CorrectOption = None,
    adaround: AdaroundOption = False,
    adaround_iterations: IterationsOption = 1000,
    encodings: EncodingsOption = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="path.py:function of (outputs, targets) that gives a number for each image, or "
            "one for all. It is run."
        ),
    ] = None,
    out: JsonOption = "-",
) -> None:
    """Quantize, score beside the float network on the same images, and estimate the cost.

    With --encodings, the file's bits are the configuration unless one is named.
    """
    with errors_told(out):
        wish = read_config(config, weight_bits, activation_bits, granularity, estimator)
        named = any((config, weight_bits, activation_bits, granularity, estimator))
        place = open_machine(machine)
        from analysis.calibration import Calibrated, calibrate  # noqa: PLC0415
        from analysis.runs.apply_recipe import learns  # noqa: PLC0415
        from analysis.runs.experiment import Experiment, run_experiment  # noqa: PLC0415
        from analysis.split import ImageChoice, choose_split  # noqa: PLC0415
        from commands.json_answers.run import summarize_run  # noqa: PLC0415
        from quant.passes.recipe import build_recipe  # noqa: PLC0415

        recipe = build_recipe(
            equalize=equalize,
            absorb_bias=absorb_bias,
            correct_bias=correct_bias,
            adaround=adaround_iterations if adaround else None,
        )
        steps = open_preprocess(preprocess, label_column, model)
        choice = ImageChoice(data, steps, samples, calibration, seed)
        asked = open_metric(metric)
        network = open_network(model, builder, input_shape)
        notes: tuple[str, ...] = ()
        if encodings is not None:
            wish, recipe, notes = with_file_encodings(
                network, encodings, wish if named else None, recipe
            )
        learning = any(learns(step) for step in recipe)
        images = choose_split(model, network, wish, choice, learning=learning)
        checked = check_import(model, network, images.score)
        ranges = Calibrated(input_range=images.input_range)
        if images.calibration is not None:
            ranges = watch(calibrate(network, images.calibration, images.input_range))
        what = Experiment("command line", wish, place, seed, recipe)
        run = watch(
            run_experiment(network, images.score, ranges, what, images.calibration, metric=asked)
        )
        found = summarize_run(run, network, (*notes, *images.notes))
        write_answer(out, {**found, "import_check": checked})
        if run.evaluation.metric_problem:
            raise ValueError(run.evaluation.metric_problem)
