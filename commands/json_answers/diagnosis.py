"""A diagnosis as plain values for JSON."""

from analysis.diagnosis.flow.contents import Diagnosis, FlowStep, LayerLoss, NamedCause
from analysis.diagnosis.flow.goal import Loss
from analysis.evaluation.lost_score import lost_score
from analysis.evaluation.measures import Interval
from analysis.runs.experiment_file import experiment_to_plain
from analysis.runs.run_experiment import package_versions
from commands.json_answers.run import metric_values
from quant.config import config_to_plain
from quant.graph.float_graph import FloatGraph


def summarize_diagnosis(found: Diagnosis, graph: FloatGraph) -> dict[str, object]:
    """Return a diagnosis for JSON: losses in points, accuracies in shares of 1.

    The points are of top-1, or of the task's metric, which `metric` then holds.
    """
    score = None if found.run is None else found.run.evaluation
    lost = None if score is None else lost_score(score)
    cost = None if found.run is None else found.run.cost
    return {
        "met": found.met,
        "goal": found.goal.goal_text,
        "sentence": found.sentence,
        "advice": found.advice,
        "float": {"top1": found.float_top1},
        "quantized": {
            "top1": None if score is None else score.quantized_top1,
            "top1_ci95": None if score is None else _scaled_bounds(score.quantized_top1_ci95, 1),
            "agreement": score.agreement if score is not None and score.classes else None,
            "samples": None if score is None else score.samples,
            "energy_pj": None if cost is None else cost.energy_pj,
            "latency_s": None if cost is None else cost.latency_s,
        },
        "metric": None if score is None else metric_values(score),
        "drop": {
            "points": None if lost is None else lost.points,
            "points_ci95": None if lost is None else _scaled_bounds(lost.interval, 1),
            "unit": None if lost is None else lost.unit,
        },
        "recipe": [] if found.run is None else list(found.run.recipe),
        "config": config_to_plain(found.experiment.config, graph.layers),
        "causes": [_cause_values(one) for one in found.causes],
        "layers": [_layer_values(one) for one in found.layers],
        "steps": [_step_values(one) for one in found.steps],
        "experiment": experiment_to_plain(found.experiment),
        "versions": package_versions(),
    }


def _scaled_bounds(interval: Interval | None, factor: float) -> list[float] | None:
    return None if interval is None else [factor * interval.low, factor * interval.high]


def _cause_values(one: NamedCause) -> dict[str, object]:
    return {
        "layer": one.layer,
        "side": one.side.value,
        "cause": one.cause,
        "evidence": one.evidence,
        "remedy": one.remedy,
        "points": one.points,
        "points_ci95": _scaled_bounds(one.interval, 1),
    }


def _layer_values(one: LayerLoss) -> dict[str, object]:
    return {
        "layer": one.layer,
        "side": one.side.value,
        "bits": one.bits,
        "share": one.share,
        "points": one.points,
        "points_ci95": _scaled_bounds(one.interval, 1),
        "images": one.images,
    }


def _unit_of_loss(loss: Loss) -> str:
    if not loss.labelled:
        return "% of the answers changed"
    return "points of top-1 lost" if loss.unit == "points" else f"{loss.unit} lost"


def _step_values(one: FlowStep) -> dict[str, object]:
    """Return a step; `measured` are points lost, or of the float network the right answers in %."""
    if one.loss is not None:
        unit: str | None = _unit_of_loss(one.loss)
        measured: float | None = one.loss.points
        interval = _scaled_bounds(one.loss.interval, 1)
    else:
        unit = None if one.top1 is None else "% right"
        measured = None if one.top1 is None else 100 * one.top1
        interval = _scaled_bounds(one.top1_interval, 100)
    return {
        "stage": one.stage.value,
        "name": one.name,
        "outcome": one.outcome.value,
        "measured": measured,
        "unit": unit,
        "interval": interval,
        "seconds": round(one.seconds, 3),
        "sentence": one.sentence,
        "top1": one.top1,
        "energy_pj": one.energy_pj,
        "adopted": one.adopted,
        "run": one.run or None,
        "resumed": one.resumed,
    }
