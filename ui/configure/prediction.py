"""The predicted quality of the present configuration; the card follows the edits."""

import streamlit as st

from analysis.mixed_precision.forecast import Foresight
from analysis.prediction.predictor import Prediction
from figures.tradeoffs.wording import QualityScale
from quant.config import QuantConfig
from quant.passes.recipe import Recipe
from ui.answers.forecast import present_foresight, quality_scale
from ui.state.workspace import Workspace
from ui.widgets.explain import FRONT

LEAST = 0.05  # of a change that is not written as 0.0
UNSURE = "Expected from the noise of each layer alone, with its 95 % interval; a run alone tells"


def predicted_quality_card(
    row: st.delta_generator.DeltaGenerator,
    workspace: Workspace,
    config: QuantConfig,
    reference: QuantConfig,
    against: str,
) -> bool:
    """Show the predicted quality against a reference; return whether a front is known."""
    foresight = present_foresight(workspace)
    recipe = workspace.experiment.recipe
    said = None if foresight is None else foresight.predict_config(config, recipe)
    if foresight is None or said is None:
        _unknown_quality_card(row, foresight)
        return foresight is not None
    scale = quality_scale(workspace, foresight)
    value, ends = scale.predicted_value(said), scale.predicted_interval(said)
    if value is None or ends is None:
        _unknown_quality_card(row, foresight)
        return True
    change = _quality_change(scale, value, foresight.predict_config(reference, recipe))
    measured = _measured_sentence(foresight, scale, config, recipe)
    row.metric(
        _quality_label(scale),
        f"{value:.1f} {scale.unit}",
        " · ".join((*change, f"{ends.low:.1f} to {ends.high:.1f}")),
        delta_color="normal" if change else "off",
        delta_arrow="auto" if change else "off",
        border=True,
        height="stretch",
        help=f"{UNSURE}. The change is against {against}.{measured}",
    )
    return True


def _quality_label(scale: QualityScale) -> str:
    if not scale.by_loss:
        return "Predicted SQNR"
    return "Predicted agreement" if scale.float_top1 is None else "Predicted top-1"


def _quality_change(scale: QualityScale, value: float, other: Prediction | None) -> tuple[str, ...]:
    """Return the change from a prediction to a value; empty for a change too small to show."""
    before = None if other is None else scale.predicted_value(other)
    if before is None or abs(value - before) < LEAST:
        return ()
    return (f"{value - before:+.1f}",)


def _measured_sentence(
    foresight: Foresight, scale: QualityScale, config: QuantConfig, recipe: Recipe
) -> str:
    """Return the measured quality of a run with equal bits, in a sentence; else an empty text."""
    summed = foresight.summed_noise(config, recipe)
    for one in foresight.measured:
        if one.proposal.summed == summed and scale.measured_value(one.run) is not None:
            return f" Measured in {one.run.name}: {scale.run_text(one.run)}."
    return ""


def _unknown_quality_card(
    row: st.delta_generator.DeltaGenerator, foresight: Foresight | None
) -> None:
    missing = "find trade-offs first" if foresight is None else "not known at these bits"
    row.metric(
        "Predicted top-1",
        "?",
        missing,
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help=f"{UNSURE}. {FRONT} Bits, encodings or ranges that no sweep has seen are not "
        "predicted.",
    )
