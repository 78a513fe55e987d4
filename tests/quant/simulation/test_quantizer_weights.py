"""A quantized weight is kept between calls; it must follow every change, and take gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from quant.config import uniform_config
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.networks import CASES, graph_of

WEIGHT = "weight"


def simulated() -> QuantGraph:
    return quantize_graph(graph_of("bare"), uniform_config(4, 32))


def wanted(result: QuantGraph, inputs: Tensor) -> Tensor:
    encoding = result.quantizers["linear weight"].encoding
    assert encoding is not None
    weight = encoding.fake_quantize(result.graph.stored_tensor(WEIGHT).detach())
    return F.linear(inputs, weight, result.graph.stored_tensor("bias").detach())


def test_a_weight_changed_in_place_is_quantized_anew() -> None:
    result, inputs = simulated(), CASES["bare"].inputs(2)
    first = result(inputs)
    with torch.no_grad():
        result.graph.stored_tensor(WEIGHT).mul_(-1)
    assert torch.equal(result(inputs), wanted(result, inputs))
    assert not torch.equal(result(inputs), first)


def test_a_weight_that_was_replaced_is_quantized_anew_even_at_the_same_place_in_memory() -> None:
    result, inputs = simulated(), CASES["bare"].inputs(2)
    memory = np.full((4, 5), 0.1, np.float32)
    for value in (0.1, 0.2, -0.2):
        memory[:] = value
        result.graph.store_tensor(WEIGHT, torch.from_numpy(memory))
        assert torch.equal(result(inputs), wanted(result, inputs))


def test_a_new_encoding_takes_the_place_of_the_old() -> None:
    result, inputs = simulated(), CASES["bare"].inputs(2)
    first = result(inputs)
    other = (
        quantize_graph(graph_of("bare"), uniform_config(2, 32)).quantizers["linear weight"].encoding
    )
    result.quantizers["linear weight"].set_encoding(other)
    assert torch.equal(result(inputs), wanted(result, inputs))
    assert not torch.equal(result(inputs), first)
    result.quantizers["linear weight"].set_encoding(None)
    assert torch.equal(result(inputs), graph_of("bare")(inputs))


def test_after_inference_mode_gradients_still_reach_the_input() -> None:
    result, inputs = simulated(), CASES["bare"].inputs(2)
    with torch.inference_mode():
        result(inputs)
    inputs.requires_grad_()
    result(inputs).sum().backward()
    assert inputs.grad is not None
    encoding = result.quantizers["linear weight"].encoding
    assert encoding is not None
    row = encoding.fake_quantize(result.graph.stored_tensor(WEIGHT)).sum(0)
    assert torch.allclose(inputs.grad, row.expand(2, 5))


def test_a_weight_that_learns_gets_straight_through_gradients() -> None:
    result, inputs = simulated(), CASES["bare"].inputs(2)
    weight = result.graph.stored_tensor(WEIGHT).requires_grad_()
    result(inputs).sum().backward()
    assert weight.grad is not None
    encoding = result.quantizers["linear weight"].encoding
    assert encoding is not None
    inside = (weight >= encoding.low) & (weight <= encoding.high)
    assert torch.allclose(weight.grad, inside * inputs.sum(0).expand(4, 5))
    assert bool(inside.any())


@pytest.mark.parametrize("grad", [True, False])
def test_values_do_not_depend_on_whether_gradients_are_taken(*, grad: bool) -> None:
    graph: FloatGraph = capture_graph(CASES["plain"].model(), CASES["plain"].shape)
    inputs = CASES["plain"].inputs(4)
    result = quantize_graph(graph, uniform_config(4, 32))
    kept = result(inputs)
    for parameter in result.module.parameters():
        parameter.requires_grad_(grad)
    assert torch.equal(result(inputs).detach(), kept)
