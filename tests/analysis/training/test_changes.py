"""What a training changed, rates, and arms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.split import ImageChoice, choose_data_split
from analysis.training.arms import CONTROLS, Arm, compare_arms, task_of_arm
from analysis.training.changes import list_encoding_changes, weight_histogram
from analysis.training.divide import divide_training_images
from analysis.training.rate_finder import find_learning_rate, judge_rates
from analysis.training.stored import open_stored_training
from figures import takeaway
from figures.training import changes as figures
from quant.channel_widths import channel_widths_of_config, mean_weight_bits
from quant.progress import drain_steps
from quant.simulation.plan import Side, plan_sites, weight_site_name
from quant.training.methods.neuron_widths import trained_channel_widths
from quant.training.settings import TrainingMethod
from tests.analysis.training.tasks import BRIEF, letters, task, trained


def test_moved_codes_add_up_to_what_the_training_counted() -> None:
    outcome = trained()
    changes = list(list_encoding_changes(outcome.start, outcome.state))
    layers = [layer for layer in letters().graph.layers if layer.weight]
    sizes = {layer.name: torch.Size(layer.weight_shape).numel() for layer in layers}
    moved = {one.layer: one.moved for one in changes if one.side is Side.WEIGHTS}
    total = sum(sizes[name] * (share or 0.0) for name, share in moved.items())
    assert total / sum(sizes.values()) == pytest.approx(outcome.state.record.changed)
    for one in changes:
        encoding = outcome.state.encodings[one.site]
        assert one.after == (float(encoding.low.min()), float(encoding.high.max()))
    figure = figures.encoding_change_figure(changes, Side.WEIGHTS)
    assert "encodings of weights are narrower" in takeaway(figure)
    most = max(share or 0.0 for share in moved.values())
    assert f"{100 * most:.0f} %" in takeaway(figures.moved_codes_figure(changes))


def test_the_histogram_counts_every_weight_in_steps() -> None:
    outcome = trained()
    layer = next(one.name for one in letters().graph.layers if one.weight)
    found = weight_histogram(outcome.start, outcome.state, layer)
    assert found is not None
    assert sum(found.before) == pytest.approx(1)
    assert sum(found.after) == pytest.approx(1)
    encoding = outcome.start.quantized.quantizers[weight_site_name(layer)].encoding
    assert encoding is not None
    target = str(letters().graph[layer].weight)
    weight = letters().graph.stored_tensor(target).detach()
    steps = weight / encoding.scale
    inside = ((steps >= found.edges[20]) & (steps < found.edges[60])).float().mean()
    assert sum(found.before[20:60]) == pytest.approx(float(inside), abs=1e-3)
    assert len(figures.code_histogram_figure(found).data) == 2


def test_the_steepest_fall_is_found_and_a_rise_ends_the_search() -> None:
    found = judge_rates([1e-4, 1e-3, 1e-2, 1e-1], [2.0, 1.9, 0.5, 50.0])
    assert found.steepest == 1e-2
    assert "rate of 0.01" in found.sentence
    assert judge_rates([1e-4, 1e-3], [1.0, 1.5]).steepest is None
    assert "did not fall" in judge_rates([1e-4, 1e-3], [1.0, 1.5]).sentence


def test_the_rate_finder_trains_at_growing_rates_and_stores_nothing(tmp_path: Path) -> None:
    found = drain_steps(find_learning_rate(task(tmp_path)))
    assert len(found.rates) == 40
    assert found.rates[0] == pytest.approx(1e-4)
    assert found.rates[-1] == pytest.approx(1e-1)
    ratios = [b / a for a, b in zip(found.rates, found.rates[1:], strict=False)]
    assert max(ratios) == pytest.approx(min(ratios))
    assert found.steepest is not None
    assert not list(tmp_path.iterdir())
    assert "most steeply" in takeaway(figures.rate_curve_figure(found))


def test_controls_have_the_mean_width_that_the_neurons_learned(tmp_path: Path) -> None:
    brief = replace(BRIEF, steps=2, method=TrainingMethod.NEURON_WIDTHS, rate=0.05)
    given = task(tmp_path, replace(brief, widths=replace(brief.widths, rate=0.2)))
    seen: list[Arm] = []
    steps = compare_arms(given, (Arm.VARIANCE,), lambda one: seen.append(one.arm))
    found = drain_steps(steps)
    assert [one.arm for one in found] == seen == [Arm.WIDTHS, Arm.VARIANCE]
    mean = found[0].mean_bits
    assert mean is not None
    assert 1 < mean < 8
    assert found[1].mean_bits == pytest.approx(mean, abs=0.05)
    assert found[0].arm in figures.arm_figure(found, [("before", 0.5)]).layout.yaxis.ticktext
    stored = open_stored_training(tmp_path, found[0].stored_name)
    widths = channel_widths_of_config(letters().graph, stored.config)
    assert mean_weight_bits(letters().graph, widths) == pytest.approx(mean)
    sites = plan_sites(letters().graph, stored.config)
    batch = next(given.split.score.batches(len(given.split.score)))
    answers = stored.state.simulate_trained(letters().graph, sites)(batch.inputs).argmax(1)
    assert batch.labels is not None
    assert float(answers.eq(batch.labels).float().mean()) == pytest.approx(found[0].score)
    learned = trained_channel_widths(stored.state.encodings, letters().graph)
    for arm in CONTROLS:
        config = task_of_arm(given, arm, learned).config
        widths = channel_widths_of_config(letters().graph, config)
        assert mean_weight_bits(letters().graph, widths) == pytest.approx(mean, abs=0.05), arm


def test_the_float_network_trains_as_long_as_an_arm(tmp_path: Path) -> None:
    (found,) = drain_steps(compare_arms(task(tmp_path), (Arm.FLOAT,)))
    assert found.mean_bits is None
    assert found.score > 0.9
    assert found.agreement > 0.9


def test_arms_differ_in_the_method_alone(tmp_path: Path) -> None:
    given = task(tmp_path)
    ste, blend, straight = (
        task_of_arm(given, arm, {}) for arm in (Arm.LEARNED_STEP, Arm.BLEND, Arm.BLEND_STRAIGHT)
    )
    assert ste.config == blend.config == given.config
    assert ste.settings.steps == straight.settings.steps
    assert blend.settings.blend.gradient != straight.settings.blend.gradient


def test_a_users_images_are_scored_apart_after_a_training(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    path = tmp_path / "rows.npz"
    np.savez(path, inputs=rows, labels=np.zeros(60, np.int64))
    choice = ImageChoice(path, calibration=8, seed=3)
    parts = divide_training_images("mine", letters(), choice)
    held = choose_data_split(
        "mine", letters(), task(tmp_path).config, replace(choice, held_out=True)
    )
    assert held.score.indices == parts.score.indices
    assert held.calibration is not None
    assert set(held.calibration.indices) <= set(parts.train.indices)
    plain = choose_data_split("mine", letters(), task(tmp_path).config, choice)
    assert set(plain.score.indices) & set(parts.train.indices)
