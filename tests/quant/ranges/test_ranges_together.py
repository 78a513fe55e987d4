"""Many activations searched at once get the grids that each gets by itself."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from quant.config import QuantConfig, Rule, uniform_config
from quant.encoding import Encoding
from quant.errors import CalibrationError
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.ranges.batch_norm_moments import propagate_moments
from quant.ranges.estimators import encode_all_statistics, encode_statistics
from quant.ranges.statistics import Statistics
from quant.simulation.choose_encodings import encode_activation_site
from quant.simulation.plan import Side
from quant.simulation.quant_graph import quantize_graph
from quant.spec import Estimator, QuantSpec, SpecChange
from tests.networks import CASES, graph_of

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
        assert parts(ours) == parts(theirs)


def test_a_stream_of_nothing_is_refused() -> None:
    with pytest.raises(CalibrationError, match="needs statistics"):
        encode_all_statistics([*streams(), Statistics()], replace(SPEC, bits=4))


@pytest.mark.parametrize(
    ("name", "estimator"),
    [("plain", Estimator.BATCH_NORM)]
    + [("kitchen", estimator) for estimator in Estimator if estimator is not Estimator.BATCH_NORM],
)
def test_a_network_s_grids_are_those_of_its_sites(name: str, estimator: Estimator) -> None:
    graph = FoldBatchNorm()(graph_of(name))
    statistics = drain_steps(Calibrate(8)(graph, [CASES[name].inputs(8)]))
    rules = (
        Rule("*", activation=SpecChange(estimator=estimator)),
        Rule(graph.layers[0].name, activation=SpecChange(bits=4)),
    )
    moments = propagate_moments(graph)
    made = quantize_graph(graph, QuantConfig(uniform_config(8, 6).default, rules), statistics)
    own = [site for site in made.sites if site.side is Side.ACTIVATIONS and not site.shared_with]
    assert len({site.spec for site in own}) > 1
    for site in own:
        alone = encode_activation_site(site, statistics, moments=moments)
        together = made.quantizers[site.name].encoding
        assert together is not None
        assert parts(together) == parts(alone)
