"""Learned grids: against the encoding, and against the equations of the white paper by autograd."""

import pytest
import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.training.fake_quantize import CodeLimits, fake_quantize_learned, fake_quantize_plain


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def by_formula(
    x: Tensor, scale: Tensor, zero_point: Tensor, limits: CodeLimits
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return y and dy/dx, dy/ds, dy/dz, element by element (equations 39, 40 and 42)."""
    low, high = limits.qmin - zero_point, limits.qmax - zero_point
    clipped = x.clamp(torch.as_tensor(limits.floor), torch.as_tensor(limits.cap))
    t = clipped / scale
    y = t.round().clamp(low, high) * scale
    inside = (clipped >= low * scale) & (clipped <= high * scale)
    at_scale = torch.where(inside, t.round() - t, t.round().clamp(low, high))
    passes = inside & (x > torch.as_tensor(limits.floor)) & (x < torch.as_tensor(limits.cap))
    return y, passes.float(), at_scale, torch.where(inside, 0.0, -scale)


CASES = {
    "activation": (values(5, 6, 7, 9), torch.tensor(0.31), torch.tensor(3.0), CodeLimits(0, 15)),
    "long": (values(3, 5000), torch.tensor(0.11), torch.tensor(-2.0), CodeLimits(-8, 7)),
    "weight": (
        values(6, 4, 3, 3),
        torch.rand(6, 1, 1, 1) + 0.2,
        torch.zeros(6, 1, 1, 1),
        CodeLimits(-4, 3),
    ),
    "groups": (
        values(6, 4, 3, 3),
        torch.rand(6, 4, 1, 1) + 0.2,
        torch.zeros(6, 4, 1, 1),
        CodeLimits(-4, 3),
    ),
    "relu6": (
        values(4, 6, 5, 5) * 4,
        torch.tensor(0.3),
        torch.tensor(0.0),
        CodeLimits(0, 255, 0.0, 6.0),
    ),
    "caps": (
        values(4, 6, 5, 5),
        torch.tensor(0.3),
        torch.tensor(0.0),
        CodeLimits(0, 15, torch.tensor(0.0), torch.rand(6, 1, 1) * 3),
    ),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_equations(name: str, channels_last: bool) -> None:
    x, scale, zero_point, limits = CASES[name]
    if channels_last and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    leaves = [one.clone().requires_grad_() for one in (x, scale, zero_point)]
    y = fake_quantize_learned(leaves[0], leaves[1], leaves[2], limits)
    gradient = values(*x.shape[:-1], 1, seed=1).expand(x.shape)  # as a mean gives it
    y.backward(gradient)
    wanted, at_x, at_scale, at_zero = by_formula(x, scale, zero_point, limits)
    assert torch.equal(y, wanted)
    assert torch.equal(y, fake_quantize_plain(x, scale, zero_point, limits))
    clipped = x.clamp(torch.as_tensor(limits.floor), torch.as_tensor(limits.cap))
    encoding = Encoding(scale, zero_point, int(limits.qmin), int(limits.qmax))
    assert torch.equal(y, encoding.fake_quantize(clipped))
    for leaf, share in zip(leaves, (at_x, at_scale, at_zero), strict=True):
        total = (gradient.double() * share.double()).sum_to_size(leaf.shape)
        size = (gradient * share).abs().sum_to_size(leaf.shape)
        assert leaf.grad is not None
        assert bool(((leaf.grad - total).abs() <= 2e-6 * size + 1e-6).all())


def test_without_a_kernel_gradients_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for x, scale, zero_point, limits in CASES.values():
        found = []
        for plain in (False, True):
            if plain:
                monkeypatch.setattr(
                    "quant.training.fake_quantize._Rows.rows_of_tensor", lambda *_: None
                )
            leaves = [one.clone().requires_grad_() for one in (x, scale, zero_point)]
            y = fake_quantize_learned(leaves[0], leaves[1], leaves[2], limits)
            y.backward(values(*x.shape, seed=2))
            found.append([y, *(leaf.grad for leaf in leaves)])
        monkeypatch.undo()
        for first, second in zip(*found, strict=True):
            assert first is not None
            assert second is not None
            assert torch.allclose(first, second, rtol=1e-4, atol=1e-3)


def test_values_half_a_step_outside_of_the_grid_count_as_outside() -> None:
    scale = torch.tensor(1.0, requires_grad=True)
    x = torch.tensor([7.3, 6.9], requires_grad=True)
    fake_quantize_learned(x, scale, torch.tensor(0.0), CodeLimits(-8, 7)).sum().backward()
    assert x.grad is not None
    assert scale.grad is not None
    assert x.grad.tolist() == [0.0, 1.0]
    assert float(scale.grad) == pytest.approx(7.0 + (7.0 - 6.9), abs=1e-5)
