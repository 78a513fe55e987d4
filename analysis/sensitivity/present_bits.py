"""What each layer alone loses at the bits of a configuration, as far as a sensitivity knows."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.sensitivity.ranking import (
    HarmMetric,
    describes_return_to_float,
    fewest_harmful_layers,
    value_in_metric,
)
from analysis.sensitivity.sweep import CellScore, Depth, Sensitivity
from quant.config import LayerConfig
from quant.simulation.plan import Side


@dataclass(frozen=True, slots=True)
class PresentLayerLoss:
    """What one layer alone loses, by its weight and by its activation, in the unit of the metric.

    A side is None where it stays float, or where nothing is known at its bits.
    """

    layer: str
    weights: float | None
    activations: float | None

    @property
    def total(self) -> float:
        """The loss of both sides together."""
        return (self.weights or 0.0) + (self.activations or 0.0)


@dataclass(frozen=True, slots=True)
class PresentLoss:
    """The losses of layers at the present bits, the largest first.

    Attributes:
        metric: points of accuracy, points of answers that change, or the KL divergence in nats.
        layers: every layer of which something is known.
        unknown: how many quantized tensors are not known at their bits.
    """

    metric: HarmMetric
    layers: tuple[PresentLayerLoss, ...]
    unknown: int

    @property
    def total(self) -> float:
        """The sum over layers; a layer that gains counts as none."""
        return sum(max(one.total, 0.0) for one in self.layers)

    @property
    def worst(self) -> list[str]:
        """The fewest layers that lose most; empty where nothing is lost."""
        return fewest_harmful_layers({one.layer: one.total for one in self.layers})


def loss_at_present_bits(
    found: Sensitivity, chosen: Mapping[str, LayerConfig]
) -> PresentLoss | None:
    """Return what each layer alone loses at its bits in `chosen`, the largest loss first.

    A loss is in points of accuracy where each known score has one, else in points of answers that
    change, else the KL divergence in nats, which screening predicts.
    None without scores at the output: the noise of a tensor by itself is no loss.
    """
    if found.depth is Depth.INSTANT or describes_return_to_float(found):
        return None
    cells = {(s.question.layer, s.question.side, s.question.bits): s for s in found.scores}
    wanted = {
        (name, side): cells.get((name, side, bits))
        for name, config in chosen.items()
        for side, bits in _present_bits(config)
        if any(key[:2] == (name, side) for key in cells)
    }
    known = [score for score in wanted.values() if score is not None]
    metric = next(
        (m for m in _METRICS if known and all(_loss_of_score(s, m) is not None for s in known)),
        None,
    )
    if metric is None:
        return None
    layers = [
        PresentLayerLoss(
            name,
            _known_loss(wanted.get((name, Side.WEIGHTS)), metric),
            _known_loss(wanted.get((name, Side.ACTIVATIONS)), metric),
        )
        for name in dict.fromkeys(name for name, _ in wanted)
    ]
    ranked = tuple(sorted(layers, key=lambda one: -one.total))
    return PresentLoss(metric, ranked, sum(score is None for score in wanted.values()))


_METRICS = (HarmMetric.ACCURACY, HarmMetric.AGREEMENT, HarmMetric.KL)


def _present_bits(config: LayerConfig) -> list[tuple[Side, int]]:
    """Return the sides that are quantized, with their bits."""
    sides = ((Side.WEIGHTS, config.weight), (Side.ACTIVATIONS, config.activation))
    return [(side, spec.bits) for side, spec in sides if not spec.is_float]


def _loss_of_score(score: CellScore, metric: HarmMetric) -> float | None:
    """Return the loss: for agreement, the points of answers that are not those of float."""
    value = value_in_metric(score, metric)
    if value is None or metric is not HarmMetric.AGREEMENT:
        return value
    return 100 - value


def _known_loss(score: CellScore | None, metric: HarmMetric) -> float | None:
    return None if score is None else _loss_of_score(score, metric)
