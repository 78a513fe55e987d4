"""What bias correction leaves of the noise: exact where the layer is the network's last."""

import pytest
import torch
from torch import Tensor, nn

from analysis.calibration import calibrate_network
from analysis.network import prepare_network
from analysis.sensitivity.analyze import analyze_exactly
from analysis.sensitivity.exact.executors import Serial
from analysis.sensitivity.screening.corrected_noise import corrected_shares, with_bias_corrected
from analysis.sensitivity.sweep import Question, Sweep
from analysis.study import Study
from quant.config import uniform_config
from quant.inputs import first_output_of
from quant.passes.correct_bias import CorrectBias
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.simulation.quant_graph import quantize_graph
from quant.spec import FLOAT_BITS, SpecChange
from tests.analysis.sweeps import case, dataset

SWEEP = Sweep(uniform_config(8, 8), (4, 2), (Side.WEIGHTS,))


def study_of(model: nn.Module, images: Tensor) -> Study:
    network = prepare_network("toy", model.eval(), tuple(images.shape[1:]), "toy")
    data = dataset(images)
    return Study(network, data, data, calibrated=drain_steps(calibrate_network(network, data)))


def convolutions() -> nn.Module:
    """Two convolutions without a function between them, and inputs far from 0 for their means."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def test_the_share_is_that_of_networks_that_are_corrected() -> None:
    """Oracle: quantize one layer, correct biases, and measure the noise of the output."""
    study = study_of(convolutions(), torch.rand(256, 3, 8, 8) + 0.3)
    shares = drain_steps(corrected_shares(study, SWEEP))
    inputs = torch.cat([first_output_of(batch.inputs) for batch in study.scored_images.batches(64)])
    float_graph = study.network.graph
    for question, (energy, _) in shares.items():
        config = uniform_config(FLOAT_BITS, FLOAT_BITS).with_layer_change(
            question.layer, weight=SpecChange(bits=question.bits)
        )
        noises = []
        for corrected in (False, True):
            quantized = quantize_graph(float_graph, config, None, None)
            if corrected:
                drain_steps(CorrectBias()(float_graph, quantized, [inputs]))
            error = first_output_of(quantized.run(inputs)) - first_output_of(
                float_graph.run(inputs)
            )
            noises.append(float(error.double().square().sum()))
        assert energy == pytest.approx(noises[1] / noises[0], rel=0.35, abs=0.01), question
    assert len(shares) == 4


def test_only_weights_change_and_never_for_the_worse() -> None:
    found = drain_steps(
        analyze_exactly(case("plain").study(), Sweep(uniform_config(8, 8), (4,)), Serial())
    )
    shares = drain_steps(corrected_shares(case("plain").study(), SWEEP))
    corrected = with_bias_corrected(found, shares)
    for before, after in zip(found.scores, corrected.scores, strict=True):
        known = before.question in shares
        assert known == (before.question.side is Side.WEIGHTS)
        assert (after != before) == known
        assert after.sqnr_db >= before.sqnr_db
        assert (after.kl or 0.0) <= (before.kl or 0.0)
        assert after.accuracy_drop is None or not known


def test_a_mean_error_goes_and_another_stays() -> None:
    """Constant inputs make a constant error, which correction removes; signs make none."""
    layer = nn.Sequential(nn.Linear(4, 3))
    question = Question("0", 2, Side.WEIGHTS)
    constant = drain_steps(corrected_shares(study_of(layer, torch.ones(64, 4)), SWEEP))
    assert constant[question][0] <= 1e-3
    signs = (
        torch.cat([torch.randn(64, 4)] * 2)
        * torch.tensor([1.0, -1.0]).repeat_interleave(64)[:, None]
    )
    assert drain_steps(corrected_shares(study_of(layer, signs), SWEEP))[question][0] > 0.95
