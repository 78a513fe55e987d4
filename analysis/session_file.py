"""A session in one JSON file: choices and results, checked when QuantScope reads the file.

Reading runs no content. Paths refer to the machine that wrote the file.
"""

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from analysis.cost.quantity import Quantity
from analysis.evaluation.stored_score import with_present_intervals
from analysis.evaluation.tasks.kinds import Head, TaskKind
from analysis.mixed_precision.pareto_record import FoundRecord, FrontRecord
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import (
    EncodingsReference,
    ExperimentRecord,
    TrainingFinder,
    experiment_from_plain,
    machine_from_plain,
    record_to_plain,
)
from analysis.runs.json_values import plain_from_result, result_from_plain
from analysis.runs.run_experiment import package_versions
from analysis.runs.run_store import Run
from analysis.sensitivity.sweep import Sensitivity
from analysis.stored_numbers import check_stored_numbers
from analysis.training.stored import TrainingFiles, trainings_in_files
from plain_files.read_json import JsonError, JsonObject, parse_json
from quant.config import QuantConfig, config_from_dict
from quant.errors import QuantError

T = TypeVar("T")
FORMAT, VERSION = "quantscope-session", 2
READABLE = (1, 2)
"""In version 1 configuration, its name, machine and encodings stood side by side."""
MAX_BYTES = 100 * 2**20
MOST_RUNS = 1000
MOST_FOUND, MOST_POINTS = 20, 200


class SessionError(QuantError):
    """A file without a session, or with a contradiction."""


@dataclass(frozen=True, slots=True)
class ModelReference:
    """The network of a session: a sample's name or a path on the writing machine.

    `shown` is the user's name of an upload. `builder` names code; reading a session never runs
    code.
    """

    name: str
    digest: str
    source: str
    builder: str | None = None
    input_shape: tuple[int, ...] = ()
    shown: str | None = None
    inputs: str = ""


@dataclass(frozen=True, slots=True)
class DataReference:
    """The scored images, and the choices that find the images again.

    `preprocess` is JSON; `samples` of 0 means every image; `digest` is the digest of the scored
    images; `targets` is the path of masks or boxes.
    images. `held_out` says that these are the images which a training left out.
    """

    name: str
    digest: str
    source: str
    preprocess: str = ""
    calibration: int = 256
    samples: int = 0
    seed: int = 0
    task: TaskKind = TaskKind.AUTO
    head: Head = Head.AUTO
    targets: str = ""
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """The choices and results of a session, for another look on any machine.

    `trainings` holds the files of the trainings, by name, that the experiment and the runs use.
    """

    model: ModelReference
    data: DataReference | None
    record: ExperimentRecord
    runs: tuple[Run, ...] = ()
    sensitivity: Sensitivity | None = None
    found: tuple[FoundRecord, ...] = ()
    trainings: dict[str, TrainingFiles] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=package_versions)


def write_session_json(session: Session) -> str:
    """Return a session as JSON text."""
    plain = {
        "format": FORMAT,
        "version": VERSION,
        "created": session.created,
        "versions": session.versions,
        "model": plain_from_result(session.model),
        "data": plain_from_result(session.data),
        "experiment": record_to_plain(session.record),
        "runs": [plain_from_result(run) for run in session.runs],
        "sensitivity": _sensitivity_to_plain(session.sensitivity),
        "found": plain_from_result(session.found),
        "trainings": {
            name: {"state": b64encode(files.state).decode(), "question": files.question}
            for name, files in session.trainings.items()
        },
    }
    return json.dumps(plain, allow_nan=False, separators=(",", ":"))


def read_session_file(content: bytes) -> Session:
    """Return the session in a file; reading checks the values and runs and opens nothing.

    Raises:
        SessionError: no session, an unknown version, or an impossible value; the sentence names the
            value.
    """
    raw = _parse_session_json(content)
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise SessionError(
            f'A session must be JSON with "format": "{FORMAT}"; this file is something else. '
            "Save one with Session in the side bar."
        )
    if raw.get("version") not in READABLE:
        raise SessionError(
            f"A session must be of version 1 or {VERSION}; got {raw.get('version')!r}. Open it "
            "with the program that wrote it."
        )
    trainings = _read_trainings(raw)
    return Session(
        model=_read_session_part(ModelReference, raw, "model"),
        data=None if raw.get("data") is None else _read_session_part(DataReference, raw, "data"),
        record=_read_experiment_record(raw, trainings_in_files(trainings)),
        runs=tuple(_read_runs(raw)),
        sensitivity=_read_sensitivity(raw),
        found=tuple(_read_found_fronts(raw)),
        trainings=trainings,
        created=_text_at_key(raw, "created"),
        versions=_read_versions(raw),
    )


def _parse_session_json(content: bytes) -> object:
    if len(content) > MAX_BYTES:
        raise SessionError(
            f"A session must be at most {MAX_BYTES} bytes; got {len(content)}. Save fewer runs."
        )
    try:
        found: object = parse_json(content, MAX_BYTES)
    except JsonError as error:
        raise SessionError(f"A session must be JSON; {error}.") from None
    return found


def _read_session_part(kind: type[T], raw: JsonObject, key: str) -> T:
    """Return a part of the session; an error names the place of the part."""
    try:
        found = result_from_plain(kind, raw[key])
        if kind in (FoundRecord, Sensitivity):
            check_stored_numbers(found, noise_finite=kind is FoundRecord)
    except KeyError as error:
        raise SessionError(f"A session must hold {error}; it does not.") from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise SessionError(
            f"The session's {key} cannot be read: {_error_in_words(error)}"
        ) from None
    return found


def _error_in_words(error: Exception) -> str:
    text = str(error)
    return text if len(text) < 300 else f"{text[:300]}…"


def _text_at_key(raw: JsonObject, key: str) -> str:
    if not isinstance(raw.get(key), str):
        raise SessionError(f"A session's {key} must be text; got {_value_in_words(raw.get(key))}.")
    return str(raw[key])


def _value_in_words(value: object) -> str:
    return repr(value)[:60]


def _read_versions(raw: JsonObject) -> dict[str, str]:
    found = raw.get("versions")
    if not isinstance(found, dict) or not all(isinstance(x, str) for x in found.values()):
        raise SessionError(f"A session's versions must be texts; got {_value_in_words(found)}.")
    return found


def _read_config(raw: JsonObject, key: str) -> QuantConfig:
    try:
        return config_from_dict(raw.get(key))
    except QuantError as error:
        raise SessionError(
            f"The session's {key} cannot be read: {_error_in_words(error)}"
        ) from None


def _read_trainings(raw: JsonObject) -> dict[str, TrainingFiles]:
    """Return the files of trainings by name; old sessions have none."""
    found = raw.get("trainings", {})
    if not isinstance(found, dict) or len(found) > MOST_RUNS:
        raise SessionError(
            f"A session's trainings must be an object with at most {MOST_RUNS} entries; got "
            f"{_value_in_words(found)}."
        )
    read: dict[str, TrainingFiles] = {}
    for name, item in found.items():
        try:
            state, question = b64decode(item["state"], validate=True), item["question"]
        except (TypeError, KeyError, ValueError):
            state, question = b"", None
        if not state or not isinstance(question, str) or not name.isalnum():
            raise SessionError(
                f"The session's training {name[:40]!r} must have a state in base64 and a question "
                "as text; it has not. Save the session again."
            )
        read[name] = TrainingFiles(state, question)
    return read


def _read_experiment_record(raw: JsonObject, trainings: TrainingFinder) -> ExperimentRecord:
    """Return the experiment of a session; version 1 has the parts of the experiment instead."""
    try:
        if "experiment" in raw:
            return experiment_from_plain(raw["experiment"], trainings)
        machine = machine_from_plain(raw.get("machine"))
    except QuantError as error:
        raise SessionError(
            f"The session's experiment cannot be read: {_error_in_words(error)}"
        ) from None
    encodings = (
        None if raw.get("grids") is None else _read_session_part(EncodingsReference, raw, "grids")
    )
    experiment = Experiment(_read_config(raw, "config"), machine)
    return ExperimentRecord(experiment.with_name(_text_at_key(raw, "config_name")), encodings)


def _read_runs(raw: JsonObject) -> Iterator[Run]:
    found = raw.get("runs")
    if not isinstance(found, list) or len(found) > MOST_RUNS:
        raise SessionError(
            f"A session's runs must be a list of at most {MOST_RUNS}; got {_value_in_words(found)}."
        )
    seen: set[str] = set()
    for number, item in enumerate(found):
        run = _read_session_part(Run, {f"run {number}": item}, f"run {number}")
        _check_run_values(run, number, seen)
        seen.add(run.id)
        try:
            yield replace(run, evaluation=with_present_intervals(run.evaluation))
        except QuantError as error:
            raise SessionError(f"The session's run {number}: {_error_in_words(error)}") from None


def _check_run_values(run: Run, number: int, seen: set[str]) -> None:
    """Raise SessionError where a run's values cannot be."""
    where = f"The session's run {number} ({run.name[:60]!r})"
    try:
        config_from_dict(run.config)
    except QuantError as error:
        raise SessionError(f"{where} has no configuration: {_error_in_words(error)}") from None
    score, cost = run.evaluation, run.cost
    shares = (score.agreement, score.float_top1, score.quantized_top1, abs(score.top1_drop or 0))
    if score.samples < 1 or not all(x is None or 0 <= x <= 1 for x in shares):
        raise SessionError(f"{where} must have images and shares between 0 and 1; it has not.")
    prices: list[float] = [cost.energy_pj, cost.latency_s, run.seconds]
    prices += [cost.weight_bytes, cost.peak_activation_bytes]
    prices += [x for layer in cost.layers for x in (layer.energy_pj, layer.latency_s)]
    if not all(math.isfinite(x) and x >= 0 for x in prices):
        raise SessionError(f"{where} must have costs from 0 on; it has not.")
    if run.id in seen:
        raise SessionError(f"{where} must have an id of its own; {run.id[:40]!r} came before.")


def _read_found_fronts(raw: JsonObject) -> Iterator[FoundRecord]:
    """Yield the fronts of questions; old sessions have no fronts."""
    items = raw.get("found", [])
    if not isinstance(items, list) or len(items) > MOST_FOUND:
        raise SessionError(
            f"A session's fronts must be a list of at most {MOST_FOUND} questions; got "
            f"{_value_in_words(items)}."
        )
    for number, item in enumerate(items):
        where = f"question {number}"
        record = _read_session_part(FoundRecord, {where: item}, where)
        for front in record.fronts:
            _check_front_values(front, where)
        yield record


def _check_front_values(front: FrontRecord, where: str) -> None:
    """Raise SessionError where a front's values cannot be."""
    points = (*front.proposals, *front.references)
    if not front.proposals or len(points) > MOST_POINTS:
        raise SessionError(
            f"A front of the session's {where} must have 1 to {MOST_POINTS} points; got "
            f"{len(points)}."
        )
    for costs in (front.eight, *(point.costs for point in points)):
        known = [costs.get(quantity, -1.0) for quantity in Quantity]
        if not all(math.isfinite(cost) and cost >= 0 for cost in known):
            raise SessionError(f"A front of the session's {where} must have costs; it has not.")
    try:
        for point in points:
            config_from_dict(point.config)
    except QuantError as error:
        raise SessionError(f"A front of the session's {where}: {_error_in_words(error)}") from None


def _sensitivity_to_plain(found: Sensitivity | None) -> JsonObject | None:
    """Return a sensitivity with the configuration in the form of a configuration file."""
    if found is None:
        return None
    plain: JsonObject = plain_from_result(found)
    plain["sweep"]["config"] = found.sweep.config.to_dict()
    return plain


def _read_sensitivity(raw: JsonObject) -> Sensitivity | None:
    found = raw.get("sensitivity")
    if found is None:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("sweep"), dict):
        raise SessionError(
            f"A session's sensitivity must be an object with a sweep; got {_value_in_words(found)}."
        )
    config = _read_config(found["sweep"], "config")
    plain = {**found, "sweep": {**found["sweep"], "config": plain_from_result(config)}}
    return _read_session_part(Sensitivity, {"sensitivity": plain}, "sensitivity")
