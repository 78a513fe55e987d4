"""The loss of each layer alone at the bits of a configuration, from a sensitivity."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

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
    """The loss of one layer alone, by weight and by activation, in the unit of the metric.

    A side is None for a float side, or for unknown bits.
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
        metric: points of accuracy, points of changed answers, or the KL divergence in nats.
        expected: whether points are expected from screened KL divergences, not measured.
        layers: the layers with a known loss.
        unknown: number of quantized tensors without a known loss at the present bits.
    """

    metric: HarmMetric
    layers: tuple[PresentLayerLoss, ...]
    unknown: int
    expected: bool = False

    @property
    def total(self) -> float:
        """The sum over layers; a gain counts as zero."""
        return sum(max(one.total, 0.0) for one in self.layers)

    @property
    def worst(self) -> list[str]:
        """The fewest layers with the largest losses; empty without a loss."""
        return fewest_harmful_layers({one.layer: one.total for one in self.layers})


def loss_at_present_bits(
    found: Sensitivity,
    chosen: Mapping[str, LayerConfig],
    loss_of_kl: Callable[[float], float] | None = None,
) -> PresentLoss | None:
    """Return the loss of each layer alone at the bits in `chosen`, the largest loss first.

    A loss is in points of accuracy if every known score has an accuracy, else in points of changed
    answers, else the KL divergence in nats, predicted by screening; with `loss_of_kl`, the expected
    loss in points from the divergence. The result is None without scores at the output: the noise
    of a tensor alone is no loss.
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
    expected = loss_of_kl if metric is HarmMetric.KL else None
    layers = [
        _loss_of_layer(
            name,
            [wanted.get((name, side)) for side in (Side.WEIGHTS, Side.ACTIVATIONS)],
            metric,
            expected,
            _most_points(found, metric),
        )
        for name in dict.fromkeys(name for name, _ in wanted)
    ]
    ranked = tuple(sorted(layers, key=lambda one: -one.total))
    unknown = sum(score is None for score in wanted.values())
    told = metric if expected is None else _points_metric(found)
    return PresentLoss(told, ranked, unknown, expected is not None)


def _points_metric(found: Sensitivity) -> HarmMetric:
    """Return the metric of expected points: of accuracy, without labels of changed answers."""
    return HarmMetric.AGREEMENT if found.float_top1 is None else HarmMetric.ACCURACY


_METRICS = (HarmMetric.TASK, HarmMetric.ACCURACY, HarmMetric.AGREEMENT, HarmMetric.KL)


def _present_bits(config: LayerConfig) -> list[tuple[Side, int]]:
    """Return the quantized sides with the bits."""
    sides = ((Side.WEIGHTS, config.weight), (Side.ACTIVATIONS, config.activation))
    return [(side, spec.bits) for side, spec in sides if not spec.is_float]


def _loss_of_score(score: CellScore, metric: HarmMetric) -> float | None:
    """Return the loss; for agreement, the points of answers that differ from float."""
    value = value_in_metric(score, metric)
    if value is None or metric is not HarmMetric.AGREEMENT:
        return value
    return 100 - value


def _most_points(found: Sensitivity, metric: HarmMetric) -> float:
    """Return the most points that can be lost: no network loses more than float has."""
    if metric is HarmMetric.ACCURACY and found.float_top1 is not None:
        return 100 * found.float_top1
    return 100.0 if metric is HarmMetric.AGREEMENT else inf


def _loss_of_layer(
    name: str,
    scores: Sequence[CellScore | None],
    metric: HarmMetric,
    expected: Callable[[float], float] | None,
    most: float,
) -> PresentLayerLoss:
    """Return the loss of a layer from the scores of weight and activation.

    With `expected`, the loss is in points from KL divergences. Each side alone may lose all that
    there is to lose; both together lose no more, and the parts then shrink in proportion. With 90
    points to lose, 80 and 60 become 51.4 and 38.6.
    """
    sides = [None if one is None else _loss_of_score(one, metric) for one in scores]
    if expected is not None:
        harms = [None if one is None else max(one, 0.0) for one in sides]
        sides = [None if harm is None else 100 * expected(harm) for harm in harms]
        most = 100 * expected(sum(harm for harm in harms if harm is not None))
    total = sum(one for one in sides if one is not None)
    shrink = most / total if total > most > 0 else 1.0
    weights, activations = (None if one is None else shrink * one for one in sides)
    return PresentLayerLoss(name, weights, activations)
