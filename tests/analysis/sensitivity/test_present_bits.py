"""What layers lose at the present bits, by hand."""

from dataclasses import replace

import pytest

from analysis.prediction.predictor import predictor_from_sweep
from analysis.sensitivity.present_bits import (
    PresentLayerLoss,
    PresentLoss,
    loss_at_present_bits,
)
from analysis.sensitivity.ranking import HarmMetric
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep, View
from figures.sensitivity.present_bits import present_loss_bars, present_loss_sentence
from quant.config import LayerConfig, uniform_config
from quant.simulation.plan import Side

CONFIG = uniform_config(8, 8)


def score(layer: str, side: Side, bits: int, drop: float | None, agreement: float) -> CellScore:
    question = Question(layer, bits, side)
    return CellScore(question, Depth.EXACT, 10, 20.0, accuracy_drop=drop, agreement=agreement)


def sensitivity(*scores: CellScore) -> Sensitivity:
    sweep = Sweep(CONFIG, (8, 4), (Side.WEIGHTS, Side.ACTIVATIONS))
    return Sensitivity(sweep, Depth.EXACT, 10, 0.9, tuple(scores))


def chosen(**bits: tuple[int, int]) -> dict[str, LayerConfig]:
    default = CONFIG.default
    return {
        name: LayerConfig(
            replace(default.weight, bits=weight), replace(default.activation, bits=activation)
        )
        for name, (weight, activation) in bits.items()
    }


FOUND = sensitivity(
    score("a", Side.WEIGHTS, 4, 0.02, 0.9),
    score("a", Side.WEIGHTS, 8, 0.001, 0.99),
    score("a", Side.ACTIVATIONS, 8, 0.01, 0.97),
    score("b", Side.WEIGHTS, 8, 0.05, 0.8),
    score("b", Side.ACTIVATIONS, 4, 0.5, 0.4),
)


def test_the_bits_of_each_layer_decide() -> None:
    loss = loss_at_present_bits(FOUND, chosen(a=(4, 8), b=(8, 8)))
    assert loss is not None
    assert loss.metric is HarmMetric.ACCURACY
    # b: 5 points by its weight, its activation unknown at 8 bits; a: 2 + 1 points
    found = {one.layer: (one.weights, one.activations, one.total) for one in loss.layers}
    assert found == {"b": (5.0, None, 5.0), "a": (2.0, 1.0, 3.0)}
    assert [one.layer for one in loss.layers] == ["b", "a"]
    assert loss.unknown == 1
    assert loss.worst == ["b", "a"]  # 5 of 8 points are less than 80 %


def test_without_labels_answers_that_change_are_counted() -> None:
    bare = [replace(s, accuracy_drop=None) for s in FOUND.scores]
    loss = loss_at_present_bits(sensitivity(*bare), chosen(a=(8, 8)))
    assert loss is not None
    assert loss.metric is HarmMetric.AGREEMENT
    assert abs(loss.layers[0].total - 4.0) < 1e-9  # 1 and 3 of 100 answers


def test_screening_predicts_a_divergence() -> None:
    screened = [
        CellScore(Question("a", 8, Side.WEIGHTS), Depth.SCREENING, 10, 30.0, kl=0.03),
        CellScore(Question("b", 8, Side.WEIGHTS), Depth.SCREENING, 10, 40.0, kl=0.01),
    ]
    loss = loss_at_present_bits(
        replace(sensitivity(*screened), depth=Depth.SCREENING), chosen(a=(8, 8), b=(8, 8))
    )
    assert loss is not None
    assert loss.metric is HarmMetric.KL
    assert loss.total == 0.04
    assert present_loss_sentence(loss, "W8A8") == (
        "Two of 2 layers make most of the predicted divergence at W8A8, a first: 75 % alone"
    )
    assert len(present_loss_bars(loss, "W8A8").data) == 2


def test_a_float_side_loses_nothing_and_no_score_is_no_verdict() -> None:
    loss = loss_at_present_bits(FOUND, chosen(b=(32, 8)))
    assert loss is None
    assert loss_at_present_bits(replace(FOUND, depth=Depth.INSTANT), chosen(a=(8, 8))) is None
    other = replace(FOUND, sweep=replace(FOUND.sweep, view=View.ALL_BUT))
    assert loss_at_present_bits(other, chosen(a=(8, 8))) is None


def test_screened_divergences_are_told_as_expected_points() -> None:
    scores = [
        replace(s, accuracy_drop=None, agreement=None, kl=kl, depth=Depth.SCREENING)
        for s, kl in zip(FOUND.scores, (0.1, 0.02, 0.0, 0.4, 0.2), strict=True)
    ]
    found = replace(sensitivity(*scores), depth=Depth.SCREENING)
    predictor = predictor_from_sweep(found, 0.1)
    loss = loss_at_present_bits(found, chosen(a=(4, 8), b=(8, 4)), predictor.loss_at_divergence)
    assert loss is not None
    assert (loss.metric, loss.expected) == (HarmMetric.ACCURACY, True)
    assert [one.layer for one in loss.layers] == ["b", "a"]
    (_, weak) = loss.layers
    assert weak.weights == 100 * predictor.loss_at_divergence(0.1)
    assert 0 < weak.weights < 80
    assert weak.activations == 0.0
    sentence = present_loss_sentence(loss, "W8A8")
    assert sentence.startswith("b is expected to lose most of the accuracy at W8A8: ")
    assert sentence.endswith(" points alone")


def test_an_even_loss_is_told_as_such() -> None:
    """That 81 of 139 layers "lose most" tells nobody where to look."""
    layers = tuple(PresentLayerLoss(f"l{n}", 0.1, 0.0) for n in range(139))
    loss = PresentLoss(HarmMetric.ACCURACY, layers, 0, expected=True)
    assert present_loss_sentence(loss, "W8A8") == (
        "No few layers stand out at W8A8: l0 is expected to lose most accuracy, 0.1 points alone"
    )
    first = PresentLayerLoss("stem", 3.0, 0.0)
    assert present_loss_sentence(replace(loss, layers=(first, *layers)), "W8A8") == (
        "stem is expected to lose most accuracy at W8A8: 3.0 points alone"
    )


def test_a_layer_loses_no_more_than_there_is_to_lose() -> None:
    """Weights and activations of one layer, each near chance alone, do not lose 140 points."""
    found = sensitivity(
        score("a", Side.WEIGHTS, 8, 0.8, 0.1), score("a", Side.ACTIVATIONS, 8, 0.6, 0.3)
    )
    loss = loss_at_present_bits(found, chosen(a=(8, 8)))
    assert loss is not None
    assert loss.layers[0].total == pytest.approx(90)  # float is right on 90 %
    assert loss.layers[0].weights == pytest.approx(90 * 8 / 14)
    screened = [
        replace(s, accuracy_drop=None, agreement=None, kl=3.0, depth=Depth.SCREENING)
        for s in found.scores
    ]
    quick = replace(sensitivity(*screened), depth=Depth.SCREENING)
    curve = predictor_from_sweep(quick, 0.1).loss_at_divergence
    loss = loss_at_present_bits(quick, chosen(a=(8, 8)), curve)
    assert loss is not None
    assert loss.layers[0].total == pytest.approx(100 * curve(6.0))
    assert loss.layers[0].total <= 80, "from 90 % down to chance, 10 %"
