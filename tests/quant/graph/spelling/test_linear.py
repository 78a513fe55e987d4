"""Products with a stored matrix are linear layers, however they are written."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from quant.config import uniform_config
from quant.graph.capture import capture_graph
from quant.graph.operators import Kind
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph


class Stored(nn.Module):
    """A matrix in both layouts, and a way to multiply by it."""

    def __init__(self, write: Callable[["Stored", Tensor], Tensor]) -> None:
        super().__init__()
        self.write = write
        self.tall = nn.Parameter(torch.randn(6, 4))
        self.wide = nn.Parameter(torch.randn(4, 6))
        self.shift = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.write(self, x).relu()


WAYS: dict[str, Callable[[Stored, Tensor], Tensor]] = {
    "x @ W": lambda m, x: x @ m.tall,
    "x @ W.t()": lambda m, x: x @ m.wide.t(),
    "x @ W.mT": lambda m, x: x @ m.wide.transpose(0, 1),
    "addmm": lambda m, x: torch.addmm(m.shift, x, m.tall),
    "mm": lambda m, x: torch.mm(x, m.tall),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_product_with_a_stored_matrix_is_a_layer_with_a_weight(way: str) -> None:
    model, inputs = Stored(WAYS[way]), torch.randn(5, 6)
    graph = capture_graph(model.eval(), (6,))
    layer = graph.layers[1]
    assert (layer.kind, layer.weight_shape, layer.macs) == (Kind.LINEAR, (4, 6), 24)
    assert (layer.bias is not None) == (way == "addmm")
    assert torch.allclose(graph(inputs), model(inputs), atol=1e-6)
    calibration = drain_steps(Calibrate()(graph, [inputs]))
    simulated = quantize_graph(graph, uniform_config(2, 32), calibration)
    assert not torch.allclose(simulated(inputs), graph(inputs), atol=1e-2)


def test_a_product_of_two_activations_stays_one() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ x.transpose(1, 2)

    graph = capture_graph(Both().eval(), (3, 4))
    assert [layer.kind for layer in graph.layers] == [Kind.INPUT, Kind.MATMUL]


def test_a_matrix_used_from_both_sides_keeps_its_meaning() -> None:
    def there_and_back(m: Stored, x: Tensor) -> Tensor:
        return (x @ m.tall) @ m.tall.t()

    model, inputs = Stored(there_and_back), torch.randn(5, 6)
    graph = capture_graph(model.eval(), (6,))
    assert [layer.weight_shape for layer in graph.layers[1:]] == [(4, 6), (6, 4)]
    assert torch.allclose(graph(inputs), model(inputs), atol=1e-5)


def test_a_cap_alone_is_fused_with_the_layer_before() -> None:
    class Capped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.clamp_max(self.linear(x), 0.25)

    graph = capture_graph(Capped().eval(), (6,))
    assert [layer.name for layer in graph.layers] == ["input", "linear"]
    inputs = torch.randn(64, 6)
    simulated = quantize_graph(
        graph, uniform_config(32, 8), drain_steps(Calibrate()(graph, [inputs]))
    )
    assert float(simulated(inputs).max()) <= 0.26


def test_a_view_takes_values_that_come_channels_last() -> None:
    class Viewed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(x.shape[0], -1)

    graph = capture_graph(Viewed().eval(), (3, 4, 5))
    inputs = torch.randn(2, 3, 4, 5)
    got = graph(inputs.contiguous(memory_format=torch.channels_last))
    assert torch.equal(got, inputs.flatten(1))
