"""QuantScope without a browser: the same questions, answers as JSON, errors with exit code 2."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from accelerator.machine import Machine, load_machine, load_preset, presets
from analysis.cost.quantity import Quantity
from quant.config import (
    ACTIVATION_DEFAULT,
    WEIGHT_DEFAULT,
    LayerConfig,
    QuantConfig,
    config_from_json,
)
from quant.errors import ConfigError
from quant.passes.methods import Method
from quant.progress import Steps
from quant.spec import Estimator, Granularity

# Importing torch takes seconds, so the commands that need it import it themselves (PLC0415).
if TYPE_CHECKING:
    from analysis.network import Network
    from data_io.dataset import Dataset
    from data_io.preprocessing import Preprocess
    from model_io.builder.user_metric import FileMetric
    from quant.file_encodings import Given
    from quant.passes.recipe import Recipe

T = TypeVar("T")

MACHINE = "edge_systolic_8b"
OWN = "own"
FOR_ACTIVATIONS = (Estimator.CROSS_ENTROPY, Estimator.BATCH_NORM)
REPORT_EVERY_S = 2.0

app = typer.Typer(
    help="Where does quantization hurt a network, and what does each choice cost?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

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
MachineOption = Annotated[str, typer.Option(help="A preset's name or a machine's TOML file.")]
ConfigOption = Annotated[
    Path | None, typer.Option(help="A configuration (JSON) instead of the four options below.")
]
WeightBitsOption = Annotated[
    int | None, typer.Option(help="2 to 16, or 32 for float.", show_default="8")
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
    typer.Option(help="A folder of images, or an .npz file with an array for each input."),
]
PreprocessOption = Annotated[
    Path | None, typer.Option(help="Preprocessing (JSON); samples bring their own.")
]
SamplesOption = Annotated[int | None, typer.Option(help="Score on so many images only.")]
CalibrationOption = Annotated[int, typer.Option(help="Images to choose ranges from.")]
EqualizeOption = Annotated[
    bool, typer.Option("--equalize", help="Cross-layer equalization, exact caps.")
]
AbsorbOption = Annotated[bool, typer.Option("--absorb-bias", help="Absorb high biases, data-free.")]
CorrectOption = Annotated[Method | None, typer.Option(help="Correct biases.")]
AdaroundOption = Annotated[bool, typer.Option("--adaround", help="Learn the rounding.")]
IterationsOption = Annotated[int, typer.Option(help="Steps for each layer.")]
EncodingsOption = Annotated[
    str | None,
    typer.Option(help="Use the grids of a file (AIMET JSON), or own: those of the ONNX file."),
]
JsonOption = Annotated[
    str, typer.Option("--json", help="File for the answer, or - for standard output.")
]


@app.command()
def models(out: JsonOption = "-") -> None:
    """List the networks that come with the project."""
    with _told(out):
        from commands.json_run import summarize_samples  # noqa: PLC0415

        _write(out, summarize_samples())


@app.command()
def machines(out: JsonOption = "-") -> None:
    """List the machines whose cost can be estimated."""
    wanted = ("name", "title", "illustrative", "technology_nm", "clock_hz")
    with _told(out):
        found = [load_preset(name) for name in presets()]
        _write(out, [{key: getattr(machine, key) for key in wanted} for machine in found])


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
    with _told(out):
        wish = _config(config, weight_bits, activation_bits, granularity, estimator)
        place = _machine(machine)
        from analysis import experiment, summary  # noqa: PLC0415

        network = _network(model, builder, input_shape)
        _write(out, summary.summarize_cost(network, wish, experiment.cost(network, wish, place)))


@app.command()
def evaluate(
    *,
    model: ModelOption,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
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
    with _told(out):
        wish = _config(config, weight_bits, activation_bits, granularity, estimator)
        named = any((config, weight_bits, activation_bits, granularity, estimator))
        place = _machine(machine)
        from analysis import experiment, split, summary  # noqa: PLC0415
        from analysis.calibration import Calibrated, calibrate  # noqa: PLC0415
        from analysis.runs.apply_recipe import learns  # noqa: PLC0415
        from quant.passes.recipe import build_recipe  # noqa: PLC0415

        recipe = build_recipe(
            equalize=equalize,
            absorb_bias=absorb_bias,
            correct_bias=correct_bias,
            adaround=adaround_iterations if adaround else None,
        )
        choice = split.ImageChoice(data, _preprocess(preprocess), samples, calibration, seed)
        asked = _metric(metric)
        network = _network(model, builder, input_shape)
        notes: tuple[str, ...] = ()
        if encodings is not None:
            wish, recipe, notes = _with_grids(network, encodings, wish if named else None, recipe)
        learning = any(learns(step) for step in recipe)
        images = split.choose_split(model, network, wish, choice, learning=learning)
        checked = _check_import(model, network, images.score)
        ranges = Calibrated(input_range=images.input_range)
        if images.calibration is not None:
            ranges = _watch(calibrate(network, images.calibration, images.input_range))
        what = experiment.Experiment("command line", wish, place, seed, recipe)
        run = _watch(
            experiment.run_experiment(
                network, images.score, ranges, what, images.calibration, metric=asked
            )
        )
        found = summary.summarize_run(run, network, (*notes, *images.notes))
        _write(out, {**found, "import_check": checked})
        if run.evaluation.metric_problem:
            raise ValueError(run.evaluation.metric_problem)


@app.command()
def optimize(
    *,
    model: ModelOption,
    machine: MachineOption = MACHINE,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
    samples: SamplesOption = None,
    calibration: CalibrationOption = 256,
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
        float | None, typer.Option(help="Most top-1 to lose, predicted, as a share.", min=0, max=1)
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
    config: ConfigOption = None,
    granularity: GranularityOption = None,
    estimator: EstimatorOption = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of runs that correct predictions; keeps new ones.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of images.")] = 0,
    out: JsonOption = "-",
) -> None:
    """Choose bits layer by layer: the most accurate within budgets, or the cheapest.

    The images that choose ranges also tell how sensitive layers are; others measure the choice.
    """
    with _told(out):
        wish = _config(config, None, None, granularity, estimator)
        place = _machine(machine)
        from analysis import bit_words, split  # noqa: PLC0415
        from analysis.calibration import calibrate  # noqa: PLC0415
        from analysis.mixed_precision.optimize import Task  # noqa: PLC0415
        from analysis.mixed_precision.optimize import optimize as find  # noqa: PLC0415
        from analysis.runs.run_store import RunStore  # noqa: PLC0415
        from commands.json_optimize import summarize_answer  # noqa: PLC0415

        relative = relative_to is not None
        task = Task(
            machine=place,
            config=wish,
            rules=bit_words.read_rules(bits, pin or (), edge_bits, allow),
            budgets=tuple(bit_words.read_budget(text, relative=relative) for text in budget or ()),
            reference=_reference(relative_to, wish),
            least=least,
            most_loss=loss,
            front=front,
            measured=measure,
            seed=seed,
        )
        choice = split.ImageChoice(data, _preprocess(preprocess), samples, calibration, seed)
        network = _network(model, builder, input_shape)
        images = split.choose_split(model, network, wish, choice, learning=True)
        learned = images.calibration or images.score
        ranges = _watch(calibrate(network, learned, images.input_range))
        store = RunStore(runs) if runs else None
        answer = _watch(find(network, learned, images.score, ranges, task, store))
        _write(out, summarize_answer(answer, network))


@app.command()
def sensitivity(
    *,
    model: ModelOption,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
    samples: Annotated[int, typer.Option(help="Images that answer.")] = 128,
    calibration: CalibrationOption = 256,
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
        typer.Option(help="No forward, one over the images, or one for each answer."),
    ] = "exact",
    config: ConfigOption = None,
    granularity: GranularityOption = None,
    estimator: EstimatorOption = None,
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
    seed: Annotated[int, typer.Option(help="Of the choice of images.")] = 0,
    out: JsonOption = "-",
) -> None:
    """Tell what each layer costs when it alone is quantized, or when it alone is not.

    With --runs, stop it and start it again: it goes on where it was.
    """
    with _told(out):
        wish = _config(config, None, None, granularity, estimator)
        widths = _widths(bits)
        from analysis import asked_sensitivity as asked  # noqa: PLC0415
        from analysis.split import ImageChoice  # noqa: PLC0415

        sweep = asked.build_sweep(wish, widths, role, view, memory, stop_early=stop_early)
        choice = ImageChoice(data, _preprocess(preprocess), samples, calibration, seed)
        network = _network(model, builder, input_shape)
        _write(out, _watch(asked.answer(model, network, choice, sweep, depth, runs, scheduler)))


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
    with _told(out, "--out"):
        wish = _config(config, weight_bits, activation_bits, granularity, estimator)
        place, how = _machine(machine), _preprocess(preprocess)
        from analysis.reporting import road  # noqa: PLC0415
        from analysis.split import ImageChoice  # noqa: PLC0415
        from figures.document import render  # noqa: PLC0415

        store = road.open_store(runs, run)
        task = road.ReportTask(
            machine=place,
            choice=ImageChoice(data, how, samples, calibration, seed),
            config=wish,
            origin=road.origin_of(model, machine, builder, input_shape or ""),
            name=name,
            run=None if store is None or run is None else road.find_run(store, run),
            store=store,
            front=None if front is None else json.loads(_read(front)),
        )
        network = None if model is None else _network(model, builder, input_shape)
        Path(out).write_text(render(_watch(road.report_on(network, task))), encoding="utf-8")
        _say(f"Wrote {out}")


@app.command()
def export(
    *,
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
        bool, typer.Option("--check", help="Run it on all images beside the simulation; time it.")
    ] = False,
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    data: DataOption = None,
    preprocess: PreprocessOption = None,
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
    answer: JsonOption = "-",
) -> None:
    """Write the quantized network for the next tool; say what was checked of the file.

    With --encodings, the file's bits are the configuration unless one is named.
    """
    with _told(answer):
        wish = _config(config, weight_bits, activation_bits, granularity, estimator)
        named = any((config, weight_bits, activation_bits, granularity, estimator))
        place, how = _machine(machine), _preprocess(preprocess)
        import commands.export  # noqa: PLC0415
        from analysis.split import ImageChoice  # noqa: PLC0415
        from quant.passes.recipe import build_recipe  # noqa: PLC0415

        kind = commands.export.chosen_format(format_, out, weights, check=check)
        recipe = build_recipe(
            equalize=equalize,
            absorb_bias=absorb_bias,
            correct_bias=correct_bias,
            adaround=adaround_iterations if adaround else None,
        )
        choice = ImageChoice(data, how, samples, calibration, seed)
        network = _network(model, builder, input_shape)
        notes: tuple[str, ...] = ()
        if encodings is not None:
            wish, recipe, notes = _with_grids(network, encodings, wish if named else None, recipe)
        images = commands.export.choose_images(model, network, wish, recipe, choice, check=check)
        asked = commands.export.ExportWish(
            network, wish, recipe, place, images, kind, out, model, check=check, notes=notes
        )
        _write(answer, _watch(commands.export.export(asked)))


@app.command()
def convert(
    *,
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="The .pt2 file to write.")],
    builder: BuilderOption = None,
    input_shape: ShapeOption = None,
    answer: JsonOption = "-",
) -> None:
    """Import a network once and keep it as a .pt2 file with the same names of layers."""
    with _told(answer):
        _check_place(str(out), "--out")
        from model_io.input_specs import read_wish  # noqa: PLC0415
        from model_io.load import load_model  # noqa: PLC0415
        from model_io.pt2.convert import convert as keep  # noqa: PLC0415

        _say(f"Loading {model}")
        loaded = load_model(model, builder, read_wish(input_shape or ""))
        if not loaded.takes:
            raise ValueError(
                f"The shape of an input must be known; {model} does not tell it. Name it with "
                "--input-shape, such as 3,224,224."
            )
        _write(answer, asdict(keep(loaded, out)))


@contextmanager
def _told(out: str, option: str = "--json") -> Iterator[None]:
    """Turn what a user can put right into one sentence on standard error and exit code 2."""
    try:
        _check_place(out, option)
        yield
    except (ValueError, OSError, RecursionError) as error:
        typer.echo(f"Error: {_sentence(error)}", err=True)
        raise typer.Exit(2) from None


def _check_place(out: str, option: str) -> None:
    """Find out before the work whether its answer can be written."""
    if out != "-" and (Path(out).is_dir() or not Path(out).parent.is_dir()):
        raise ValueError(f"{option} must name a file in a folder that exists; got {out}.")


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename} cannot be opened: {error.strerror}. Check the path."
    if isinstance(error, RecursionError):
        return "A file is nested too deeply. Check what you named."
    return " ".join(str(error).split())


def _config(
    file: Path | None,
    weight_bits: int | None,
    activation_bits: int | None,
    granularity: Granularity | None,
    estimator: Estimator | None,
) -> QuantConfig:
    """Return the configuration in `file`, or the one that the other options describe."""
    if file is not None:
        if any(v is not None for v in (weight_bits, activation_bits, granularity, estimator)):
            raise ConfigError(
                "A configuration file must come alone; got bits, granularity or estimator beside "
                "it. Leave them out, or write them into the file."
            )
        return config_from_json(_read(file))
    weight = replace(
        WEIGHT_DEFAULT,
        bits=WEIGHT_DEFAULT.bits if weight_bits is None else weight_bits,
        granularity=granularity or WEIGHT_DEFAULT.granularity,
        estimator=WEIGHT_DEFAULT.estimator if estimator in (None, *FOR_ACTIVATIONS) else estimator,
    )
    activation = replace(
        ACTIVATION_DEFAULT,
        bits=ACTIVATION_DEFAULT.bits if activation_bits is None else activation_bits,
        estimator=estimator or ACTIVATION_DEFAULT.estimator,
    )
    return QuantConfig(LayerConfig(weight, activation))


def _reference(text: str | None, wish: QuantConfig) -> QuantConfig | None:
    """Return the configuration that a text such as w8a8 means for `wish`, or that in a file."""
    from commands.bit_options import read_uniform  # noqa: PLC0415

    if text is None:
        return None
    widths = read_uniform(text)
    if widths is None:
        return config_from_json(_read(Path(text)))
    default = wish.default
    return QuantConfig(
        LayerConfig(
            replace(default.weight, bits=widths[0]), replace(default.activation, bits=widths[1])
        )
    )


def _widths(text: str) -> tuple[int, ...]:
    """Return the widths in a text such as 8,4."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(f"--bits must be widths such as 8,4; got {text!r}.")
    return tuple(dict.fromkeys(map(int, parts)))


def _machine(name: str) -> Machine:
    """Return a preset, or the machine in a TOML file."""
    if name in presets() or not name.endswith(".toml"):
        return load_preset(name)
    return load_machine(name)


def _network(model: str, builder: str | None, input_shape: str | None) -> "Network":
    """Load and prepare a network with the number of threads that is fastest here."""
    from analysis.network import prepare  # noqa: PLC0415
    from analysis.process_settings import choose_threads  # noqa: PLC0415
    from model_io.encodings.apply_to_network import knowledge_of  # noqa: PLC0415
    from model_io.input_specs import read_wish  # noqa: PLC0415
    from model_io.load import load_model  # noqa: PLC0415

    choose_threads()
    _say(f"Loading {model}")
    loaded = load_model(model, builder, read_wish(input_shape or ""))
    if not loaded.takes:
        raise ValueError(
            f"The shape of an input must be known; {model} does not tell it. Name it with "
            "--input-shape, such as 3,224,224."
        )
    for note in loaded.notes:
        _say(note)
    network = prepare(loaded.name, loaded.module, loaded.takes, loaded.digest, loaded.batch)
    targets, given = knowledge_of(loaded, network.graph)
    return replace(network, targets=targets, given=given)


def _with_grids(
    network: "Network", encodings: str, config: QuantConfig | None, recipe: "Recipe"
) -> tuple[QuantConfig, "Recipe", tuple[str, ...]]:
    """Return a configuration and a recipe that use a file's grids, and what is to be said."""
    from quant.passes.recipe import check_order  # noqa: PLC0415
    from quant.passes.use_grids import UseGrids  # noqa: PLC0415

    given = _given(network, encodings)
    longer = (UseGrids(given.grids, given.source), *recipe)
    check_order(longer)
    return config or given.config, longer, tuple(given.sentences())


def _given(network: "Network", encodings: str) -> "Given":
    """Return the grids in a file of encodings, or those that the model's own file has."""
    from model_io.encodings.apply_to_network import read_given  # noqa: PLC0415

    if encodings != OWN:
        return read_given(_read(Path(encodings)), network, Path(encodings).name)
    if network.given is None:
        raise ValueError(
            f"--encodings {OWN} takes an ONNX file with quantizers; {network.name} has none. Name "
            "a file of encodings."
        )
    return network.given


def _metric(text: str | None) -> "FileMetric | None":
    """Return the user's metric; it is loaded before any work."""
    from model_io.builder.user_metric import load_metric  # noqa: PLC0415

    return None if text is None else load_metric(text)


def _check_import(model: str, network: "Network", data: "Dataset") -> dict[str, float] | None:
    """Run an ONNX file beside ONNX Runtime on the user's own data; None for other models."""
    from model_io.input_specs import InputSpec  # noqa: PLC0415
    from model_io.onnx_import.load_onnx import CHECKED_INPUTS, check_onnx  # noqa: PLC0415
    from quant.inputs import parts_of  # noqa: PLC0415

    if not model.lower().endswith(".onnx"):
        return None
    takes = tuple(InputSpec(one.name, one.shape, one.kind) for one in network.graph.inputs)
    (batch,) = data.first(CHECKED_INPUTS).batches(CHECKED_INPUTS)
    found = check_onnx(Path(model), takes, inputs=parts_of(batch.inputs))
    _say(f"Beside ONNX Runtime on {found.inputs} real inputs: {found.difference:.1e} apart")
    return {"inputs": found.inputs, "largest_relative_difference": found.difference}


def _preprocess(path: Path | None) -> "Preprocess | None":
    from data_io.preprocessing import Preprocess  # noqa: PLC0415

    return None if path is None else Preprocess.from_json(_read(path))


def _read(path: Path) -> str:
    """Return the text of a file that the user named."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a text file; it is not. Check the name.") from None


def _watch(steps: Steps[T]) -> T:
    """Run long work to its end; tell on standard error how far it is, every few seconds."""
    told = -REPORT_EVERY_S
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if time.monotonic() - told >= REPORT_EVERY_S:
            told = time.monotonic()
            _say(progress.text)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _write(out: str, answer: object) -> None:
    """Write JSON to a file, or to standard output for "-"."""
    text = json.dumps(answer, indent=2, allow_nan=False)
    if out == "-":
        typer.echo(text)
    else:
        Path(out).write_text(text + "\n", encoding="utf-8")
        _say(f"Wrote {out}")


if __name__ == "__main__":
    app()
