"""A small network with a task that it can learn, for tests of training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.config import uniform_config
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.calibrate import Calibrate, Calibration
from quant.passes.equalize import Equalize
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.networks import conv_bn

SHAPE = (3, 8, 8)
CLASSES = 4


def small_network() -> nn.Module:
    """Convolutions with batch norms, ReLU6, a depthwise one, a residual sum, a linear layer."""
    return nn.Sequential(
        *conv_bn(3, 8),
        nn.ReLU6(),
        *conv_bn(8, 8, groups=8),
        nn.ReLU6(),
        *conv_bn(8, 8, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


@dataclass(frozen=True, eq=False)
class Examples:
    """Images (N, 3, 8, 8) whose class is the pattern that lies under their noise."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(
        self, places: Sequence[int], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        chosen = self.inputs[list(places)]
        if generator is not None:
            chosen = chosen + 0.05 * torch.randn(chosen.shape, generator=generator)
        return chosen, self.labels[list(places)]


def examples(count: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(7)
    patterns = torch.randn(CLASSES, *SHAPE, generator=generator)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    noise = torch.randn(count, *SHAPE, generator=generator)
    return Examples(0.6 * patterns[labels] + 0.8 * noise, labels)


@dataclass(frozen=True, eq=False)
class Problem:
    """A trained float network, its statistics, and images that train and watch."""

    graph: FloatGraph
    calibration: Calibration
    data: Examples
    watched: tuple[tuple[Tensor, Tensor | None], ...]

    def quantized(self, weight_bits: int = 2, activation_bits: int = 4) -> QuantGraph:
        return quantize_graph(
            self.graph, uniform_config(weight_bits, activation_bits), self.calibration
        )


@cache
def problem(*, equalized: bool = False) -> Problem:
    """Return the network after a short training in float; one for all tests."""
    torch.manual_seed(0)
    data, watch = examples(512, 1), examples(128, 2)
    model = small_network().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(6):
        for part in torch.arange(len(data)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(data.inputs[part]), data.labels[part]).backward()
            optimizer.step()
    graph = FoldBatchNorm()(capture_graph(model.eval(), SHAPE))
    if equalized:
        graph = Equalize()(graph).graph
    calibration = drain_steps(Calibrate()(graph, data.inputs[:128].split(64)))
    return Problem(graph, calibration, data, ((watch.inputs, watch.labels),))


def accuracy(run: Callable[[Tensor], Tensor]) -> float:
    """Return the share of right answers on images that neither trained nor watched."""
    test = examples(512, 3)
    with torch.no_grad():
        return float((run(test.inputs).argmax(1) == test.labels).float().mean())
