"""The most harmful layers against the whole sweep."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.runs.run_store import RunStore
from analysis.sensitivity.analyze import analyze_exactly
from analysis.sensitivity.exact.executors import Serial
from analysis.sensitivity.exact.image_chunks import Chunk
from analysis.sensitivity.exact.most_harmful import find_most_harmful, rounds_of_chunks
from analysis.sensitivity.sweep import Sweep, View
from analysis.study import Study
from quant.config import uniform_config
from quant.errors import QuantError
from quant.progress import drain_steps
from quant.simulation.plan import TENSOR_SIDES, Side
from tests.analysis.sweeps import case

WANTED = 2
SWEEP = Sweep(uniform_config(8, 8), bits=(8, 3), sides=TENSOR_SIDES, memory_bytes=20_000)


def study_of(name: str, store: RunStore | None = None) -> Study:
    it = case(name)
    return Study(it.network, it.data, store=store, calibrated=it.calibrated)


@pytest.mark.parametrize("name", ["kitchen", "gated", "attention", "grouped"])
def test_the_layers_are_those_of_the_whole_sweep(name: str) -> None:
    found = drain_steps(find_most_harmful(study_of(name), SWEEP, WANTED, Serial()))
    whole = drain_steps(analyze_exactly(study_of(name), SWEEP, Serial())).scores
    assert [one.side for one in found] == list(TENSOR_SIDES)
    for one in found:
        asked = [s for s in whole if (s.question.side, s.question.bits) == (one.side, 3)]
        worst = sorted(asked, key=lambda score: score.sqnr_db)[:WANTED]
        assert set(one.layers) == {score.question.layer for score in worst}
        assert one.bits == 3
        assert {s.question.layer for s in one.scores} == {s.question.layer for s in asked}


def test_the_answers_are_kept_for_the_whole_sweep(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    first = drain_steps(find_most_harmful(study_of("kitchen", store), SWEEP, WANTED, Serial()))
    again = drain_steps(find_most_harmful(study_of("kitchen", store), SWEEP, WANTED, Serial()))
    assert [one.layers for one in again] == [one.layers for one in first]
    assert sum(one.forwards for one in first) > 0
    assert sum(one.forwards for one in again) == 0
    narrow = replace(SWEEP, bits=(3,))
    rest = drain_steps(analyze_exactly(study_of("kitchen", store), narrow, Serial()))
    alone = drain_steps(analyze_exactly(study_of("kitchen"), narrow, Serial()))
    assert rest.forwards < alone.forwards
    for score, wanted in zip(rest.scores, alone.scores, strict=True):
        assert score.question == wanted.question
        assert score.sqnr_db == pytest.approx(wanted.sqnr_db, abs=1e-6)


def test_stopped_work_is_taken_up(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    steps = find_most_harmful(study_of("kitchen", store), SWEEP, WANTED, Serial())
    for _ in range(6):
        next(steps)
    steps.close()
    rest = drain_steps(find_most_harmful(study_of("kitchen", store), SWEEP, WANTED, Serial()))
    alone = drain_steps(find_most_harmful(study_of("kitchen"), SWEEP, WANTED, Serial()))
    assert [one.layers for one in rest] == [one.layers for one in alone]
    assert sum(one.forwards for one in rest) < sum(one.forwards for one in alone)


def test_rounds_grow_and_hold_every_chunk_once() -> None:
    chunks = [Chunk(str(place), tuple(range(4 * place, 4 * place + 4))) for place in range(20)]
    rounds = rounds_of_chunks(chunks)
    assert [chunk for part in rounds for chunk in part] == chunks
    assert [4 * len(part) for part in rounds] == [8, 4, 4, 4, 8, 8, 12, 12, 16, 4]


@pytest.mark.parametrize(
    ("sweep", "wanted", "sentence"),
    [
        (replace(SWEEP, view=View.ALL_BUT), 2, "one layer alone is quantized"),
        (replace(SWEEP, sides=(Side.WEIGHTS,)), 0, "must number 1 or more; got 0"),
    ],
)
def test_questions_without_an_answer_are_refused(sweep: Sweep, wanted: int, sentence: str) -> None:
    with pytest.raises(QuantError, match=sentence):
        drain_steps(find_most_harmful(study_of("kitchen"), sweep, wanted, Serial()))
