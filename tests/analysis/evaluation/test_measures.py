import math

import pytest
import torch

from analysis.evaluation.measures import (
    entropy_bits,
    signal_to_noise_db,
    sqnr_db,
)


def test_sqnr_by_hand() -> None:
    # signal 1 + 4, noise 1
    reference, noisy = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])
    assert sqnr_db(reference, noisy) == pytest.approx(10 * math.log10(5))


def test_sqnr_at_its_ends() -> None:
    x = torch.ones(3)
    assert sqnr_db(x, x) == math.inf
    assert sqnr_db(torch.zeros(3), torch.zeros(3)) == math.inf
    assert sqnr_db(torch.zeros(3), x) == -math.inf
    assert signal_to_noise_db(100.0, 1.0) == pytest.approx(20.0)


def test_sqnr_grows_six_db_with_each_bit() -> None:
    x = torch.rand(100_000)
    eight, nine = (sqnr_db(x, (x * 2**bits).round() / 2**bits) for bits in (8, 9))
    assert nine - eight == pytest.approx(6.02, abs=0.05)


@pytest.mark.parametrize(
    ("values", "bits"),
    [([3, 3, 3], 0.0), ([0, 1], 1.0), ([0, 1, 2, 3], 2.0), ([0, 0, 0, 1], 0.811278)],
)
def test_entropy_by_hand(values: list[int], bits: float) -> None:
    assert entropy_bits(torch.tensor(values)) == pytest.approx(bits, abs=1e-6)
