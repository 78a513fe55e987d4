"""The network of an experiment's file: the file or sample that a command was given."""

import json
from pathlib import Path

from commands.inputs import read_text_file
from plain_files.read_json import JsonObject, parse_json

KEY = "model_source"


def source_of_model(model: str) -> str:
    """Return the name of a sample as given, or the whole path of a model's file."""
    path = Path(model)
    return str(path.resolve()) if path.is_file() else model


def with_model_source(text: str, model: str) -> str:
    """Return the JSON of an experiment with the model that a command was given."""
    plain: JsonObject = json.loads(text)
    return json.dumps({**plain, KEY: source_of_model(model)}, indent=2, allow_nan=False) + "\n"


def model_of_experiment(model: str | None, experiment: Path) -> str:
    """Return the model that the command line names, or else the experiment's file.

    Raises:
        ValueError: neither names a model that is there.
    """
    if model is not None:
        return model
    from sample_models.registry import SAMPLES  # noqa: PLC0415  imports torch

    plain = parse_json(read_text_file(experiment))
    named = plain.get(KEY) if isinstance(plain, dict) else None
    if isinstance(named, str) and (named in SAMPLES or Path(named).is_file()):
        return named
    got = f"{Path(str(named)).name}, which is not there" if named else "none"
    raise ValueError(
        f"The model of an experiment must be known; {experiment.name} names {got}. Name the model "
        "with --model."
    )
