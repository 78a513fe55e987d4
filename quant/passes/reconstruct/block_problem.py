"""The reconstruction of one block: data, error, and steps of learning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quant.graph.float_graph import FloatGraph
from quant.passes.adaround import rounding_loss
from quant.passes.reconstruct.block_samples import BlockSamples
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
from quant.training.losses import TrainingLoss
from quant.training.trainable import Trainable

BIAS_RATE = 0.5
"""A step of a bias, in standard deviations of the output, for one of V (our choice).

With 0.02 biases arrive too late: nearest rounding of few weights shifts the mean of a channel.
"""
SETTLE_SHARE = 0.25
"""The share of the steps in which scales and biases follow the decided weights (our choice)."""
SCALE_RATE = 0.05
"""A step of the logarithm of a weight's scale, for one of V (our choice)."""
FEW_BITS = 7
"""Activations with more bits err too little to be dropped inside a block (our choice).

Dropping them doubles the time of a step and leaves the error as it is.
"""
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
        warm, end = int(self.warm_start * self.iterations), self.decided_from
        if step < warm:
            return None
        share = min(1.0, (step - warm) / max(1, end - warm))
        high, low = self.beta
        return low + 0.5 * (high - low) * (1 + math.cos(share * math.pi))

    @property
    def decided_from(self) -> int:
        """The step from which weights are whole numbers, and only scales and biases learn."""
        return self.iterations - int(SETTLE_SHARE * self.iterations)

    def set_group_rates(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the rates of a step; they fall to 0 once the weights are decided."""
        passed = max(0.0, (step - self.decided_from) / max(1, self.iterations - self.decided_from))
        factor = 0.5 * (1 + math.cos(passed * math.pi))
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate * group["unit"] * factor


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
            and found.encoding().bits <= FEW_BITS
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
        return self.held_error()

    @torch.no_grad()
    def held_error(self, loss: TrainingLoss | None = None) -> float:
        """Return the error on the held samples, all rounded; a `loss` of output 0 is added."""
        entering = None if self.boundary is None else self.boundary.rounded
        total, divergence = [0.0] * len(self.wanted), 0.0
        held = self.samples.held
        for first in range(0, held, self.samples.size):
            part = slice(first, min(first + self.samples.size, held))
            inside = None if entering is None else entering[part]
            results = self.rounded(inside, self.samples.take(part))
            if loss is not None:
                mean = float(loss(results[0], None, self.wanted[0][part]))
                divergence += mean * (part.stop - part.start) / held
            for place, value in enumerate(results):
                total[place] += float((value - self.wanted[place][part]).double().square().sum())
        sizes = [held * max(1, one[0].numel()) for one in self.wanted]
        shares = (
            one / size / power for one, size, power in zip(total, sizes, self.power, strict=True)
        )
        return float(sum(shares)) / len(sizes) + divergence

    def learned_values(self) -> dict[str, Tensor]:
        """Return copies of what learns, in their shapes.

        V stands at "rounding/layer", the logarithm of the scale at "scale/layer", a bias at
        "bias/name".
        """
        found: dict[str, Tensor] = {}
        for one in self.roundings:
            found[f"rounding/{one.site.layer}"] = one.variable
            found[f"scale/{one.site.layer}"] = one.learned.log_ratio
        found.update({f"bias/{name}": bias for name, (bias, _) in self.biases.items()})
        return {name: tensor.detach().clone() for name, tensor in found.items()}

    @torch.no_grad()
    def put_back(self, values: dict[str, Tensor]) -> None:
        """Set V, scales and biases, of the shapes from `learned_values`."""
        for one in self.roundings:
            one.variable.copy_(values[f"rounding/{one.site.layer}"])
            one.learned.log_ratio.copy_(values[f"scale/{one.site.layer}"])
        for name, (bias, _) in self.biases.items():
            bias.copy_(values[f"bias/{name}"])

    def make_optimizer(self, settings: RoundingSettings) -> torch.optim.Optimizer:
        """Return Adam over V, scales and biases, which may move from now on.

        The rate of a group is that of the settings times the group's "unit".
        """
        groups: list[dict[str, object]] = [
            {"params": [one.variable for one in self.roundings], "unit": 1.0}
        ]
        for one in self.roundings:
            if one.learned.log_ratio.requires_grad:
                scale = {"params": [one.learned.log_ratio], "unit": SCALE_RATE}
                groups.append(scale)
        for bias, spread in self.biases.values():
            unit = BIAS_RATE * spread
            groups.append({"params": [bias.requires_grad_()], "unit": unit})
        return torch.optim.Adam(groups, lr=settings.learning_rate)

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
        settings.set_group_rates(optimizer, step)
        soft = step < settings.decided_from
        if not soft and len(optimizer.param_groups) == 1:
            return  # V alone learned
        places = self.samples.draw_places(self._batch(settings), chance)
        self._set_softness(chance if settings.drop else None, soft=soft)
        entering = self._mixed_entering(places, chance, settings)
        with torch.enable_grad():
            results = self.rounded(entering, self.samples.take(places))
            loss = unit * self._batch_error(results, places)
            beta = settings.beta_at_step(step) if soft else None
            if beta is not None:
                decided = sum(rounding_loss(one.up, beta) for one in self.roundings)
                loss = loss + settings.regularization * decided
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        self._set_softness(None, soft=False)

    def sample_error(
        self, batch: int, chance: torch.Generator, loss: TrainingLoss | None = None
    ) -> Tensor:
        """Return the error of samples drawn at random, a scalar, all rounded.

        A `loss` against the float network's first output is added.
        """
        count = self.network.quantized.graph.batch or batch
        places = self.samples.draw_places(count, chance)
        rounded = None if self.boundary is None else self.boundary.rounded[places]
        results = self.rounded(rounded, self.samples.take(places))
        error = self._batch_error(results, places)
        return error if loss is None else error + loss(results[0], None, self.wanted[0][places])

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
