"""A run or a cost as plain values for the JSON of the command line."""

import math
from dataclasses import asdict

from accelerator.report import CostReport
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.lost_score import lost_score
from analysis.network import Network
from analysis.runs.run_experiment import package_versions
from analysis.runs.run_store import Run, SideLoss
from analysis.runs.verdict import judge_run
from commands.json_answers.float_weights import list_float_weights
from commands.json_answers.plain_numbers import finite_or_none, interval_bounds
from quant.config import QuantConfig, config_from_dict, config_to_plain
from sample_models.registry import SAMPLES

NO_LABELS = (
    "The data has no labels that this model's outputs can be compared with, so top-1 accuracy is "
    "unknown; agreement with the float network and SQNR take its place."
)
NO_CLASSES = (
    "The model's (first) output is no row of classes, so top-1 accuracy says nothing of it; the "
    "outputs' SQNR and cosine, and a metric of your own (--metric), take its place."
)
IDENTICAL = "The outputs of both networks are identical: their SQNR is infinite, written as null."


def summarize_run(run: Run, network: Network, notes: tuple[str, ...] = ()) -> dict[str, object]:
    """Return a run for JSON; shares of 1, intervals of 95 % as [low, high], units in the names.

    Unknown or infinite figures are None, and a note tells the reason.
    """
    score = run.evaluation
    verdict = judge_run(run, network.output_count if network.is_classifier else None)
    return {
        "verdict": {"level": verdict.level.value, "sentence": verdict.sentence},
        "model": run.model,
        "model_digest": run.model_digest,
        "data": {"name": run.data, "digest": run.data_digest},
        "samples": score.samples,
        "calibration_images": run.calibration_images,
        "labelled": score.labelled,
        "float": {"top1": score.float_top1, "top1_ci95": interval_bounds(score.float_top1_ci95)},
        "quantized": {
            "top1": score.quantized_top1,
            "top1_ci95": interval_bounds(score.quantized_top1_ci95),
            "agreement": score.agreement if score.classes else None,
            "agreement_ci95": interval_bounds(score.agreement_ci95) if score.classes else None,
            "sqnr_db": finite_or_none(score.sqnr_db),
            "cosine": score.cosine,
        },
        "drop": {"top1": score.top1_drop, "top1_ci95": interval_bounds(score.top1_drop_ci95)},
        "sides": [_side_values(one) for one in run.sides],
        "metric": metric_values(score),
        "layer_sqnr_db": {name: finite_or_none(value) for name, value in run.layer_sqnr_db.items()},
        "config": _config_values(config_from_dict(run.config), network),
        "recipe": list(run.recipe),
        "float_weights": list_float_weights(network),
        "experiment": run.experiment,
        "cost": run.cost.to_dict(),
        "notes": [*notes, *_run_notes(score)],
        "versions": run.versions,
        "seed": run.seed,
        "seconds": round(run.seconds, 3),
    }


def summarize_cost(network: Network, config: QuantConfig, report: CostReport) -> dict[str, object]:
    """Return an estimate without a score for JSON."""
    return {
        "model": network.name,
        "model_digest": network.digest,
        "input_shape": list(network.graph.input_shape),
        "inputs": [
            {"name": one.name, "shape": list(one.shape), "kind": one.kind}
            for one in network.graph.inputs
        ],
        "parameters": network.parameters,
        "float_weights": list_float_weights(network),
        "config": _config_values(config, network),
        "cost": report.to_dict(),
        "versions": package_versions(),
    }


def summarize_samples() -> list[dict[str, object]]:
    """Return the sample networks of the project for JSON."""
    return [
        {
            "name": sample.name,
            "title": sample.title,
            "teaches": sample.teaches,
            "input_shape": list(sample.input_shape),
            "classes": sample.classes,
            "data": sample.dataset,
            "float_top1": finite_or_none(sample.float_top1),
            "metric": sample.metric_name,
            "float_score": finite_or_none(sample.float_score),
            "float_top1_on": sample.cited_from,
            "licence": sample.licence,
        }
        for sample in SAMPLES.values()
    ]


def _side_values(loss: SideLoss) -> dict[str, object]:
    """Return the loss of one side alone, in points of the unit."""
    return {
        "side": loss.side.value,
        "lost": loss.points,
        "lost_ci95": interval_bounds(loss.interval),
        "unit": loss.unit,
        "samples": loss.images,
    }


def metric_values(score: Evaluation) -> dict[str, object] | None:
    """Return the user's metric of both networks, or the problem of the metric."""
    found, lost = score.metric, lost_score(score)
    if found is None:
        return {"problem": score.metric_problem} if score.metric_problem else None
    return {
        "name": found.name,
        "higher_is_better": found.higher_is_better,
        "float": found.float_value,
        "float_ci95": interval_bounds(found.float_ci95),
        "quantized": found.quantized_value,
        "quantized_ci95": interval_bounds(found.quantized_ci95),
        "change": found.change,
        "change_ci95": interval_bounds(found.change_ci95),
        "lost": None if lost is None else lost.lost_text,
        "parts": [asdict(part) for part in found.parts],
    }


def _config_values(config: QuantConfig, network: Network) -> dict[str, object]:
    """Return the configuration; a rule tells the number of matched layers."""
    return config_to_plain(config, network.graph.layers)


def _run_notes(score: Evaluation) -> list[str]:
    told = score.labelled or (score.metric is not None and score.metric.task != "")
    notes = [] if told else [NO_LABELS if score.classes else NO_CLASSES]
    if score.metric_problem:
        notes.append(score.metric_problem)
    if score.sqnr_db == math.inf:
        notes.append(IDENTICAL)
    return notes
