"""The loss of each layer alone at the bits of a configuration, in points also from screening."""

from collections.abc import Mapping

from analysis.prediction.predictor import predictor_from_sweep
from analysis.sensitivity.present_bits import PresentLoss, loss_at_present_bits
from analysis.sensitivity.sweep import Sensitivity
from quant.config import LayerConfig


def expected_present_loss(
    found: Sensitivity, chosen: Mapping[str, LayerConfig], chance: float
) -> PresentLoss | None:
    """Return the loss of each layer alone at the bits in `chosen`, measured or expected.

    `chance` is the share of answers that guessing gets right. None without scores at the output.
    """
    predictor = predictor_from_sweep(found, chance)
    return loss_at_present_bits(found, chosen, predictor.loss_at_divergence)
