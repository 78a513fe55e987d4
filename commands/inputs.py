"""The inputs of a command: configuration, machine, network, data."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accelerator.machine import Machine, load_machine, load_preset, machine_at_point, preset_names
from commands.output import print_line
from quant.config import (
    ACTIVATION_DEFAULT,
    WEIGHT_DEFAULT,
    LayerConfig,
    QuantConfig,
    config_from_json,
)
from quant.errors import ConfigError
from quant.spec import Estimator, Granularity

# Importing torch takes seconds, so the commands that need it import it themselves (PLC0415).
if TYPE_CHECKING:
    from analysis.network import Network
    from data_io.dataset import Dataset
    from data_io.preprocessing import Preprocess
    from model_io.builder.user_metric import FileMetric


MACHINE = "edge_systolic_8b"
FOR_ACTIVATIONS = (Estimator.CROSS_ENTROPY, Estimator.BATCH_NORM)


def read_config_options(
    file: Path | None,
    weight_bits: int | None,
    activation_bits: int | None,
    granularity: Granularity | None,
    estimator: Estimator | None,
) -> QuantConfig:
    """Return the configuration in `file`, or the configuration of the four options."""
    if file is not None:
        if any(v is not None for v in (weight_bits, activation_bits, granularity, estimator)):
            raise ConfigError(
                "A configuration file must come alone; got bits, granularity or estimator beside "
                "it. Leave them out, or write them into the file."
            )
        return config_from_json(read_text_file(file))
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


def read_reference_config(text: str | None, wish: QuantConfig) -> QuantConfig | None:
    """Return `wish` with the bits in a text such as w8a8, or the configuration in a file."""
    from commands.bit_options import read_uniform_bits  # noqa: PLC0415

    if text is None:
        return None
    widths = read_uniform_bits(text)
    if widths is None:
        return config_from_json(read_text_file(Path(text)))
    default = wish.default
    return QuantConfig(
        LayerConfig(
            replace(default.weight, bits=widths[0]), replace(default.activation, bits=widths[1])
        )
    )


def read_widths(text: str) -> tuple[int, ...]:
    """Return the widths in a text such as 8,4, in the order of the text."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(f"--bits must be widths such as 8,4; got {text!r}.")
    return tuple(dict.fromkeys(map(int, parts)))


def open_machine(name: str) -> Machine:
    """Return a preset or the machine in a TOML file, at the operating point named after @."""
    base, _, point = name.partition("@")
    if name in preset_names() or not base.endswith(".toml"):
        return load_preset(name)
    return machine_at_point(load_machine(base), point) if point else load_machine(base)


def open_network(model: str, builder: str | None, input_shape: str | None) -> "Network":
    """Load and prepare a network, with the fastest number of threads for the computer."""
    from analysis.network import prepare_network  # noqa: PLC0415
    from analysis.process_settings import choose_thread_count  # noqa: PLC0415
    from model_io.encodings.apply_to_network import file_knowledge  # noqa: PLC0415
    from model_io.input_specs import read_input_specs  # noqa: PLC0415
    from model_io.load import load_model  # noqa: PLC0415

    choose_thread_count()
    print_line(f"Loading {model}")
    loaded = load_model(model, builder, read_input_specs(input_shape or ""))
    if not loaded.expected_inputs:
        raise ValueError(
            f"The shape of an input must be known; {model} does not tell it. Name it with "
            "--input-shape, such as 3,224,224."
        )
    network = prepare_network(
        loaded.name,
        loaded.program or loaded.module,
        loaded.expected_inputs,
        loaded.digest,
        loaded.batch,
        loaded.import_notes,
    )
    for note in network.notes:
        print_line(note)
    targets, given = file_knowledge(loaded, network.graph)
    return replace(network, targets=targets, given=given, takes_pixels=loaded.takes_pixels)


def open_user_metric(text: str | None) -> "FileMetric | None":
    """Return the user's metric, loaded before the work; None without a metric."""
    from model_io.builder.user_metric import load_file_metric  # noqa: PLC0415

    return None if text is None else load_file_metric(text)


def check_onnx_import(model: str, network: "Network", data: "Dataset") -> dict[str, float] | None:
    """Run an ONNX file beside ONNX Runtime on the user's data; None for other models."""
    from model_io.input_specs import InputSpec  # noqa: PLC0415
    from model_io.onnx_import.load_onnx import CHECKED_INPUTS, check_onnx_agreement  # noqa: PLC0415
    from quant.inputs import tensors_of_batch  # noqa: PLC0415

    if not model.lower().endswith(".onnx"):
        return None
    takes = tuple(InputSpec(one.name, one.shape, one.kind) for one in network.graph.inputs)
    (batch,) = data.first(CHECKED_INPUTS).batches(CHECKED_INPUTS)
    found = check_onnx_agreement(Path(model), takes, inputs=tensors_of_batch(batch.inputs))
    print_line(f"Beside ONNX Runtime on {found.inputs} real inputs: {found.difference:.1e} apart")
    return {"inputs": found.inputs, "largest_relative_difference": found.difference}


def open_preprocess(
    path: Path | None, label: str | None = None, model: str = ""
) -> "Preprocess | None":
    """Return the preprocessing in a JSON file; None without a file and a label.

    `label` is the column of a table with the classes. Without a file, the other steps are the steps
    of the sample `model`.
    """
    from data_io.preprocessing import Preprocess  # noqa: PLC0415
    from data_io.table_columns import TableColumns  # noqa: PLC0415
    from sample_models.registry import SAMPLES  # noqa: PLC0415

    found = None if path is None else Preprocess.from_json(read_text_file(path))
    if label is None:
        return found
    own = SAMPLES.get(model)
    steps = found or (own.preprocess if own else Preprocess())
    return replace(steps, table=replace(steps.table or TableColumns(), label=label))


def read_text_file(path: Path) -> str:
    """Return the text of a file named by the user."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a text file; it is not. Check the name.") from None
