"""Many activations searched at once get the grids that each gets by itself."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.errors import CalibrationError
from quant.observers import Statistics
from quant.ranges import encode_all_statistics, encode_statistics
from quant.spec import Estimator, QuantSpec

SPEC = QuantSpec(symmetric=False)


def stream(values: Tensor) -> Statistics:
    found = Statistics()
    found.collect(values)
    return found


def streams() -> list[Statistics]:
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(4000, generator=generator)
    return [
        stream(plain),
        stream(plain.relu()),
        stream(plain.clamp(0, 1.5)),  # a pile at its end
        stream(1e4 * plain**3),
        stream(1e-6 * plain.abs() + 3e-6),
        stream(torch.zeros(10)),
        stream(torch.cat([plain, torch.tensor([500.0])])),
        stream(-plain.abs()),
    ]


def parts(encoding: Encoding) -> tuple[float, float, int, int]:
    return float(encoding.scale), float(encoding.zero_point), encoding.qmin, encoding.qmax


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("estimator", [Estimator.MSE, Estimator.MIN_MAX, Estimator.PERCENTILE])
def test_together_as_one_by_one(estimator: Estimator, bits: int, *, symmetric: bool) -> None:
    spec = QuantSpec(bits, symmetric=symmetric, estimator=estimator)
    together = encode_all_statistics(streams(), spec)
    one_by_one = [encode_statistics(each, spec) for each in streams()]
    for ours, theirs in zip(together, one_by_one, strict=True):
        assert ours.scale.shape == ()
        assert parts(ours) == pytest.approx(parts(theirs))


def test_a_stream_of_nothing_is_refused() -> None:
    with pytest.raises(CalibrationError, match="needs statistics"):
        encode_all_statistics([*streams(), Statistics()], replace(SPEC, bits=4))
