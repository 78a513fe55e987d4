"""Products of errors with gradients against the definition."""

import pytest
import torch
from torch import Tensor

from analysis.sensitivity.screening.kernels import PIECE_VALUES, ErrorProducts, levels_of_encodings
from quant.encoding import Encoding

GRID = Encoding(torch.tensor(0.13), torch.tensor(3.0), 0, 15)
WIDE = Encoding(torch.tensor(0.03), torch.tensor(0.0), -128, 127)
SHAPES = [(5, 7), (4, 3, 6, 5), (3, 4, 9), (2, 1), (2, PIECE_VALUES), (3, 2 * PIECE_VALUES + 5)]


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_image(gradient: Tensor, error: Tensor) -> Tensor:
    return (gradient.double() * error.double()).flatten(1).sum(1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [False, True])
def test_products_are_those_of_the_whole(shape: tuple[int, ...], *, last: bool) -> None:
    output, moved, *gradients = (drawn(shape, seed) for seed in range(4))
    if last and len(shape) == 4:
        output = output.contiguous(memory_format=torch.channels_last)
        gradients[0] = gradients[0].contiguous(memory_format=torch.channels_last)
    errors = [
        moved - output,
        GRID.fake_quantize(output) - output,
        WIDE.fake_quantize(output) - output,
        GRID.fake_quantize(moved) - output,
    ]
    products = ErrorProducts(output, gradients)
    on_output = products.products_of_encodings(output, levels_of_encodings([GRID, WIDE]))
    on_moved = products.products_of_encodings(moved, levels_of_encodings([GRID]))
    found = torch.cat([products.products_of_move(moved), on_output, on_moved])
    assert found.shape == (4, 2, shape[0])
    for own, error in zip(found, errors, strict=True):
        for product, gradient in zip(own, gradients, strict=True):
            expected = by_image(gradient, error)
            torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-4)
