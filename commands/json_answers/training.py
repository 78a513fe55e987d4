"""A training as plain values for JSON."""

from dataclasses import asdict

from analysis.evaluation.evaluate import Evaluation
from analysis.runs.apply_recipe import title_of_pass
from analysis.runs.run_experiment import package_versions
from analysis.training.forecast import Forecast, StepCost
from analysis.training.run_training import TrainingOutcome, TrainingTask
from commands.json_answers.plain_numbers import finite_or_none, interval_bounds
from commands.json_answers.run import NO_LABELS, metric_values
from quant.config import config_to_plain


def summarize_training(outcome: TrainingOutcome) -> dict[str, object]:
    """Return a training for JSON; shares of 1, intervals of 95 % as [low, high].

    `before` is the network quantized and repaired alike without training.
    """
    task, record, after = outcome.task, outcome.state.record, outcome.after
    split = task.split
    return {
        "training": task.stored_name,
        "state": str(task.state_path),
        "model": task.network.name,
        "model_digest": task.network.digest,
        "data": {"name": split.score.name, "digest": split.score.digest},
        "float": {"top1": after.float_top1, "top1_ci95": interval_bounds(after.float_top1_ci95)},
        "before": _score_values(outcome.before),
        "quantized": _score_values(after),
        "drop": {"top1": after.top1_drop, "top1_ci95": interval_bounds(after.top1_drop_ci95)},
        "images": {
            "trained": len(split.train),
            "watched": len(split.watch),
            "scored": after.samples,
            "seen": record.images,
        },
        "steps": record.steps,
        "best_step": record.best_step,
        "stopped_early": record.stopped_early,
        "seconds": round(record.seconds, 3),
        "changed_codes": record.changed,
        "curves": [asdict(point) for point in record.curve],
        "settings": record.settings.to_dict(),
        "config": config_to_plain(outcome.config, task.network.graph.layers),
        "recipe": [title_of_pass(step) for step in task.recipe],
        "notes": [split.counts_sentence, *([] if after.labelled else [NO_LABELS])],
        "versions": package_versions(),
    }


def summarize_forecast(task: TrainingTask, cost: StepCost, found: Forecast) -> dict[str, object]:
    """Return the cost and the forecast of a training for JSON; scores are shares of 1."""
    return {
        "model": task.network.name,
        "cost": {
            "step_seconds": cost.seconds,
            "look_seconds": cost.look_seconds,
            "seconds": cost.duration_s(task.settings),
            "memory_bytes": cost.memory_bytes,
        },
        "watched": found.images,
        "scores": found.scores,
        "float": found.float_score,
        "probe": found.probe,
        "best": found.best,
        "gain": interval_bounds(found.gain),
        "notes": [found.forecast_sentence, cost.duration_sentence(task.settings)],
    }


def _score_values(score: Evaluation) -> dict[str, object]:
    return {
        "top1": score.quantized_top1,
        "top1_ci95": interval_bounds(score.quantized_top1_ci95),
        "agreement": score.agreement if score.classes else None,
        "agreement_ci95": interval_bounds(score.agreement_ci95) if score.classes else None,
        "sqnr_db": finite_or_none(score.sqnr_db),
        "kl": score.kl,
        "metric": metric_values(score),
    }
