"""The keys of a sweep's answers: one for each question, and cheap for a page that asks again."""

from collections import Counter

import pytest

from analysis import site_encodings
from analysis.sensitivity.questions import question_key, questions_of_sweep
from analysis.sensitivity.sweep import Sweep, View
from analysis.study import Study
from quant.config import uniform_config
from quant.simulation.plan import Site
from tests.sample_networks import sample_network


@pytest.mark.parametrize("view", View)
def test_each_question_has_a_key_of_its_own_and_no_site_is_looked_at_twice(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of 1000 layers took 70 s of processor time: each key described all other layers."""
    seen: Counter[tuple[str, int]] = Counter()
    real = site_encodings._site_at_bits

    def look(site: Site, bits: int) -> Site:
        seen[site.name, bits] += 1
        return real(site, bits)

    network = sample_network("letter-mlp")
    sweep = Sweep(uniform_config(8, 8), view=view)
    encodings = Study(network).site_encodings(sweep.config)
    questions = questions_of_sweep(network, sweep, encodings)
    monkeypatch.setattr(site_encodings, "_site_at_bits", look)
    keys = [question_key(encodings, question) for question in questions]
    assert len(set(keys)) == len(questions) > 10
    assert set(seen.values()) == {1}
    assert [question_key(encodings, question) for question in questions] == keys
    assert set(seen.values()) == {1}
