"""Finished trainings: stored in a folder of runs, opened by name as configuration and recipe."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.network import Network
from analysis.runs.experiment_file import TrainingFinder
from plain_files.read_json import parse_json
from quant.config import QuantConfig, config_from_dict
from quant.passes.equalize import Equalize
from quant.passes.methods import Reach
from quant.passes.recipe import Recipe
from quant.training.settings import TrainingError
from quant.training.state.trained_state import (
    TrainedState,
    load_trained_state,
    trained_state_from_bytes,
)
from quant.training.state.use_training import UseTraining

FOLDER = "trainings"


@dataclass(frozen=True, eq=False, slots=True)
class StoredTraining:
    """A finished training: the question and the result.

    `recipe` holds the float passes before training; `model` and `model_digest` name the network.
    `seed` divided the images; None for a training of an older version.
    """

    name: str
    model: str
    model_digest: str
    config: QuantConfig
    recipe: Recipe
    state: TrainedState
    seed: int | None = None

    @property
    def whole_recipe(self) -> Recipe:
        """The passes that turn the float network into the trained network."""
        return (*self.recipe, UseTraining(self.state, self.name))


def training_file_path(folder: Path, name: str, kind: str) -> Path:
    """Return the path of a training's file; `kind` is the suffix."""
    return folder / FOLDER / f"{name}.{kind}"


def describe_training(
    folder: Path, name: str, network: Network, config: QuantConfig, recipe: Recipe, seed: int
) -> None:
    """Write the question of a training beside the later state; `seed` divided the images.

    Raises:
        TrainingError: a pass of the recipe repairs quantized weights, which training replaces.
    """
    passes = []
    for step in recipe:
        if isinstance(step, Equalize):
            passes.append({"replace_relu6": step.replace_relu6, "reach": str(step.reach)})
        elif not isinstance(step, UseTraining):
            raise TrainingError(
                "A training starts from the float network, equalized or not; got "
                f"{type(step).__name__} before it. Remove that pass: training does its work."
            )
    content = {
        "model": network.name,
        "model_digest": network.digest,
        "config": config.to_dict(),
        "equalize": passes,
        "seed": seed,
    }
    path = training_file_path(folder, name, "json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class TrainingFiles:
    """The files of a training as they travel in a session: the state, and the question as text."""

    state: bytes
    question: str


def read_training_files(folder: Path, name: str) -> TrainingFiles | None:
    """Return the files of a finished training; None where one is missing."""
    state, question = (training_file_path(folder, name, kind) for kind in ("safetensors", "json"))
    if not name.isalnum() or not state.exists() or not question.exists():
        return None
    return TrainingFiles(state.read_bytes(), question.read_text(encoding="utf-8"))


def write_training_files(folder: Path, name: str, files: TrainingFiles) -> None:
    """Write the files of a training that came in a session; a training that is here stays.

    Raises:
        TrainingError: the name or the state cannot be that of a training.
    """
    if not name.isalnum():
        raise TrainingError(f"A training has a name of letters and digits; got {name[:40]!r}.")
    trained_state_from_bytes(files.state)
    state, question = (training_file_path(folder, name, kind) for kind in ("safetensors", "json"))
    if state.exists() and question.exists():
        return
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_bytes(files.state)
    question.write_text(files.question, encoding="utf-8")


def trainings_in_folder(folder: Path) -> TrainingFinder:
    """Return the finder of trainings in a folder of runs."""

    def find_training(name: str, digest: str) -> UseTraining:
        path = training_file_path(folder, name, "safetensors")
        if not name.isalnum() or not path.exists():
            raise TrainingError(
                f"The experiment has the weights of training {name[:40]}, which is not in "
                f"{folder / FOLDER}. Train again, or open a session that carries it."
            )
        return _checked_training(name, digest, load_trained_state(path))

    return find_training


def trainings_in_files(files: Mapping[str, TrainingFiles]) -> TrainingFinder:
    """Return the finder of trainings among the files of a session."""

    def find_training(name: str, digest: str) -> UseTraining:
        if name not in files:
            raise TrainingError(
                f"The session names training {name[:40]} and does not carry it. Save the session "
                "again where the training is."
            )
        return _checked_training(name, digest, trained_state_from_bytes(files[name].state))

    return find_training


def _checked_training(name: str, digest: str, state: TrainedState) -> UseTraining:
    if state.digest != digest:
        raise TrainingError(
            f"Training {name[:40]} must have the weights of the experiment; the file has others. "
            "Train again."
        )
    return UseTraining(state, name)


def open_stored_training(folder: Path, name: str, network: Network | None = None) -> StoredTraining:
    """Return the training with the name; `network`, if given, must be the trained network.

    Raises:
        TrainingError: the training is missing, or belongs to another network.
    """
    state, content = (
        training_file_path(folder, name, "safetensors"),
        training_file_path(folder, name, "json"),
    )
    if not name.isalnum() or not state.exists() or not content.exists():
        raise TrainingError(
            f"No training {name!r} has ended in {folder}. Name one that `train` printed, and the "
            "same --runs."
        )
    try:
        plain = parse_json(content.read_bytes())
        recipe = tuple(
            Equalize(one["replace_relu6"], Reach(one["reach"])) for one in plain["equalize"]
        )
        config = config_from_dict(plain["config"])
        model, digest = str(plain["model"]), str(plain["model_digest"])
        seed = None if plain.get("seed") is None else int(plain["seed"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{content.name} cannot be read: {error}. Train again.") from None
    if network is not None and digest != network.digest:
        raise TrainingError(
            f"Training {name} belongs to the network {model}; got {network.name}, another file. "
            "Open that network."
        )
    return StoredTraining(name, model, digest, config, recipe, load_trained_state(state), seed)
