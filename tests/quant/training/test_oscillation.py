"""Oscillating weights: followed, dampened, frozen."""

from dataclasses import replace

import torch

from quant.training.methods.learned_step import LearnedStep
from quant.training.oscillation import MOMENTUM, Oscillation
from quant.training.settings import TrainingSettings
from quant.training.trainable import make_trainable
from tests.quant.training.problems import accuracy, problem
from tests.quant.training.test_train import learn, rebuilt

BRIEF = TrainingSettings(steps=30, batch=64, watch_every=15)


def test_a_weight_that_jumps_to_and_fro_is_counted_and_frozen_at_its_mean() -> None:
    given = problem()
    settings = replace(BRIEF, freeze_oscillating=1.5 * MOMENTUM)
    follower = Oscillation(settings)
    with make_trainable(given.quantized(), LearnedStep(settings)) as network, torch.no_grad():
        follower.begin_history(network)
        name, weight, encoding = next(network.weights_with_encodings())
        layer = follower.layers[name]
        step = float(encoding.scale.flatten()[0])
        start = float(weight[0, 0, 0, 0])
        for turn in range(4):  # -1, 1, -1, 1: three jumps back
            weight[0, 0, 0, 0] = 0.0 if turn % 2 else -step
            follower.finish_step(network)
        assert float(layer.frequency.flatten()[0]) > 1.5 * MOMENTUM
        assert float(layer.frozen.sum()) == 1.0
        assert follower.oscillating_share() == 1 / sum(
            one.codes.numel() for one in follower.layers.values()
        )
        weight[0, 0, 0, 0] = start + step
        follower.finish_step(network)
        held = float(encoding.dequantize(layer.average.round()).flatten()[0])
        assert float(weight[0, 0, 0, 0]) == held


def test_dampening_brings_weights_nearer_to_their_grid_and_they_still_learn() -> None:
    given = problem()
    apart = {}
    for dampening in (0.0, 5.0):
        state = learn(given, replace(BRIEF, dampening=dampening))
        quantized = rebuilt(given, state)
        errors = []
        for site in quantized.sites:
            encoding = quantized.quantizers[site.name].encoding
            if site.name.endswith("weight") and encoding is not None:
                weight = state.tensors[f"{site.name.removesuffix(' weight')}.weight"]
                errors.append((weight / encoding.scale - encoding.quantize(weight)).square().mean())
        apart[dampening] = float(torch.stack(errors).mean())
        assert accuracy(quantized) > accuracy(given.quantized()) + 0.02
        assert "oscillating" in state.record.curve[-1].measures
    assert apart[5.0] < apart[0.0]
