"""Alpha-blending: the gradient of the blend, its ends, its schedule, its projection."""

from dataclasses import replace

import pytest
import torch

from quant.encoding import Encoding
from quant.ranges.estimators import encode_weight
from quant.simulation.plan import Side, Site
from quant.spec import Granularity, QuantSpec
from quant.training.methods.alpha_blend import BlendQuantizer, project_weight
from quant.training.settings import (
    BlendGradient,
    BlendSchedule,
    TrainingMethod,
    TrainingSettings,
)
from tests.quant.training.problems import accuracy, problem
from tests.quant.training.test_train import learn, rebuilt

WEIGHT = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))


def quantizer(bits: int, gradient: BlendGradient) -> tuple[BlendQuantizer, Encoding]:
    spec = QuantSpec(bits=bits, granularity=Granularity.PER_CHANNEL)
    start = encode_weight(WEIGHT, spec)
    site = Site("a weight", "a", Side.WEIGHTS, spec, "a")
    made = BlendQuantizer(site, start, WEIGHT.clone(), gradient)
    return made, made.encoding()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.875, 1.0])
def test_the_gradient_is_that_of_the_blend(bits: int, alpha: float) -> None:
    for gradient, share in ((BlendGradient.BLEND, 1 - alpha), (BlendGradient.STRAIGHT, 1.0)):
        blend, encoding = quantizer(bits, gradient)
        blend.alpha = alpha
        weight = WEIGHT.clone().requires_grad_()
        blended = blend(weight)
        pulled = torch.randn(6, 5, generator=torch.Generator().manual_seed(4))
        blended.backward(pulled)
        assert weight.grad is not None
        assert torch.equal(weight.grad, pulled * share)
        wanted = (1 - alpha) * WEIGHT + alpha * encoding.fake_quantize(WEIGHT)
        assert torch.allclose(blended, wanted, atol=1e-6)
        if alpha == 1.0:
            assert torch.equal(blended, encoding.fake_quantize(WEIGHT))
        if alpha == 0.0:
            assert torch.equal(blended, WEIGHT)


def test_the_schedule_is_cubic_or_linear_and_ends_at_one() -> None:
    cubic = BlendSchedule(start=0.0, end=1.0)
    assert [round(cubic.alpha_at_share(t), 3) for t in (0.0, 0.1, 0.25, 0.5, 0.75)] == [
        0.0,
        0.271,
        0.578,
        0.875,
        0.984,
    ]
    linear = BlendSchedule(start=0.2, end=0.6, exponent=1.0)
    assert linear.alpha_at_share(0.1) == 0.0
    assert linear.alpha_at_share(0.4) == pytest.approx(0.5)
    assert linear.alpha_at_share(0.6) == 1.0


def test_projection_finds_the_nearest_scale() -> None:
    spec = QuantSpec(bits=1, granularity=Granularity.PER_CHANNEL)
    one_bit = project_weight(WEIGHT, encode_weight(WEIGHT, spec))
    assert torch.allclose(one_bit.scale[:, 0], WEIGHT.abs().mean(1))
    spec = replace(spec, bits=3)
    start = encode_weight(WEIGHT, spec)
    found = project_weight(WEIGHT, start, 30)

    def error(encoding: Encoding) -> torch.Tensor:
        return (encoding.fake_quantize(WEIGHT) - WEIGHT).square().sum(1)

    assert bool((error(found) <= error(start) + 1e-6).all())


@pytest.mark.parametrize("gradient", BlendGradient)
def test_a_blended_network_learns_and_ends_on_its_grids(gradient: BlendGradient) -> None:
    given = problem()
    settings = TrainingSettings(
        method=TrainingMethod.ALPHA_BLEND,
        steps=60,
        batch=64,
        watch_every=10,
        blend=BlendSchedule(gradient=gradient),
    )
    state = learn(given, settings, given.quantized(1, 8))
    after = accuracy(rebuilt(given, state, (1, 8)))
    assert after > accuracy(given.quantized(1, 8)) + 0.02
    assert [point.measures["alpha"] for point in state.record.curve][-1] == 1.0
