"""The reconstruction of one block: data, error, and steps of learning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quant.graph.float_graph import FloatGraph
from quant.passes.adaround import rounding_loss
from quant.passes.reconstruct.blocks import (
    BlockRun,
    LayerBlock,
    plain_run,
    rounded_run,
    shared_biases,
)
from quant.passes.reconstruct.soft_rounding import DroppedQuantizer, SoftRounding, draw_mask
from quant.simulation.plan import weight_site_name
from quant.torch_state import wait_while_tracing
from quant.training.trainable import Trainable

CHUNK = 16
"""Samples through a block at once where nothing learns."""
BIAS_RATE = 0.02
"""A step of a bias, in standard deviations of the output, for one of V (our choice)."""
LOSS_UNIT = 1e-3
"""Nearest rounding errs by this for each weight, so that one lambda suits all blocks."""


@dataclass(frozen=True, slots=True)
class RoundingSettings:
    """Settings of learned rounding; see `Reconstruct`."""

    iterations: int
    batch: int
    learning_rate: float
    regularization: float
    warm_start: float
    beta: tuple[float, float]
    seed: int
    drop: bool

    def beta_at_step(self, step: int) -> float | None:
        """Return the exponent of the rounding loss at a step; None during the warm start."""
        warm = int(self.warm_start * self.iterations)
        if step < warm:
            return None
        share = (step - warm) / max(1, self.iterations - warm)
        high, low = self.beta
        return low + 0.5 * (high - low) * (1 + math.cos(share * math.pi))


@dataclass(frozen=True, eq=False, slots=True)
class BlockSamples:
    """The samples of a reconstruction: network inputs (N, ...), and how many are held back.

    The first `held` samples judge what the others taught; `size` samples run at once.
    """

    inputs: tuple[Tensor, ...]
    held: int
    size: int

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.inputs[0])

    def draw_places(self, count: int, chance: torch.Generator) -> Tensor:
        """Return the places of `count` samples (count,), drawn from those that teach."""
        first = self.held if self.held < len(self) else 0
        return first + torch.randint(len(self) - first, (count,), generator=chance)

    def take(self, places: Tensor | slice) -> tuple[Tensor, ...]:
        """Return the inputs of some samples, each of shape (len(places), ...)."""
        return tuple(one[places] for one in self.inputs)


@dataclass(frozen=True, eq=False, slots=True)
class Boundary:
    """The values (N, ...) that enter a block in the float and in the quantized network."""

    plain: Tensor
    rounded: Tensor


@torch.no_grad()
def run_samples(
    run: BlockRun, entering: Tensor | None, samples: BlockSamples
) -> tuple[Tensor, ...]:
    """Return the values of a block's ends for all samples, each of shape (N, ...)."""
    parts = []
    for start in range(0, len(samples), samples.size):
        span = slice(start, start + samples.size)
        parts.append(run(None if entering is None else entering[span], samples.take(span)))
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


class BlockProblem:
    """A block in float and quantized form, with the values that enter and the wanted results."""

    def __init__(
        self,
        graph: FloatGraph,
        network: Trainable,
        block: LayerBlock,
        samples: BlockSamples,
        boundary: Boundary | None,
    ) -> None:
        quantized = network.quantized
        self.network, self.block, self.samples, self.boundary = network, block, samples, boundary
        self.plain = plain_run(graph, block)
        self.rounded = rounded_run(quantized, block)
        entering = None if boundary is None else boundary.plain
        self.wanted = run_samples(self.plain, entering, samples)
        self.power = [max(float(one.double().square().mean()), 1e-30) for one in self.wanted]
        self.roundings = self._roundings_of_block()
        self.drops = [
            found
            for name in self.rounded.site_names
            if isinstance(found := network.quantizers.get(name), DroppedQuantizer)
        ]
        self.biases = self._biases_of_block(graph)

    def _roundings_of_block(self) -> list[SoftRounding]:
        found = [self.network.quantizers.get(weight_site_name(name)) for name in self.block.layers]
        return [one for one in found if isinstance(one, SoftRounding)]

    def _biases_of_block(self, graph: FloatGraph) -> dict[str, tuple[nn.Parameter, float]]:
        """Return the learning biases by name, each with the spread of the output channels."""
        units = {one.name: one.unit for one in self.network.rated_parameters}
        shared = set(shared_biases(graph))
        names = [graph[one.site.layer].bias for one in self.roundings]
        return {
            name: (self.network.stored[name], units[name])
            for name in names
            if name in units and name not in shared
        }

    @property
    def error(self) -> float:
        """The error on the held samples, all rounded, as a share of the float output's power."""
        rounded = None if self.boundary is None else self.boundary.rounded
        return self._error_of_span(rounded, slice(0, self.samples.held))

    @torch.no_grad()
    def _error_of_span(self, entering: Tensor | None, span: slice) -> float:
        """Return the mean square error, a scalar, of the samples in a span."""
        total = [0.0] * len(self.wanted)
        for first in range(span.start, span.stop, self.samples.size):
            part = slice(first, min(first + self.samples.size, span.stop))
            inside = None if entering is None else entering[part]
            for place, value in enumerate(self.rounded(inside, self.samples.take(part))):
                total[place] += float((value - self.wanted[place][part]).double().square().sum())
        count = span.stop - span.start
        sizes = [count * max(1, one[0].numel()) for one in self.wanted]
        shares = (
            one / size / power for one, size, power in zip(total, sizes, self.power, strict=True)
        )
        return float(sum(shares)) / len(sizes)

    def learned_values(self) -> dict[str, Tensor]:
        """Return copies of V by "rounding/layer", of biases by "bias/name", in their shapes."""
        found: dict[str, Tensor] = {
            f"rounding/{one.site.layer}": one.variable for one in self.roundings
        }
        found.update({f"bias/{name}": bias for name, (bias, _) in self.biases.items()})
        return {name: tensor.detach().clone() for name, tensor in found.items()}

    @torch.no_grad()
    def put_back(self, values: dict[str, Tensor]) -> None:
        """Set V and the biases, of the shapes from `learned_values`."""
        for one in self.roundings:
            one.variable.copy_(values[f"rounding/{one.site.layer}"])
        for name, (bias, _) in self.biases.items():
            bias.copy_(values[f"bias/{name}"])

    def make_optimizer(self, settings: RoundingSettings) -> torch.optim.Optimizer:
        """Return Adam over V and the biases, which may move from now on."""
        rate = settings.learning_rate
        groups: list[dict[str, object]] = [
            {"params": [one.variable for one in self.roundings], "lr": rate}
        ]
        for bias, spread in self.biases.values():
            groups.append({"params": [bias.requires_grad_()], "lr": rate * BIAS_RATE * spread})
        return torch.optim.Adam(groups)

    def end_learning(self) -> None:
        """Fix the biases and switch every softness off."""
        for bias, _ in self.biases.values():
            bias.requires_grad = False
        self._set_softness(None, soft=False)

    def _set_softness(self, chance: torch.Generator | None, *, soft: bool) -> None:
        for one in self.roundings:
            one.soft = soft
        for drop in self.drops:
            drop.chance = chance

    @wait_while_tracing
    def take_step(
        self,
        step: int,
        chance: torch.Generator,
        settings: RoundingSettings,
        optimizer: torch.optim.Optimizer,
        unit: float,
    ) -> None:
        """Take a step of the optimizer; the step depends on `step` and `chance` alone.

        `unit` scales the error so that the rounding loss has one weight for all blocks.
        """
        places = self.samples.draw_places(self._batch(settings), chance)
        self._set_softness(chance if settings.drop else None, soft=True)
        entering = self._mixed_entering(places, chance, settings)
        with torch.enable_grad():
            results = self.rounded(entering, self.samples.take(places))
            loss = unit * self._batch_error(results, places)
            beta = settings.beta_at_step(step)
            if beta is not None:
                decided = sum(rounding_loss(one.up, beta) for one in self.roundings)
                loss = loss + settings.regularization * decided
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        self._set_softness(None, soft=False)

    def sample_error(self, batch: int, chance: torch.Generator) -> Tensor:
        """Return the error of samples drawn at random, a scalar, all rounded."""
        count = self.network.quantized.graph.batch or batch
        places = self.samples.draw_places(count, chance)
        rounded = None if self.boundary is None else self.boundary.rounded[places]
        return self._batch_error(self.rounded(rounded, self.samples.take(places)), places)

    def _batch(self, settings: RoundingSettings) -> int:
        """Return the samples of a step; the network's batch size if there is only one."""
        return self.network.quantized.graph.batch or settings.batch

    def _mixed_entering(
        self, places: Tensor, chance: torch.Generator, settings: RoundingSettings
    ) -> Tensor | None:
        """Return entering values of shape (B, ...): quantized, with some channels of float."""
        if self.boundary is None:
            return None
        rounded = self.boundary.rounded[places]
        if not settings.drop:
            return rounded
        return torch.where(draw_mask(rounded, chance), self.boundary.plain[places], rounded)

    def _batch_error(self, results: Sequence[Tensor], places: Tensor) -> Tensor:
        """Return the error of a batch, a scalar, as a share of the float output's power."""
        errors = [
            (value - wanted[places]).square().mean() / power
            for value, wanted, power in zip(results, self.wanted, self.power, strict=True)
        ]
        return torch.stack(errors).mean()

    def next_boundary(self) -> Boundary:
        """Return the values that enter the next block."""
        rounded = None if self.boundary is None else self.boundary.rounded
        return Boundary(self.wanted[0], run_samples(self.rounded, rounded, self.samples)[0])


def loss_unit(weights: int, error: float) -> float:
    """Return the factor of the error: nearest rounding errs by 0.001 for each weight.

    >>> loss_unit(2000, 0.5)
    4.0
    """
    return LOSS_UNIT * weights / max(error, 1e-30)
