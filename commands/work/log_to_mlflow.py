"""A run in MLflow: parameters, metrics and artefacts; MLflow is no requirement of ours."""

import importlib
import json
import math
from typing import Any

from accelerator.workload import FLOAT_BITS
from analysis.evaluation.lost_score import lost_score
from analysis.evaluation.measures import Interval
from analysis.runs.json_values import plain_from_result
from analysis.runs.run_store import Run

EXPERIMENT_NAME = "QuantScope"
MOST_CHARACTERS = 500
"""Of a parameter: older servers of MLflow refuse longer ones."""


def _mlflow_errors() -> tuple[type[Exception], ...]:
    """Return the errors with which MLflow refuses an address or a run."""
    errors: Any = importlib.import_module("mlflow.exceptions")
    return errors.MlflowException, OSError, ValueError


def open_mlflow(uri: str) -> Any:
    """Return a client of the tracking server or folder at `uri`.

    Raises:
        ValueError: MLflow is not installed, or does not know such an address.
    """
    try:
        tracking: Any = importlib.import_module("mlflow.tracking")
    except ImportError:
        raise ValueError(
            "--mlflow needs the package mlflow, which is not installed here. Install it into this "
            "environment (pip install mlflow-skinny), or leave --mlflow out."
        ) from None
    try:
        client = tracking.MlflowClient(tracking_uri=uri)
        client.get_experiment_by_name(EXPERIMENT_NAME)
    except _mlflow_errors() as error:
        raise ValueError(
            f"--mlflow must be the address of a tracking server or a folder such as file:./mlruns; "
            f"got {uri!r}: {str(error)[:160]} Correct it."
        ) from None
    return client


def log_run(client: Any, run: Run, artefacts: dict[str, str]) -> str:
    """Log a run with its parameters and metrics, and texts by file name; return MLflow's run id.

    Raises:
        ValueError: the server refuses.
    """
    try:
        known = client.get_experiment_by_name(EXPERIMENT_NAME)
        place = client.create_experiment(EXPERIMENT_NAME) if known is None else known.experiment_id
        identity = str(client.create_run(place, run_name=run.name).info.run_id)
        for name, value in run_parameters(run).items():
            client.log_param(identity, name, value[:MOST_CHARACTERS])
        for name, number in run_metrics(run).items():
            client.log_metric(identity, name, number)
        texts = {"run.json": json.dumps(plain_from_result(run), indent=2), **artefacts}
        for file, text in texts.items():
            client.log_text(identity, text, file)
        client.set_terminated(identity)
    except _mlflow_errors() as error:
        raise ValueError(
            f"MLflow must take the run; it answered {type(error).__name__}: {str(error)[:200]} "
            "Check the server."
        ) from None
    return identity


def run_parameters(run: Run) -> dict[str, str]:
    """Return what was tried: model, data, configuration, recipe, machine and seed."""
    default = run.config.get("default", {})
    sides = {f"{side}_bits": default.get(side, {}).get("bits") for side in ("weight", "activation")}
    return {
        "model": run.model,
        "model_digest": run.model_digest,
        "data": run.data,
        "data_digest": run.data_digest,
        "calibration_images": str(run.calibration_images),
        "recipe": ", ".join(run.recipe) or "none",
        "machine": run.cost.machine,
        "seed": str(run.seed),
        "rules": str(len(run.config.get("rules", []))),
        **{name: "float" if bits == FLOAT_BITS else str(bits) for name, bits in sides.items()},
    }


def run_metrics(run: Run) -> dict[str, float]:
    """Return what was measured and estimated; numbers without a value are left out."""
    score, cost, lost = run.evaluation, run.cost, lost_score(run.evaluation)
    found: dict[str, float | None] = {
        "images": float(score.samples),
        "sqnr_db": score.sqnr_db,
        "agreement": score.agreement if score.classes else None,
        "cosine": score.cosine,
        "float_top1": score.float_top1,
        "quantized_top1": score.quantized_top1,
        "energy_pj": cost.energy_pj,
        "latency_s": cost.latency_s,
        "weight_bytes": float(cost.weight_bytes),
        "peak_activation_bytes": float(cost.peak_activation_bytes),
        "seconds": run.seconds,
    }
    if lost is not None:
        found |= {"lost": lost.points, **_interval_ends("lost", lost.interval)}
    if score.metric is not None:
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in score.metric.name)
        found |= {
            f"float_{name}": score.metric.float_value,
            f"quantized_{name}": score.metric.quantized_value,
        }
    return {
        name: float(value)
        for name, value in found.items()
        if value is not None and math.isfinite(value)
    }


def _interval_ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    if interval is None:
        return {}
    return {f"{name}_ci95_low": interval.low, f"{name}_ci95_high": interval.high}
