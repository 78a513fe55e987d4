"""The forecast of a training: what it costs, and what a probe says of its gain."""

import mmap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from analysis.evaluation.intervals import paired_interval
from analysis.training.forecast import StepCost, judge_forecast, measure_step_cost
from analysis.training.memory import forget_peak_memory, peak_memory_bytes
from quant.progress import drain_steps
from quant.training.settings import TrainingSettings
from tests.analysis.training.tasks import BRIEF, task


def hits(right: int, count: int = 1000) -> Tensor:
    return torch.arange(count) < right


def test_a_clear_gain_of_the_probe_is_a_gain_and_a_longer_training_may_gain_more() -> None:
    arms = {"quantization without repair": hits(600), "AdaRound": hits(800)}
    found = judge_forecast(arms, hits(880), hits(950), 400)
    assert found.best == "AdaRound"
    shown = paired_interval(80, 0, 1000)
    assert found.gain.low == shown.low > 0
    # 7 points are left to the float network; steps^-1/2 leaves sqrt(50 / 400) of them
    assert found.gain.high == pytest.approx(shown.high + 0.07 * (1 - (50 / 400) ** 0.5))
    assert "expected to gain" in found.forecast_sentence
    assert "over AdaRound" in found.forecast_sentence


def test_what_a_probe_cannot_show_is_said_with_the_number_of_images() -> None:
    found = judge_forecast({"equalization": hits(940)}, hits(942), hits(945), 400)
    assert "cannot be shown to help over equalization with 1000 watched answers" in (
        found.forecast_sentence
    )
    worse = judge_forecast({"equalization": hits(950)}, hits(800), hits(800), 50)
    assert "not expected to gain" in worse.forecast_sentence


def test_a_duration_counts_steps_and_looks() -> None:
    cost = StepCost(0.5, 300 * 2**20, look_seconds=2.0)
    settings = TrainingSettings(steps=100, watch_every=20)
    assert cost.duration_s(settings) == 100 * 0.5 + 7 * 2.0
    assert "1.1 minutes" in cost.duration_sentence(settings)
    assert "300 MiB" in cost.duration_sentence(settings)


def test_three_steps_are_timed_and_their_memory_is_measured(tmp_path: Path) -> None:
    found = drain_steps(measure_step_cost(task(tmp_path, replace(BRIEF, steps=500))))
    assert found.seconds > 0
    assert found.memory_bytes > 50 * 2**20  # of a process that holds torch
    assert not list(tmp_path.iterdir())


def test_the_peak_of_memory_begins_anew() -> None:
    forget_peak_memory()
    before = peak_memory_bytes()
    with mmap.mmap(-1, 64 * 2**20) as held:  # fresh pages: malloc could give freed ones again
        held.write(b"1" * len(held))
    assert peak_memory_bytes() - before > 48 * 2**20
