"""One unit of a sweep, and the rows that it leaves for each image."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.evaluation.intervals import paired_interval, proportion_interval
from analysis.evaluation.per_image import (
    MIN_IMAGES,
    ROW,
    UNKNOWN,
    compare_image_outputs,
    describe_float_outputs,
    rows_from_bytes,
    rows_to_bytes,
    sqnr_interval,
    summarize_rows,
)
from analysis.sensitivity.exact.work_unit import ChunkQuestion, Outcome, Unit, _Work, run_work_unit
from analysis.site_encodings import SiteEncodings
from quant.config import uniform_config
from quant.simulation.plan import Side
from tests.analysis.sweeps import case

ROOMY = 2**30


def unit(encodings: SiteEncodings, memory_bytes: int = ROOMY) -> Unit:
    """All layers of the net named kitchen, weights alone at 3 bits, on all its images."""
    inputs, labels = case("kitchen").data.source.read(range(12))
    names = [layer.name for layer in encodings.network.graph.layers if layer.weight]
    trials = tuple(
        ChunkQuestion(
            name, on=encodings.encodings_at_bits(encodings.site_names(name, Side.WEIGHTS), 3)
        )
        for name in names
    )
    return Unit("chunk", inputs, labels, {}, trials, "float", memory_bytes=memory_bytes)


@pytest.fixture
def encodings() -> SiteEncodings:
    it = case("kitchen")
    return SiteEncodings(it.network, it.calibrated, uniform_config(8, 8))


def by_key(outcomes: list[Outcome]) -> dict[str, bytes]:
    return {outcome.key: rows_to_bytes(outcome.rows) for outcome in outcomes}


@pytest.mark.parametrize("images", [0, 1, 3, 5, 12])
def test_what_is_kept_stays_within_the_bound_and_changes_no_bit(
    encodings: SiteEncodings, images: int
) -> None:
    program = encodings.program
    bound = images * program.checkpoint_bytes(range(len(program)))
    tight = unit(encodings, bound)
    kept = _Work(program, tight)._affordable_positions()
    assert program.checkpoint_bytes(kept) * len(tight.inputs) <= bound
    found, roomy = (
        list(run_work_unit(program, tight)),
        list(run_work_unit(program, unit(encodings))),
    )
    assert by_key(found) == by_key(roomy)
    most = len(_Work(program, unit(encodings))._affordable_positions())
    # what is not kept runs a second time, up to a whole forward
    extra = sum(o.macs for o in found) - sum(o.macs for o in roomy)
    assert (extra > 0) == (len(kept) < most)
    assert extra <= 12 * program.macs_between(0, len(program))


def test_a_known_reference_saves_a_forward(encodings: SiteEncodings) -> None:
    full = unit(encodings)
    first, *rest = run_work_unit(encodings.program, full)
    assert first.key == "float"
    assert first.reference is not None
    again = list(run_work_unit(encodings.program, replace(full, reference=first.reference)))
    assert by_key(again) == by_key(rest)


def test_units_and_outcomes_travel(encodings: SiteEncodings) -> None:
    sent: Unit = pickle.loads(pickle.dumps(unit(encodings)))
    found: list[Outcome] = pickle.loads(pickle.dumps(list(run_work_unit(encodings.program, sent))))
    assert by_key(found) == by_key(list(run_work_unit(encodings.program, unit(encodings))))


def test_rows_by_hand() -> None:
    reference = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    output = torch.tensor([[2.0, 3.0], [0.0, 1.0]])
    rows = compare_image_outputs(reference, output, torch.tensor([0, 0]))
    assert rows["energy"].tolist() == [9.0, 0.0]
    assert rows["agrees"].tolist() == [0, 1]
    assert rows["right"].tolist() == [0, 0]
    p, q = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))
    kl = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert rows["kl"].tolist() == pytest.approx([kl, 0.0])
    assert rows["cross_entropy"].tolist() == pytest.approx([math.log(p / q), 0.0])
    alone = describe_float_outputs(reference, torch.tensor([0, 0]))
    assert alone["energy"].tolist() == [4.0, 1.0]
    assert alone["right"].tolist() == [1, 0]
    assert alone["cross_entropy"].tolist() == pytest.approx([-math.log(p), math.log1p(math.e)])
    assert rows_from_bytes(rows_to_bytes(rows)).tolist() == rows.tolist()


def test_outputs_of_other_forms_have_no_classes() -> None:
    reference = torch.randn(3, 4, 2, 2)
    output = reference.clone()
    output[1] *= -1
    rows = compare_image_outputs(reference, output, torch.zeros(3, dtype=torch.long))
    assert (rows["agrees"] == UNKNOWN).all()
    assert np.isnan(rows["kl"]).all()
    assert (rows["right"] == UNKNOWN).all()
    single = compare_image_outputs(torch.zeros(3), torch.ones(3), None)
    assert single["energy"].tolist() == [1.0, 1.0, 1.0]


def test_several_outputs_count_alike_whatever_their_units_are() -> None:
    """Noise of 1 % of the energy of one and of 3 % of the other make 2 %: 17 dB."""
    first, second = torch.randn(5, 4), 1000 * torch.randn(5, 6)
    noisy = first * 1.1, second * (1 + 0.03**0.5)
    reference = describe_float_outputs((first, second), None)
    rows = compare_image_outputs((first, second), noisy, None)
    assert reference["energy"].shape == rows["energy"].shape == (5, 2)
    found = summarize_rows(
        rows_from_bytes(rows_to_bytes(reference), 2), rows_from_bytes(rows_to_bytes(rows), 2)
    )
    assert found.sqnr_db == pytest.approx(-10 * math.log10(0.02))
    alone = summarize_rows(
        describe_float_outputs(first, None), compare_image_outputs(first, noisy[0], None)
    )
    assert (found.agreement, found.kl) == (alone.agreement, alone.kl)
    assert found.sqnr_ci95 is not None
    assert found.sqnr_ci95.low <= found.sqnr_db <= found.sqnr_ci95.high


def test_an_output_of_zeros_says_nothing() -> None:
    first, zeros = torch.randn(5, 4), torch.zeros(5, 3)
    rows = compare_image_outputs((first, zeros), (first * 1.1, zeros), None)
    found = summarize_rows(describe_float_outputs((first, zeros), None), rows)
    assert found.sqnr_db == pytest.approx(20.0)
    silent = describe_float_outputs((zeros, zeros), None)
    assert summarize_rows(silent, silent).sqnr_db == math.inf


def test_figures_by_hand() -> None:
    reference, rows = np.zeros(8, ROW), np.zeros(8, ROW)
    reference["energy"], rows["energy"] = 10.0, 1.0
    rows["agrees"] = [1, 1, 1, 1, 1, 1, 0, 0]
    reference["right"] = [1, 1, 1, 1, 1, 0, 1, 1]
    rows["right"] = [1, 1, 1, 1, 1, 1, 0, 0]
    found = summarize_rows(reference, rows)
    assert found.images == 8
    assert found.sqnr_db == pytest.approx(10.0)
    assert found.agreement == 6 / 8
    assert found.agreement_ci95 == proportion_interval(6, 8)
    assert found.accuracy_drop == 1 / 8
    assert found.accuracy_drop_ci95 == paired_interval(2, 1, 8)
    assert found.sqnr_ci95 is not None
    assert found.sqnr_ci95.low == pytest.approx(10.0)
    assert found.sqnr_ci95.high == pytest.approx(10.0)
    rows["right"] = UNKNOWN
    assert summarize_rows(reference, rows).accuracy_drop is None


def test_without_noise_the_interval_is_infinite_and_of_few_images_there_is_none() -> None:
    found = sqnr_interval(np.ones(8), np.zeros(8))
    assert found is not None
    assert found.low == found.high == math.inf
    assert sqnr_interval(np.ones(MIN_IMAGES - 1), np.ones(MIN_IMAGES - 1)) is None


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    truth, hits, trials = 10 * math.log10(2.0), 0, 300
    for _ in range(trials):
        found = sqnr_interval(generator.gamma(4, 0.5, 60), generator.gamma(2, 0.5, 60))
        assert found is not None
        hits += found.low <= truth <= found.high
    assert 0.90 < hits / trials < 0.99
