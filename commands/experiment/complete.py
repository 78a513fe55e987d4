"""The experiment of a command, completed with what the network and the files tell."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from commands.experiment.options import ExperimentOptions
from commands.inputs import read_text_file

# Importing torch takes seconds, so the functions that need it import it themselves (PLC0415).
if TYPE_CHECKING:
    from analysis.network import Network
    from analysis.runs.experiment import Experiment
    from analysis.runs.experiment_file import ExperimentRecord
    from analysis.split import ImageChoice
    from quant.file_encodings import Given

OWN = "own"


def complete_experiment(
    network: "Network", record: "ExperimentRecord", options: ExperimentOptions
) -> tuple["Experiment", tuple[str, ...]]:
    """Return the experiment with the named encodings of a file, and sentences for the user.

    The bits of the file become the configuration, unless the options name a configuration.

    Raises:
        ValueError: the file cannot be read, or the recipe changes the tensors of the encodings.
    """
    from quant.passes.recipe import check_recipe_order  # noqa: PLC0415
    from quant.passes.use_encodings import UseEncodings  # noqa: PLC0415

    experiment = record.experiment
    notes: tuple[str, ...] = ()
    if experiment.model_digest not in ("", network.digest):
        notes = ("The experiment was made for another network; its rules are used by name.",)
    if options.encodings is not None:
        given = _file_encodings(network, options.encodings)
        config = experiment.config if options.names_config else given.config
        check_recipe_order((UseEncodings(given.encodings, given.source), *experiment.recipe))
        experiment = replace(experiment, encodings=given, config=config)
        return experiment, (*notes, *given.sentences())
    if record.encodings is None:
        return experiment, notes
    from model_io.encodings.apply_to_network import resolve_encodings  # noqa: PLC0415

    given = resolve_encodings(
        record.encodings.source, record.encodings.text, network, network.given
    )
    return record.with_encodings(given), (*notes, *given.sentences())


def with_stored_training(
    network: "Network",
    place: tuple[Path, str | None],
    experiment: "Experiment",
    choice: "ImageChoice",
    *,
    named: bool,
) -> "tuple[Experiment, ImageChoice]":
    """Return the experiment with the weights and encodings of a stored training, and the images.

    `place` is the folder of runs and the name of the training; None changes nothing. The bits of
    the training count, unless the options name bits (`named`). Of the user's own images those are
    scored that neither trained nor watched.
    """
    folder, name = place
    if name is None:
        return experiment, choice
    from analysis.training.stored import open_stored_training  # noqa: PLC0415
    from quant.passes.recipe import check_recipe_order  # noqa: PLC0415

    stored = open_stored_training(folder, name, network)
    recipe = (*stored.whole_recipe, *experiment.recipe)
    check_recipe_order(recipe)
    config = experiment.config if named else stored.config
    if choice.data is not None and stored.seed is not None:
        choice = replace(choice, held_out=True, seed=stored.seed)
    return replace(experiment, config=config, recipe=recipe), choice


def _file_encodings(network: "Network", encodings: str) -> "Given":
    """Return the encodings in a file, or the encodings of the model's own file."""
    from model_io.encodings.apply_to_network import read_network_encodings  # noqa: PLC0415

    if encodings != OWN:
        return read_network_encodings(
            read_text_file(Path(encodings)), network, Path(encodings).name
        )
    if network.given is None:
        raise ValueError(
            f"--encodings {OWN} takes an ONNX file with quantizers; {network.name} has none. Name "
            "a file of encodings."
        )
    return network.given
