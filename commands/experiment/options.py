"""The options of an experiment: names, types, help texts and defaults, declared once.

A command names its options with the decorator `experiment_options`, and gets the values together
as an `ExperimentOptions`.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer

from accelerator.machine import Machine
from commands.inputs import MACHINE, open_machine, read_config_options, read_text_file
from commands.options import MachineOption, SeedOption
from quant.config import QuantConfig
from quant.errors import ConfigError
from quant.passes.methods import Method
from quant.spec import Estimator, Granularity

# Importing torch takes seconds, so the methods that need it import it themselves (PLC0415).
if TYPE_CHECKING:
    from analysis.runs.experiment_file import ExperimentRecord

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
ReconstructOption = Annotated[
    bool, typer.Option("--reconstruct", help="Learn the weights of each block together.")
]
BlockStepsOption = Annotated[int, typer.Option(help="Steps for each block.")]
OutputStepsOption = Annotated[
    int, typer.Option(help="Steps for the outputs, behind the blocks; 0 leaves scales alone.")
]
EncodingsOption = Annotated[
    str | None,
    typer.Option(help="Use the encodings of a file (AIMET JSON), or own: those of the ONNX file."),
]

Command = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentOptions:
    """The options about an experiment; None and False stand for absent options.

    `experiment` names a file with a whole experiment; beside the file, only `machine` and `seed`
    may be present. The order of the fields is the order on the command line.
    """

    experiment: ExperimentOption = None
    config: ConfigOption = None
    weight_bits: WeightBitsOption = None
    activation_bits: ActivationBitsOption = None
    granularity: GranularityOption = None
    estimator: EstimatorOption = None
    machine: MachineOption = None
    seed: SeedOption = None
    equalize: EqualizeOption = False
    smooth: SmoothOption = False
    absorb_bias: AbsorbOption = False
    correct_bias: CorrectOption = None
    adaround: AdaroundOption = False
    adaround_iterations: IterationsOption = 1000
    reconstruct: ReconstructOption = False
    reconstruct_steps: BlockStepsOption = 300
    output_steps: OutputStepsOption = 60
    encodings: EncodingsOption = None

    @property
    def names_config(self) -> bool:
        """Whether bits, or a file with bits, are named."""
        own = (self.weight_bits, self.activation_bits, self.granularity, self.estimator)
        return any(value is not None for value in (self.experiment, self.config, *own))

    @property
    def names_recipe(self) -> bool:
        """Whether passes or encodings are named."""
        learned = self.adaround, self.reconstruct
        passes = (self.equalize, self.absorb_bias, self.correct_bias, self.smooth, *learned)
        return any(passes) or self.encodings is not None

    def read_config(self) -> QuantConfig:
        """Return the configuration in the file, or the configuration of the four options."""
        return read_config_options(
            self.config,
            self.weight_bits,
            self.activation_bits,
            self.granularity,
            self.estimator,
        )

    def read(self) -> "ExperimentRecord":
        """Return the experiment of the options; encodings of a file stay a reference.

        Raises:
            ValueError: a file cannot be read, options contradict each other, or bits are out of
                range.
        """
        machine = open_machine(self.machine or MACHINE)
        if self.experiment is None:
            return self._record_from_options(self.read_config(), machine)
        if self.names_recipe or replace(self, experiment=None).names_config:
            raise ConfigError(
                "An experiment file must come alone; got configuration or repairs beside it. "
                "Leave them out, or write them into the file."
            )
        from analysis.runs.experiment_file import read_experiment_json  # noqa: PLC0415

        record = read_experiment_json(read_text_file(self.experiment), machine)
        tried = record.experiment
        if self.machine is not None:
            tried = replace(tried, machine=machine)
        if self.seed is not None:
            tried = replace(tried, seed=self.seed)
        return replace(record, experiment=tried)

    def _record_from_options(self, config: QuantConfig, machine: Machine) -> "ExperimentRecord":
        from analysis.runs.experiment import Experiment, smooth_for  # noqa: PLC0415
        from analysis.runs.experiment_file import ExperimentRecord  # noqa: PLC0415
        from quant.passes.recipe import build_recipe  # noqa: PLC0415
        from quant.passes.reconstruct.reconstruct import Reconstruct  # noqa: PLC0415

        try:
            blocks = Reconstruct(self.reconstruct_steps, self.output_steps)
        except ValueError:
            raise ConfigError(
                "--reconstruct-steps must be at least 1 and --output-steps at least 0; got "
                f"{self.reconstruct_steps} and {self.output_steps}."
            ) from None
        recipe = build_recipe(
            equalize=self.equalize,
            absorb_bias=self.absorb_bias,
            correct_bias=self.correct_bias,
            adaround=self.adaround_iterations if self.adaround else None,
            smooth=smooth_for(config) if self.smooth else None,
            reconstruct=blocks if self.reconstruct else None,
        )
        return ExperimentRecord(Experiment(config, machine, recipe, seed=self.seed or 0))


EXPERIMENT = tuple(field.name for field in fields(ExperimentOptions))
"""The names of all options of an experiment, in the order on the command line."""
CONFIG = ("config", "weight_bits", "activation_bits", "granularity", "estimator")
REPAIRS = (
    "absorb_bias",
    "correct_bias",
    "adaround",
    "adaround_iterations",
    "reconstruct",
    "reconstruct_steps",
    "output_steps",
)


def experiment_options(**behind: Sequence[str]) -> Callable[[Command], Command]:
    """Return a decorator that adds options of an experiment to a command.

    A keyword names a parameter of the command; the value lists the fields of `ExperimentOptions`
    that follow the parameter on the command line. The command gets the values of the options as
    its parameter `options`.

    Raises:
        ValueError: a keyword names no parameter of the command.
    """
    hints = get_type_hints(ExperimentOptions, include_extras=True)
    defaults = {field.name: field.default for field in fields(ExperimentOptions)}
    names = [name for group in behind.values() for name in group]
    build: Callable[..., ExperimentOptions] = ExperimentOptions

    def add_options(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        if unknown := set(behind) - set(signature.parameters):
            raise ValueError(f"A keyword must name a parameter; got {', '.join(sorted(unknown))}.")
        parameters: list[inspect.Parameter] = []
        for own in signature.parameters.values():
            if own.name != "options":
                parameters.append(own)
            parameters += [
                inspect.Parameter(name, own.kind, default=defaults[name], annotation=hints[name])
                for name in behind.get(own.name, ())
            ]

        @wraps(command)
        def call_with_options(**values: object) -> None:
            options = build(**{name: values.pop(name) for name in names})
            command(options=options, **values)

        # Typer reads the options from the signature and the annotations.
        call_with_options.__dict__["__signature__"] = signature.replace(parameters=parameters)
        call_with_options.__annotations__ = {one.name: one.annotation for one in parameters}
        return call_with_options

    return add_options
