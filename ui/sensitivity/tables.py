"""The answers of a sensitivity analysis as tables."""

import math
from collections.abc import Sequence

import pandas as pd

from analysis.evaluation.measures import Interval
from analysis.sensitivity.ranking import (
    HarmMetric,
    shown_layer_interval,
    shown_layer_value,
    value_in_metric,
)
from analysis.sensitivity.sweep import CellScore, Sensitivity

EXACT_DB = 300.0  # what stands for an infinite SQNR, so that columns of numbers stay numbers


def layer_list_table(
    found: Sensitivity, scores: Sequence[CellScore], metric: HarmMetric
) -> pd.DataFrame:
    """Return a row for each layer: the shown number with its interval, then the other scores."""
    others = [m for m in (HarmMetric.SQNR, HarmMetric.KL, HarmMetric.AGREEMENT) if m is not metric]
    names = {HarmMetric.SQNR: "sqnr", HarmMetric.KL: "kl", HarmMetric.AGREEMENT: "agreement"}
    rows = [
        {
            "layer": score.question.layer,
            "value": _rounded_number(shown_layer_value(found, score, metric), metric),
            "interval": _interval_text(shown_layer_interval(found, score, metric)),
            **{names[other]: _finite_number(value_in_metric(score, other)) for other in others},
            "known": str(score.depth),
            f"{found.noun}s": score.images or None,
        }
        for score in scores
    ]
    table = pd.DataFrame(rows)
    return table.dropna(axis="columns", how="all") if rows else table


def answer_table(found: Sensitivity) -> pd.DataFrame:
    """Return a row for each cell with the metrics and the intervals."""
    return pd.DataFrame([_cell_row(score) for score in (*found.scores, *found.whole)])


def _cell_row(score: CellScore) -> dict[str, object]:
    asked = score.question
    return {
        "layer": asked.layer or "all",
        "role": str(asked.side),
        "bits": asked.bits,
        "view": str(asked.view),
        "depth": str(score.depth),
        "images": score.images,
        "accuracy_drop": score.accuracy_drop,
        **_interval_columns("accuracy_drop", score.accuracy_drop_ci95),
        "sqnr_db": score.sqnr_db,
        **_interval_columns("sqnr_db", score.sqnr_ci95),
        "kl": score.kl,
        "cross_entropy": score.cross_entropy,
        "agreement": score.agreement,
        **_interval_columns("agreement", score.agreement_ci95),
    }


def _interval_columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _finite_number(value: float | None) -> float | None:
    return EXACT_DB if value == math.inf else value


def _rounded_number(value: float | None, metric: HarmMetric) -> float | None:
    """Return a number rounded to the shown digits, because a browser rounds halves differently."""
    if value is None or not math.isfinite(value) or metric is HarmMetric.KL:
        return _finite_number(value)
    return round(value, 1)


def _interval_text(interval: Interval | None) -> str | None:
    return None if interval is None else f"{interval.low:.1f} to {interval.high:.1f}"
