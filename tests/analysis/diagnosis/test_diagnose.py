"""Suspect cards: numbers against an oracle, the repairs that follow, and what they do."""

import re
from functools import cache

import pytest
import torch

from analysis.calibration import Calibrated, calibrate_network
from analysis.diagnosis.diagnose import (
    SuspectCard,
    build_suspect_card,
    change_layer_encoding,
    question_config,
)
from analysis.diagnosis.remedies import CORRECT, PER_CHANNEL, ROUND, Remedy, more_bits_remedy
from analysis.diagnosis.try_remedy import (
    RemedyTrial,
    remedy_verdict,
    single_layer_config,
    try_layer_remedy,
)
from analysis.evaluation.measures import sqnr_db
from analysis.network import Network
from analysis.ranges.findings import Cause
from analysis.ranges.tensors import RangeBook, open_range_book
from analysis.sensitivity.analyze import analyze_sensitivity
from analysis.sensitivity.sweep import Depth, Question, Sweep
from analysis.study import Study
from data_io.bundled import fashion_test_set, fashion_train_part
from data_io.dataset import Dataset
from quant.config import QuantConfig, uniform_config
from quant.errors import QuantError
from quant.graph.layer_pairs import find_layer_pairs
from quant.progress import drain_steps
from quant.ranges.estimators import encode_weight
from quant.simulation.plan import Side, plan_sites
from quant.spec import Granularity, SpecChange
from tests.analysis.diagnosis.head.yolo_network import yolo_study
from tests.sample_networks import sample_network

CONFIG = uniform_config(8, 8, Granularity.PER_TENSOR)
DEPTHWISE = Question("blocks.1.depthwise.0", 8, Side.WEIGHTS)


def network() -> Network:
    return sample_network("fashion-mobilenet-imbalanced")


@cache
def scored() -> Dataset:
    return fashion_test_set().sample(64)


@cache
def seen() -> Dataset:
    return fashion_train_part().sample(32)


@cache
def calibrated() -> Calibrated:
    return drain_steps(calibrate_network(network(), seen()))


@cache
def book() -> RangeBook:
    return open_range_book(network().graph, calibrated())


@cache
def card(question: Question = DEPTHWISE, config: QuantConfig = CONFIG) -> SuspectCard:
    return build_suspect_card(book(), config, question, find_layer_pairs(network().graph)[0])


def titles(found: SuspectCard) -> list[str]:
    return [remedy.title for remedy in found.remedies]


def value(found: SuspectCard, start: str) -> float:
    (row,) = (item for item in found.evidence if item.name.startswith(start))
    return float(row.value.split()[0])


@cache
def tried(question: Question, remedy: Remedy, config: QuantConfig = CONFIG) -> RemedyTrial:
    return drain_steps(
        try_layer_remedy(
            Study(network(), scored(), seen(), calibrated=calibrated()), config, question, remedy
        )
    )


def test_the_numbers_are_those_of_the_weight_on_its_grid() -> None:
    graph = network().graph
    weight = graph.stored_tensor(str(graph[DEPTHWISE.layer].weight)).detach()
    encoding = encode_weight(weight, CONFIG.default.weight, 0)
    expected = sqnr_db(weight, encoding.fake_quantize(weight))
    assert value(card(), "Weight: SQNR at 8 bits") == pytest.approx(expected, abs=0.051)
    largest = weight.abs().flatten(1).amax(1)
    alive = largest[largest > 1e-6 * largest.max()]
    middle = float(torch.quantile(alive.double(), 0.5))
    ratio = float(alive.max()) / middle
    assert value(card(), "Weight: widest / median channel") == pytest.approx(ratio, abs=0.051)
    assert value(card(), "Weights per channel") == 9
    assert all(row.limit for row in card().evidence)


def test_causes_stand_costliest_first_and_each_suspect_number_is_marked() -> None:
    causes = [finding.cause for finding in card().causes]
    assert causes[0] is Cause.CHANNELS
    assert causes[-1] is Cause.FEW_WEIGHTS
    lost = [finding.bits_lost for finding in card().causes]
    assert lost == sorted(lost, reverse=True)
    marked = {row.name for row in card().evidence if row.suspect}
    assert {"Weights per channel", "Weight: widest / median channel"} <= marked


def test_channels_that_differ_ask_for_equalization_then_for_scales_of_their_own() -> None:
    assert titles(card())[:2] == ["Equalize across layers", PER_CHANNEL.title]
    assert "blocks.1.expand.0 and blocks.1.project.0" in card().remedies[0].why
    assert titles(card())[-1] == "16 bits for this layer"
    alone = build_suspect_card(book(), CONFIG, DEPTHWISE)
    assert "Equalize across layers" not in titles(alone)


def test_what_has_its_own_scales_is_not_offered_them_again() -> None:
    config = change_layer_encoding(book(), CONFIG, DEPTHWISE, PER_CHANNEL.weight, None)
    assert PER_CHANNEL.title not in titles(card(DEPTHWISE, config))


def test_where_no_cause_has_a_repair_of_its_own_rounding_bias_and_bits_are_left() -> None:
    found = card(Question("classifier", 8, Side.WEIGHTS), uniform_config(8, 8))
    assert {finding.cause for finding in found.causes} <= {Cause.OUTLIERS}
    assert titles(found) == [CORRECT.title, ROUND.title, "16 bits for this layer"]


def test_both_sides_are_judged_together() -> None:
    found = card(Question(DEPTHWISE.layer, 8, Side.BOTH))
    names = {row.name.partition(":")[0] for row in found.evidence}
    assert names == {"Weight", "Activation", "Weights per channel"}


def test_without_calibration_activations_are_not_judged() -> None:
    bare = open_range_book(network().graph, None)
    found = build_suspect_card(bare, CONFIG, Question("pool", 8, Side.ACTIVATIONS))
    assert not found.causes
    assert not found.evidence


def test_the_next_width_that_is_worth_trying() -> None:
    wider = {bits: more_bits_remedy(Question("x", bits, Side.BOTH)) for bits in (2, 4, 8, 16)}
    assert [w and w.weight and w.weight.bits for w in wider.values()] == [4, 6, 16, None]
    only = more_bits_remedy(Question("x", 4, Side.ACTIVATIONS))
    assert only is not None
    assert only.weight is None


def test_the_grid_of_an_average_pool_is_changed_where_it_is_chosen() -> None:
    question = Question("pool", 5, Side.ACTIVATIONS)
    config = question_config(book(), CONFIG, question)
    (rule,) = config.rules
    assert rule.select == "head.0"
    bits = {
        s.layer: s.spec.bits
        for s in plan_sites(network().graph, config)
        if s.side is Side.ACTIVATIONS
    }
    assert (bits["pool"], bits["head.0"], bits["stem.0"]) == (5, 5, 8)


def test_alone_means_that_all_else_is_float() -> None:
    solo = single_layer_config(book(), question_config(book(), CONFIG, DEPTHWISE), DEPTHWISE)
    encodings = [site for site in plan_sites(network().graph, solo) if not site.spec.is_float]
    assert [(site.layer, site.side) for site in encodings] == [(DEPTHWISE.layer, Side.WEIGHTS)]
    assert encodings[0].spec == CONFIG.default.weight


def test_a_trial_begins_where_the_exact_sweep_stands() -> None:
    """Its score before any repair is the sweep's answer to the same question."""
    sweep = Sweep(CONFIG, (8,), (Side.WEIGHTS,), layers=(DEPTHWISE.layer,))
    (score,) = drain_steps(
        analyze_sensitivity(Study(network(), scored(), calibrated=calibrated()), sweep, Depth.EXACT)
    ).scores
    before = tried(DEPTHWISE, PER_CHANNEL).alone_before
    assert before.top1_drop == pytest.approx(score.accuracy_drop)
    assert before.agreement == pytest.approx(score.agreement)
    assert before.sqnr_db == pytest.approx(score.sqnr_db, abs=0.05)


def test_scales_of_their_own_and_equalization_heal_the_depthwise_layer() -> None:
    for remedy in card().remedies[:2]:
        trial = tried(DEPTHWISE, remedy)
        assert trial.alone_after.sqnr_db > trial.alone_before.sqnr_db + 15
        assert trial.image_count == 64
    equalized = tried(DEPTHWISE, card().remedies[0])
    assert equalized.whole_before is not None
    assert equalized.whole_after is not None
    assert equalized.whole_after.sqnr_db > equalized.whole_before.sqnr_db + 15
    assert "In the whole network" in remedy_verdict(equalized)[1]
    assert remedy_verdict(equalized)[1].endswith("(better).")


def test_adaround_is_tried_on_the_layer_alone() -> None:
    trial = tried(Question("head.0", 4, Side.WEIGHTS), ROUND, uniform_config(8, 8))
    assert trial.whole_after is None
    assert len(remedy_verdict(trial)) == 1
    assert trial.alone_after.sqnr_db > trial.alone_before.sqnr_db


def test_more_bits_are_tried_on_the_side_in_question_alone() -> None:
    question = Question("head.0", 4, Side.ACTIVATIONS)
    remedy = more_bits_remedy(question)
    assert remedy is not None
    assert remedy.weight is None
    trial = tried(question, remedy)
    assert trial.alone_after.sqnr_db > trial.alone_before.sqnr_db + 3


def test_a_repair_that_learns_from_images_says_when_there_are_none() -> None:
    study = Study(network(), scored(), calibrated=calibrated())
    steps = try_layer_remedy(study, CONFIG, DEPTHWISE, CORRECT)
    with pytest.raises(QuantError, match="Choose data first"):
        drain_steps(steps)


def test_a_change_that_does_nothing_is_called_no_difference() -> None:
    same = Remedy("Nothing", "", weight=SpecChange(bits=8))
    assert all(line.endswith("(no difference).") for line in remedy_verdict(tried(DEPTHWISE, same)))


def test_a_repair_of_a_detector_is_told_in_the_metric_of_its_task() -> None:
    study = yolo_study()
    (last, *_) = [layer.name for layer in study.network.graph.layers if layer.weight is not None]
    remedy = more_bits_remedy(Question(last, 2, Side.WEIGHTS))
    assert remedy is not None
    steps = try_layer_remedy(study, CONFIG, Question(last, 2, Side.WEIGHTS), remedy)
    trial = drain_steps(steps)
    assert trial.alone_after.metric is not None
    assert trial.alone_after.metric.name == "mAP"
    lines = remedy_verdict(trial)
    assert all(re.search(r" dB, mAP \d+\.\d → \d+\.\d % \(", line) for line in lines)
    assert "agreement" not in " ".join(lines)
