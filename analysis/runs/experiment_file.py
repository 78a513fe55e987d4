"""An experiment as a JSON file, for the app and the command line.

Reading runs no content and checks every value.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from accelerator.machine import Machine, load_preset, machine_from_table, preset_names
from analysis.runs.experiment import Experiment
from analysis.runs.json_values import plain_from_result, result_from_plain
from analysis.runs.run_store import Run
from plain_files.read_json import JsonError, JsonObject, parse_json
from quant.config import config_from_dict
from quant.errors import ConfigError, QuantError
from quant.file_encodings import Given
from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.methods import Method, Reach
from quant.passes.recipe import Pass, Recipe, check_recipe_order
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.passes.smooth import Smooth
from quant.passes.use_encodings import UseEncodings
from quant.training.state.use_training import UseTraining

FORMAT, VERSION = "quantscope-experiment", 1
MAX_CHARACTERS = 100 * 2**20
TRAINING = "training"
TrainingFinder = Callable[[str, str], UseTraining]
"""Returns the training with a name and a digest; raises TrainingError where it is missing."""
PASSES: dict[str, type[Equalize | AbsorbBias | Smooth | CorrectBias | AdaRound | Reconstruct]] = {
    "equalize": Equalize,
    "absorb-bias": AbsorbBias,
    "smooth": Smooth,
    "correct-bias": CorrectBias,
    "adaround": AdaRound,
    "reconstruct": Reconstruct,
}


@dataclass(frozen=True, slots=True)
class EncodingsReference:
    """A file with encodings instead of calibrated encodings, and the text of the file.

    Without a text the encodings come from the model's own file.
    """

    source: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """An experiment from a file; encodings of another file are still a reference."""

    experiment: Experiment
    encodings: EncodingsReference | None = None

    def with_encodings(self, encodings: Given | None) -> Experiment:
        """Return the experiment with the referenced encodings."""
        name = self.experiment.given_name
        found = replace(self.experiment, encodings=encodings)
        return found.with_name(name) if name else found


def encodings_reference(encodings: Given | None) -> EncodingsReference | None:
    """Return the reference that finds the encodings of a file again."""
    return None if encodings is None else EncodingsReference(encodings.source, encodings.text)


def experiment_to_plain(experiment: Experiment) -> JsonObject:
    """Return an experiment as plain values for JSON."""
    machine = experiment.machine
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": experiment.given_name,
        "config": experiment.config.to_dict(),
        "recipe": [pass_to_plain(step) for step in experiment.recipe],
        "machine": machine.name if machine.name in preset_names() else plain_from_result(machine),
        "encodings": plain_from_result(encodings_reference(experiment.encodings)),
        "seed": experiment.seed,
        "model_digest": experiment.model_digest,
        "data_digest": experiment.data_digest,
    }


def record_to_plain(record: ExperimentRecord) -> JsonObject:
    """Return an experiment from a file as plain values for JSON."""
    plain = experiment_to_plain(record.experiment)
    return {**plain, "encodings": plain_from_result(record.encodings)}


def write_experiment_json(experiment: Experiment) -> str:
    """Return an experiment as JSON text."""
    return json.dumps(experiment_to_plain(experiment), indent=2, allow_nan=False) + "\n"


def read_experiment_json(
    text: str, machine: Machine | None = None, trainings: TrainingFinder | None = None
) -> ExperimentRecord:
    """Return the experiment in JSON text.

    The text is an experiment, an answer of the command line with an experiment under "experiment",
    or a configuration file, which needs `machine`. `trainings` finds the weights of trainings,
    which a file names only.

    Raises:
        ConfigError: another kind of text, or an impossible value.
        TrainingError: a training is missing.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"An experiment must have at most {MAX_CHARACTERS} characters; got {len(text)}."
        )
    try:
        raw: object = parse_json(text)
    except JsonError as error:
        raise ConfigError(f"An experiment must be JSON; {error}.") from None
    if isinstance(raw, dict) and isinstance(raw.get("experiment"), dict):
        raw = raw["experiment"]
    if isinstance(raw, dict) and raw.get("format") == FORMAT:
        return experiment_from_plain(raw, trainings)
    if isinstance(raw, dict) and "default" in raw and machine is not None:
        return ExperimentRecord(Experiment(config_from_dict(raw), machine))
    raise ConfigError(
        f'An experiment must be JSON with "format": "{FORMAT}"; got something else. Save one on '
        "Configure, or take the answer of evaluate."
    )


def is_experiment_json(text: str) -> bool:
    """Whether JSON text is an experiment, or an answer with an experiment."""
    try:
        raw: object = parse_json(text)
    except JsonError:
        return False
    held = raw.get("experiment", raw) if isinstance(raw, dict) else raw
    return isinstance(held, dict) and held.get("format") == FORMAT


def experiment_from_plain(raw: object, trainings: TrainingFinder | None = None) -> ExperimentRecord:
    """Return the experiment in plain values.

    Raises:
        ConfigError: a value is missing or impossible.
        TrainingError: a training is missing.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"An experiment must be an object; got {raw!r}.")
    if raw.get("version") != VERSION:
        raise ConfigError(
            f"An experiment must be of version {VERSION}; got {raw.get('version')!r}. Open it "
            "with the program that wrote it."
        )
    seed = raw.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or abs(seed) > 2**63:
        raise ConfigError(f"An experiment's seed must be a whole number; got {str(seed)[:40]}.")
    try:
        reference = raw.get("encodings")
        encodings = None if reference is None else result_from_plain(EncodingsReference, reference)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"An experiment's encodings cannot be read: {error}") from None
    experiment = Experiment(
        config=config_from_dict(raw.get("config")),
        machine=machine_from_plain(raw.get("machine")),
        recipe=recipe_from_plain(raw.get("recipe", []), trainings),
        given_name=_text_at_key(raw, "name"),
        seed=seed,
        model_digest=_text_at_key(raw, "model_digest"),
        data_digest=_text_at_key(raw, "data_digest"),
    )
    return ExperimentRecord(experiment, encodings)


def _text_at_key(raw: JsonObject, key: str) -> str:
    value = raw.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"An experiment's {key} must be text; got {str(value)[:60]!r}.")
    return value


def pass_to_plain(step: Pass) -> JsonObject:
    """Return a pass as plain values, such as {"pass": "adaround", "iterations": 1000}.

    Raises:
        QuantError: users' recipes cannot contain the pass.
    """
    if isinstance(step, UseEncodings):
        raise QuantError("Encodings of a file belong to the experiment, not to its recipe.")
    if isinstance(step, UseTraining):  # its weights stay in the folder of runs
        return {"pass": TRAINING, "source": step.source, "digest": step.state.digest}
    name = next(name for name, kind in PASSES.items() if isinstance(step, kind))
    return {"pass": name, **plain_from_result(step)}


def recipe_from_plain(raw: object, trainings: TrainingFinder | None = None) -> Recipe:
    """Return the recipe in a list of plain passes.

    Raises:
        ConfigError: no list of known passes, or an illegal order.
    """
    if not isinstance(raw, list):
        raise ConfigError(f"A recipe must be a list of passes; got {str(raw)[:60]!r}.")
    recipe = tuple(_pass_from_plain(item, trainings) for item in raw)
    check_recipe_order(recipe)
    return recipe


def _pass_from_plain(raw: object, trainings: TrainingFinder | None) -> Pass:
    if isinstance(raw, dict) and raw.get("pass") == TRAINING:
        if trainings is not None:
            return trainings(str(raw.get("source")), str(raw.get("digest")))
        raise ConfigError(
            f"The weights of training {raw.get('source')} stay in the folder of runs; a file names "
            "them only. Name the training with --trained instead."
        )
    if not isinstance(raw, dict) or raw.get("pass") not in PASSES:
        raise ConfigError(
            f'A pass must be an object with "pass": one of {", ".join(PASSES)}; got '
            f"{str(raw)[:80]}."
        )
    fields = {key: value for key, value in raw.items() if key != "pass"}
    try:
        return result_from_plain(PASSES[raw["pass"]], fields)
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"The pass {raw['pass']} cannot be read: {error}") from None


def machine_from_plain(table: object) -> Machine:
    """Return the preset of a name, else the machine in a table.

    Raises:
        ConfigError: the preset is unknown, or a value of the table is impossible.
    """
    name = table.get("name") if isinstance(table, dict) else table
    if isinstance(name, str) and name in preset_names():
        return load_preset(name)
    if not isinstance(table, dict):
        raise ConfigError(
            f"An experiment's machine must be one of {', '.join(preset_names())}, or an object; "
            f"got {str(table)[:60]!r}."
        )
    sources = table.get("sources", [])
    plain = {key: _drop_none_keys(value) for key, value in table.items() if key != "sources"}
    try:
        machine = machine_from_table({key: x for key, x in plain.items() if x is not None})
        pairs = tuple((str(key), str(source)) for key, source in sources)
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"The machine cannot be read: {str(error)[:300]}") from None
    return replace(machine, sources=pairs)


def _drop_none_keys(value: object) -> object:
    """Return a value without None entries, since a machine's file has none."""
    if isinstance(value, dict):
        return {key: _drop_none_keys(item) for key, item in value.items() if item is not None}
    return [_drop_none_keys(item) for item in value] if isinstance(value, list) else value


def record_of_run(run: Run, trainings: TrainingFinder | None = None) -> ExperimentRecord:
    """Return the experiment of a run, under the run's name.

    A run of an older version has only titles of passes, and no encodings of a file.

    Raises:
        ConfigError: the run's configuration, recipe or machine is unreadable.
    """
    if run.experiment is not None:
        record = experiment_from_plain(run.experiment, trainings)
    else:
        machine = machine_from_plain(run.cost.machine)
        recipe = recipe_from_titles(run.recipe)
        experiment = Experiment(config_from_dict(run.config), machine, recipe, seed=run.seed)
        record = ExperimentRecord(experiment.on_model_and_data(run.model_digest, run.data_digest))
    return replace(record, experiment=record.experiment.with_name(run.name))


def recipe_from_titles(titles: Sequence[str]) -> Recipe:
    """Return the recipe behind the pass titles in a run of an older version.

    Settings absent from a title have default values.

    Raises:
        ConfigError: a title belongs to no known pass.
    """
    steps = [step for title in titles if (step := _pass_of_title(title)) is not None]
    return tuple(steps)


def _pass_of_title(title: str) -> Pass | None:
    """Return the pass of a title; None for encodings of a file, which are stored separately."""
    if title.startswith(("Grids of", "Encodings of")):
        return None
    if title.startswith("Equalize"):
        reach = Reach.RMS if "root mean squares" in title else Reach.LARGEST
        return Equalize("ReLU6 as ReLU" in title, reach)
    if title.startswith("Absorb biases"):
        return AbsorbBias("from images" in title)
    if match := re.fullmatch(r"Correct biases \((\S+)\)", title):
        return CorrectBias(Method(match[1]))
    if match := re.fullmatch(r"AdaRound \((\d+) iterations\)", title):
        return AdaRound(iterations=int(match[1]))
    if match := re.fullmatch(r"Reconstruct blocks \((\d+) steps, (\d+) for the outputs\)", title):
        return Reconstruct(iterations=int(match[1]), output_steps=int(match[2]))
    raise ConfigError(f"A recipe must hold known passes; got {title[:60]!r}.")
