"""Finished trainings: stored in a folder of runs, opened by name as configuration and recipe."""

import json
from dataclasses import dataclass
from pathlib import Path

from analysis.network import Network
from quant.config import QuantConfig, config_from_dict
from quant.passes.equalize import Equalize
from quant.passes.methods import Reach
from quant.passes.recipe import Recipe
from quant.training.settings import TrainingError
from quant.training.state.trained_state import TrainedState, load_trained_state
from quant.training.state.use_training import UseTraining

FOLDER = "trainings"


@dataclass(frozen=True, eq=False, slots=True)
class StoredTraining:
    """A finished training: the question and the result.

    `recipe` holds the float passes before training; `model` and `model_digest` name the network.
    """

    name: str
    model: str
    model_digest: str
    config: QuantConfig
    recipe: Recipe
    state: TrainedState

    @property
    def whole_recipe(self) -> Recipe:
        """The passes that turn the float network into the trained network."""
        return (*self.recipe, UseTraining(self.state, self.name))


def training_file_path(folder: Path, name: str, kind: str) -> Path:
    """Return the path of a training's file; `kind` is the suffix."""
    return folder / FOLDER / f"{name}.{kind}"


def describe_training(
    folder: Path, name: str, network: Network, config: QuantConfig, recipe: Recipe
) -> None:
    """Write the question of a training beside the later state.

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
    }
    path = training_file_path(folder, name, "json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


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
        plain = json.loads(content.read_text(encoding="utf-8"))
        recipe = tuple(
            Equalize(one["replace_relu6"], Reach(one["reach"])) for one in plain["equalize"]
        )
        config = config_from_dict(plain["config"])
        model, digest = str(plain["model"]), str(plain["model_digest"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{content.name} cannot be read: {error}. Train again.") from None
    if network is not None and digest != network.digest:
        raise TrainingError(
            f"Training {name} belongs to the network {model}; got {network.name}, another file. "
            "Open that network."
        )
    return StoredTraining(name, model, digest, config, recipe, load_trained_state(state))
