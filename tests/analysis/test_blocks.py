"""Products in pieces against the definition, whatever the size of the pieces."""

import pytest
import torch
from torch import Tensor

from analysis import blocks
from analysis.blocks import Blocks, Shift
from quant.encoding import Encoding

GRID = Encoding(torch.tensor(0.13), torch.tensor(3.0), 0, 15)
SHAPES = [(5, 7), (4, 3, 6, 5), (3, 4, 9), (2, 1)]


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_image(gradient: Tensor, error: Tensor) -> Tensor:
    return (gradient.double() * error.double()).flatten(1).sum(1)


@pytest.mark.parametrize("block", [3, 8, 40, 2**10])
@pytest.mark.parametrize("long_row", [4, 2**14])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [False, True])
def test_products_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    long_row: int,
    shape: tuple[int, ...],
    *,
    last: bool,
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(blocks, "LONG_ROW", long_row)
    output, moved, *gradients = (drawn(shape, seed) for seed in range(4))
    if last and len(shape) == 4:
        output = output.contiguous(memory_format=torch.channels_last)
        gradients[0] = gradients[0].contiguous(memory_format=torch.channels_last)
    shifts = [Shift(moved), Shift(output, GRID), Shift(moved, GRID)]
    errors = [
        moved - output,
        GRID.fake_quantize(output) - output,
        GRID.fake_quantize(moved) - output,
    ]
    found = Blocks().products(gradients, output, shifts)
    assert found.shape == (3, 2, shape[0])
    for own, error in zip(found, errors, strict=True):
        for product, gradient in zip(own, gradients, strict=True):
            expected = by_image(gradient, error)
            torch.testing.assert_close(product.abs(), expected.abs(), rtol=1e-4, atol=1e-5)
            assert torch.equal(
                product.sign() * product[0].sign(), expected.sign() * expected[0].sign()
            )
