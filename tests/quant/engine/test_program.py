import pickle
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from quant.config import uniform_config
from quant.encoding import Encoding
from quant.engine.program import Program, compile_program
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.plan import Side, plan_sites
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.networks import CASES, DISTINCT, graph_of

CONFIG = uniform_config(4, 4)
CLOSE = 1e-5  # of the largest output: float32 sums in another order


@cache
def folded(name: str) -> FloatGraph:
    return FoldBatchNorm()(graph_of(name))


def images(name: str, count: int = 2) -> Tensor:
    return CASES[name].inputs(count)


@cache
def quantized(name: str) -> QuantGraph:
    statistics = drain_steps(Calibrate()(folded(name), [images(name)]))
    return quantize_graph(folded(name), CONFIG, statistics)


def program(name: str, *, fuse: bool = True) -> Program:
    return compile_program(folded(name), plan_sites(folded(name), CONFIG), fuse=fuse)


def encodings(name: str) -> dict[str, Encoding]:
    found = {key: item.encoding for key, item in quantized(name).quantizers.items()}
    return {key: encoding for key, encoding in found.items() if encoding is not None}


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("name", DISTINCT)
def test_without_fusing_it_is_the_graph_to_the_last_bit(name: str) -> None:
    plain, x = program(name, fuse=False), images(name)
    with torch.no_grad():
        assert torch.equal(plain(x), folded(name)(x))
        assert torch.equal(plain(x, plain.settle_weights(encodings(name))), quantized(name)(x))


@pytest.mark.parametrize("name", DISTINCT)
def test_fused_it_is_the_graph_within_rounding(name: str) -> None:
    with torch.no_grad():
        assert distance(program(name)(images(name)), folded(name)(images(name))) < CLOSE


@pytest.mark.parametrize("name", ["kitchen", "fashion-mobilenet", "efficientnet-lite0"])
def test_fusing_takes_in_clips(name: str) -> None:
    assert len(program(name)) < len(program(name, fuse=False))


@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize("with_encodings", [False, True])
def test_it_continues_from_every_position_with_the_same_bits(
    name: str, with_encodings: bool
) -> None:
    runs, x = program(name), images(name)
    with torch.no_grad():
        settings = runs.settle_weights(encodings(name)) if with_encodings else {}
        whole = runs(x, settings)
        values = runs.start_values(x)
        for position in range(len(runs) + 1):
            assert set(values) == runs.live_values(position)
            assert torch.equal(runs.finish_run(dict(values), position, settings), whole)
            runs.run_steps(values, position, position + 1, settings)


@pytest.mark.parametrize("name", ["kitchen", "gated", "attention", "shared", "transposed"])
def test_only_what_follows_a_site_depends_on_its_grid(name: str) -> None:
    runs, x = program(name), images(name)
    with torch.no_grad():
        for site, encoding in encodings(name).items():
            settings = runs.settle_weights({site: encoding})
            values, position = runs.start_values(x), runs.restart_position([site])
            runs.run_steps(values, 0, position, {})
            assert torch.equal(runs.finish_run(values, position, settings), runs(x, settings))


def test_each_site_acts_alone_as_in_the_quantized_graph() -> None:
    runs, x, simulated = program("kitchen", fuse=False), images("kitchen"), quantized("kitchen")
    for site in simulated.sites:
        with torch.no_grad(), simulated.as_float_network():
            simulated.quantizers[site.name].state = simulated.quantizers[site.name].state.QUANTIZE
            wanted = simulated(x)
        with torch.no_grad():
            found = runs(x, runs.settle_weights({site.name: encodings("kitchen")[site.name]}))
        assert torch.equal(found, wanted), site.name


@pytest.mark.parametrize("name", DISTINCT)
def test_every_site_has_a_position_and_macs_add_up(name: str) -> None:
    runs, graph = program(name), folded(name)
    for site in plan_sites(graph, CONFIG):
        assert 0 <= runs.restart_position([site.name]) < len(runs)
    assert runs.macs_between(0, len(runs)) == sum(layer.macs for layer in graph.layers)
    middle = len(runs) // 2
    assert runs.macs_between(0, middle) + runs.macs_between(middle, len(runs)) == runs.macs_between(
        0, len(runs)
    )


def test_live_bytes_count_a_value_once() -> None:
    runs = program("kitchen")
    image = 4 * 3 * 8 * 8
    assert runs.checkpoint_bytes([0]) == image
    assert runs.checkpoint_bytes([0, 0, 1]) == image
    assert runs.checkpoint_bytes([len(runs)]) == 4 * 5


@pytest.mark.parametrize("name", ["kitchen", "attention", "fashion-mobilenet"])
def test_it_travels_as_plain_data(name: str) -> None:
    before, x = program(name), images(name)
    after: Program = pickle.loads(pickle.dumps(before))
    assert torch.equal(after(x), before(x))
    assert after.portable.digest == before.portable.digest


def test_the_digest_changes_with_a_weight_and_with_an_operation() -> None:
    graph = folded("kitchen")
    changed = graph.copy_graph()
    changed.store_tensor("linear.weight", changed.stored_tensor("linear.weight") * 2)
    sites = plan_sites(graph, CONFIG)
    digests = {
        compile_program(one, sites).portable.digest
        for one in (graph, graph.copy_graph(), changed, folded("plain"))
    }
    assert len(digests) == 3


class InPlace(nn.Module):
    """Writes into its input, into a value that is read again, and through a view."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x += 1
        y = self.first(x)
        before = y * 2
        y.relu_()
        y[:, 0] = 3.0
        z = self.second(y)
        z.mul_(2)
        result: Tensor = z + y + before
        return result


@pytest.mark.parametrize("fuse", [False, True])
def test_operations_in_place_spoil_no_checkpoint(fuse: bool) -> None:
    graph = capture_graph(InPlace().eval(), (2, 3, 3))
    sites = plan_sites(graph, CONFIG)
    runs = compile_program(graph, sites, fuse=fuse)
    x = torch.randn(2, 2, 3, 3)
    kept = x.clone()
    with torch.no_grad():
        wanted = graph(x.clone())
        assert torch.allclose(runs(x), wanted, atol=1e-6)
        assert torch.equal(x, kept)  # the caller's tensor stays what it was
        for site in sites:
            position = runs.restart_position([site.name])
            values = runs.start_values(x)
            runs.run_steps(values, 0, position, {})
            for _ in range(2):
                assert torch.allclose(
                    runs.finish_run(dict(values), position, {}), wanted, atol=1e-6
                )


def test_in_place_operations_move_a_restart_before_the_value() -> None:
    graph = capture_graph(InPlace().eval(), (2, 3, 3))
    sites = [site for site in plan_sites(graph, CONFIG) if site.side is Side.ACTIVATIONS]
    runs = compile_program(graph, tuple(sites), fuse=False)
    # its result is written into after its grid: a restart there would meet what was written
    assert runs.restart_position(["first"]) < runs._positions["first"]
