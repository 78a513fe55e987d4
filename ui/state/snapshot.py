"""The choices of a user as text, so that a new tab or a restarted server finds the choices."""

import json
from dataclasses import dataclass
from typing import Any

from accelerator.machine import load_preset
from analysis.network import Network
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import (
    EncodingsReference,
    ExperimentRecord,
    TrainingFinder,
    experiment_from_plain,
    experiment_to_plain,
)
from analysis.runs.json_values import plain_from_result, result_from_plain
from model_io.encodings.apply_to_network import resolve_encodings
from quant.config import config_from_dict
from ui.state.model_and_data import DataChoice, ModelChoice


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The model, the data, the experiment and the metric of the last visit."""

    model: ModelChoice
    data: DataChoice
    record: ExperimentRecord
    metric: str = ""


def experiment_with_encodings(record: ExperimentRecord, network: Network) -> Experiment:
    """Return the experiment of a record with the encodings behind the record's reference.

    Raises:
        ModelError: the reference leads to no encodings of the network.
    """
    reference = record.encodings
    if reference is None:
        return record.experiment
    given = resolve_encodings(reference.source, reference.text, network, network.given)
    return record.with_encodings(given)


def write_snapshot(
    model: ModelChoice, data: DataChoice, experiment: Experiment, metric: str
) -> str:
    """Return the choices as JSON text."""
    return json.dumps(
        {
            "model": plain_from_result(model),
            "data": plain_from_result(data),
            "experiment": experiment_to_plain(experiment),
            "metric": metric,
        }
    )


def read_snapshot(text: str, trainings: TrainingFinder | None = None) -> Snapshot:
    """Return the choices in JSON text, also in the text of an older version.

    `trainings` finds the trained weights of the experiment.

    Raises:
        ValueError, KeyError, TypeError: the text cannot be read.
    """
    saved = json.loads(text)
    return Snapshot(
        result_from_plain(ModelChoice, saved["model"]),
        result_from_plain(DataChoice, saved["data"]),
        _experiment_record(saved, trainings),
        str(saved.get("metric", "")),
    )


def _experiment_record(saved: dict[str, Any], trainings: TrainingFinder | None) -> ExperimentRecord:
    if "experiment" in saved:
        return experiment_from_plain(saved["experiment"], trainings)
    # before there were experiments: configuration, name, machine and encodings side by side
    experiment = Experiment(config_from_dict(saved["config"]), load_preset(saved["machine"]))
    encodings = saved.get("grids")
    reference = None if encodings is None else result_from_plain(EncodingsReference, encodings)
    return ExperimentRecord(experiment.with_name(str(saved["config_name"])), reference)
