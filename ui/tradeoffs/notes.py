"""What stands below the front of Trade-offs: sources, errors of predictions, gains of machines."""

import math
from collections.abc import Sequence

import streamlit as st

from accelerator.interval import describe_machine_trust
from analysis.mixed_precision.explain_costs import explain_handling
from analysis.mixed_precision.forecast import Foresight
from analysis.mixed_precision.pareto_front import prediction_error
from analysis.mixed_precision.recipe_noise import RecipeNoise
from analysis.mixed_precision.useful_bits import explain_machine_gains
from analysis.sensitivity.sweep import Depth, Sensitivity
from figures.style.units import format_share
from figures.tradeoffs.panel import Panel
from figures.tradeoffs.wording import QualityScale
from ui.state.tradeoffs import Found
from ui.widgets.markdown import plain


def show_front_notes(
    found: Found, foresight: Foresight, panels: Sequence[Panel], scale: QualityScale
) -> None:
    """Tell the source of the numbers, the errors of predictions, and the gains of machines."""
    st.caption(
        " ".join(
            (
                _noise_origin(found.noises[0].sensitivity),
                _trial_note(found.noises, panels),
                *_prediction_errors(foresight),
                _missing_accuracy_note(scale),
            )
        ).strip()
    )
    for panel in panels:
        machine = found.searches[panel.front.machine].machine
        st.markdown(f"- {explain_machine_gains(machine)} {describe_machine_trust(machine)}")
    handled = [
        sentence
        for search in found.searches.values()
        for sentence in explain_handling(search, [found.wish.quantity])
    ]
    for sentence in dict.fromkeys(handled):
        st.markdown(f"- {plain(sentence)}")


def _noise_origin(known: Sensitivity) -> str:
    exact = sum(score.depth is Depth.EXACT for score in known.scores)
    images = max((score.images for score in known.scores), default=0)
    if exact == len(known.scores):
        return f"Noise of each layer alone: the exact sweep, {images} {known.noun}s."
    if exact:
        return f"Noise of each layer alone: {exact} of {len(known.scores)} cells exact."
    return f"Noise of each layer alone: screened on {images} {known.noun}s, without labels."


def _trial_note(noises: Sequence[RecipeNoise], panels: Sequence[Panel]) -> str:
    """Tell which predictions come from trials of whole configurations, and how many were tried."""
    trials = [trial for noise in noises for trial in tuple(noise.trials.values())]
    if not trials:
        return "Predictions add up the noise of layers, which misses much where many are loud."
    points = [one for panel in panels for one in panel.front.proposals]
    untried = sum(not one.prediction.tried for one in points)
    among = f"{untried} points of the front not yet" if untried else "each point of the front, too"
    return (
        f"{len(trials)} whole configurations were tried on {trials[0].images} of the data "
        f"({among}); their predictions come from the trials. Other predictions add up the noise "
        "of layers."
    )


def _prediction_errors(foresight: Foresight) -> list[str]:
    """Tell the errors of the predictions made before their runs."""
    if not foresight.measured:
        return []
    error = prediction_error(foresight.measured)
    words = [f"{error.count} measured: predictions were"]
    if error.mean_loss_error is not None:
        words.append(f"{100 * error.mean_loss_error:.1f} points off on average,")
    if math.isfinite(error.rms_db):
        words.append(f"SQNR {error.rms_db:.1f} dB (root mean square);")
    share = format_share(error.within / error.intervals) if error.intervals else "none"
    words.append(f"{share} of the 95 % intervals held.")
    return [" ".join(words)]


def _missing_accuracy_note(scale: QualityScale) -> str:
    if scale.by_loss:
        return ""
    return (
        "How the score follows from noise is not known yet: measure three points, or sweep exactly."
    )
