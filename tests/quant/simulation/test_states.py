"""The states of quantizers: what each context manager turns off, and that all comes back."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

import pytest
import torch

from quant.config import QuantConfig, Rule, uniform_config
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.ranges.statistics import Statistics
from quant.simulation.plan import TENSOR_SIDES, Side
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.simulation.quantizer import State
from quant.spec import SpecChange
from tests.networks import CASES, graph_of

INPUTS = CASES["kitchen"].inputs(8)


@cache
def calibration() -> dict[str, Statistics]:
    return drain_steps(Calibrate()(FoldBatchNorm()(graph_of("kitchen")), [INPUTS]))


def simulated(config: QuantConfig = uniform_config(4, 4)) -> QuantGraph:  # noqa: B008  frozen
    return quantize_graph(FoldBatchNorm()(graph_of("kitchen")), config, calibration())


def states(result: QuantGraph) -> dict[str, State]:
    return {name: quantizer.state for name, quantizer in result.quantizers.items()}


def quantizing(result: QuantGraph) -> set[str]:
    return {name for name, state in states(result).items() if state is State.QUANTIZE}


Manager = Callable[[QuantGraph], AbstractContextManager[None]]
ALL = {site.name for site in simulated().sites}
WEIGHTS = {name for name in ALL if name.endswith(" weight")}
MANAGERS: dict[str, tuple[Manager, set[str]]] = {
    "floating": (lambda g: g.as_float_network(), set()),
    "observing": (lambda g: g.collecting_statistics(), set()),
    "only": (lambda g: g.only_layer("conv1"), {"conv1", "conv1 weight"}),
    "only weights of": (lambda g: g.only_layer("conv1", Side.WEIGHTS), {"conv1 weight"}),
    "only activations of": (lambda g: g.only_layer("conv1", Side.ACTIVATIONS), {"conv1"}),
    "only the input": (lambda g: g.only_layer("input"), {"input"}),
    "all but": (lambda g: g.all_but_layer("conv1"), ALL - {"conv1", "conv1 weight"}),
    "all but weights of": (
        lambda g: g.all_but_layer("conv1", Side.WEIGHTS),
        ALL - {"conv1 weight"},
    ),
    "weights": (lambda g: g.only_side(Side.WEIGHTS), WEIGHTS),
    "activations": (lambda g: g.only_side(Side.ACTIVATIONS), ALL - WEIGHTS),
    "both sides": (lambda g: g.only_side(Side.BOTH), ALL),
}


@pytest.mark.parametrize("name", MANAGERS)
def test_a_context_turns_off_what_it_says_and_brings_it_back(name: str) -> None:
    manager, on = MANAGERS[name]
    result = simulated()
    wanted = result(INPUTS)
    with manager(result):
        assert quantizing(result) == on
        inside = result(INPUTS)
    assert quantizing(result) == ALL
    assert torch.equal(result(INPUTS), wanted)
    assert torch.equal(inside, wanted) == (on == ALL)


@pytest.mark.parametrize("name", MANAGERS)
def test_states_come_back_after_an_exception(name: str) -> None:
    result = simulated()

    def fail() -> None:
        with MANAGERS[name][0](result):
            raise KeyError(name)

    with pytest.raises(KeyError, match=name):
        fail()
    assert quantizing(result) == ALL


def test_contexts_nest() -> None:
    result = simulated()
    with result.only_side(Side.WEIGHTS):
        with result.all_but_layer("conv1"):
            assert quantizing(result) == WEIGHTS - {"conv1 weight"}
            with result.as_float_network():
                assert quantizing(result) == set()
            assert quantizing(result) == WEIGHTS - {"conv1 weight"}
        assert quantizing(result) == WEIGHTS
    assert quantizing(result) == ALL


def test_floating_is_the_float_network_exactly() -> None:
    result = simulated()
    with result.as_float_network():
        assert torch.equal(result(INPUTS), FoldBatchNorm()(graph_of("kitchen"))(INPUTS))


def test_one_layer_alone_equals_a_network_in_which_all_others_are_float() -> None:
    for layer in ("input", "conv1", "add", "linear"):
        rules = (
            Rule("*", SpecChange(bits=32), SpecChange(bits=32)),
            Rule(layer, SpecChange(bits=4), SpecChange(bits=4)),
        )
        alone = simulated(QuantConfig(rules=rules))
        with (result := simulated()).only_layer(layer):
            assert torch.equal(result(INPUTS), alone(INPUTS))


def test_a_layer_that_is_float_by_choice_stays_float_in_every_context() -> None:
    rule = Rule("conv1", SpecChange(bits=32), SpecChange(bits=32))
    result = simulated(QuantConfig(uniform_config(4, 4).default, (rule,)))
    with result.only_layer("conv1"):
        assert quantizing(result) == set()
    with result.only_side(Side.BOTH):
        assert quantizing(result) == ALL - {"conv1", "conv1 weight"}


def test_observing_collects_float_activations_and_leaves_weights_alone() -> None:
    result = simulated()
    for quantizer in result.quantizers.values():
        quantizer.statistics = Statistics()
    with result.collecting_statistics():
        output = result(INPUTS)
    assert torch.equal(output, FoldBatchNorm()(graph_of("kitchen"))(INPUTS))
    for site in result.sites:
        found = result.quantizers[site.name].statistics
        assert found is not None
        if site.side is Side.WEIGHTS:
            assert found.count == 0
        else:
            assert torch.equal(found.counts, calibration()[site.name].counts)
    result(INPUTS)
    after = result.quantizers["input"].statistics
    assert after is not None
    assert after.count == INPUTS.numel()  # outside the context nothing is collected


def test_both_sides_include_weights_and_activations() -> None:
    table = {(side, tensor): side.includes_role(tensor) for side in Side for tensor in TENSOR_SIDES}
    assert [pair for pair, holds in table.items() if not holds] == [
        (Side.WEIGHTS, Side.ACTIVATIONS),
        (Side.ACTIVATIONS, Side.WEIGHTS),
    ]


def test_an_unknown_layer_is_no_silent_question() -> None:
    quantized = quantize_graph(graph_of("plain"), uniform_config(8, 8))
    for question in (quantized.only_layer, quantized.all_but_layer):
        with pytest.raises(KeyError, match="No layer 'typo'"), question("typo"):
            pass
