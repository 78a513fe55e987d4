"""The answers of a sensitivity analysis as plain values for the JSON of the command line."""

import math
from collections.abc import Sequence

from analysis.calibration import Calibrated
from analysis.network import Network
from analysis.runs.run_experiment import IdentifiedData, package_versions
from analysis.sensitivity.exact.most_harmful import MostHarmful
from analysis.sensitivity.sweep import CellScore, Depth, Sensitivity, View
from commands.json_answers.float_weights import list_float_weights
from commands.json_answers.plain_numbers import finite_or_none, interval_bounds
from quant.config import QuantConfig

IDENTICAL = "An SQNR of null is infinite: the outputs are those of the float network."
PREDICTED = "Screening predicts SQNR and KL divergence to first order; it measures no accuracy."
NO_FORWARD = "Instant answers are the SQNR of the tensor itself, not of the network's output."
NO_LABELS = "The data has no labels that the outputs can be compared with: accuracy is unknown."


def summarize_sensitivity(
    found: Sensitivity,
    network: Network,
    data: IdentifiedData | None,
    calibrated: Calibrated,
    notes: tuple[str, ...] = (),
) -> dict[str, object]:
    """Return a sweep's answers for JSON; shares of 1, intervals of 95 % as [low, high].

    `baseline` is the float network. In the view all-but, `whole` holds the scores of the network
    with all layers quantized. Unknown or infinite figures are None.
    """
    return {
        "model": network.name,
        "model_digest": network.digest,
        "data": {"name": data.name, "digest": data.digest} if data else None,
        "samples": found.images,
        "calibration_images": calibrated.images,
        "depth": str(found.depth),
        "view": str(found.sweep.view),
        "config": found.sweep.config.to_dict(),
        "float_weights": list_float_weights(network),
        "baseline": {"top1": found.float_top1},
        "metric": found.metric_name or None,
        "whole": [_cell_values(score) for score in found.whole],
        "layers": [_cell_values(score) for score in found.scores],
        "seconds": round(found.seconds, 3),
        "forwards": found.forwards,
        "notes": [*notes, *_sweep_notes(found)],
        "versions": package_versions(),
    }


def summarize_most_harmful(
    found: Sequence[MostHarmful],
    network: Network,
    data: IdentifiedData,
    calibrated: Calibrated,
    config: QuantConfig,
    notes: tuple[str, ...] = (),
) -> dict[str, object]:
    """Return the most harmful layers of each side for JSON, the worst first.

    `images` is the number of images at which the last place was settled, `samples` the number of
    the whole sweep, `layers` the scores of all layers, each on the images that it got.
    """
    return {
        "model": network.name,
        "model_digest": network.digest,
        "data": {"name": data.name, "digest": data.digest},
        "samples": max(one.population for one in found),
        "calibration_images": calibrated.images,
        "config": config.to_dict(),
        "float_weights": list_float_weights(network),
        "most_harmful": [
            {
                "role": str(one.side),
                "bits": one.bits,
                "layers": list(one.layers),
                "images": one.images,
                "confidence": one.confidence,
                "forwards": one.forwards,
            }
            for one in found
        ],
        "layers": [_cell_values(score) for one in found for score in one.scores],
        "notes": list(notes),
        "versions": package_versions(),
    }


def _cell_values(score: CellScore) -> dict[str, object]:
    question = score.question
    return {
        **({"layer": question.layer} if question.layer else {}),
        "role": str(question.side),
        "bits": question.bits,
        "images": score.images,
        "sqnr_db": finite_or_none(score.sqnr_db),
        "sqnr_ci95": interval_bounds(score.sqnr_ci95),
        "kl": finite_or_none(score.kl),
        "cross_entropy": finite_or_none(score.cross_entropy),
        "accuracy_drop": score.accuracy_drop,
        "ci95": interval_bounds(score.accuracy_drop_ci95),
        "agreement": score.agreement,
        "agreement_ci95": interval_bounds(score.agreement_ci95),
        "metric_lost_points": score.task_loss,
        "metric_lost_ci95": interval_bounds(score.task_loss_ci95),
    }


def _sweep_notes(found: Sensitivity) -> list[str]:
    notes = []
    if found.depth is Depth.SCREENING:
        notes.append(PREDICTED)
    elif found.depth is Depth.INSTANT:
        notes.append(NO_FORWARD)
    elif found.float_top1 is None:
        notes.append(NO_LABELS)
    if any(score.sqnr_db == math.inf for score in found.scores):
        notes.append(IDENTICAL)
    if found.sweep.view is View.ALL_BUT and found.depth is Depth.EXACT:
        notes.append("Every score is of the network with all layers quantized but the one named.")
    return notes
