"""Tune scales and biases of a whole simulated network to the float network's outputs."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.graph.float_graph import FloatGraph
from quant.passes.reconstruct.block_problem import BlockProblem
from quant.passes.reconstruct.block_samples import BlockSamples
from quant.passes.reconstruct.blocks import LayerBlock, shared_biases
from quant.passes.reconstruct.soft_rounding import learns_scale
from quant.passes.reconstruct.stored_state import StoredState
from quant.progress import Progress, Steps
from quant.simulation.plan import Side, Site
from quant.torch_state import wait_while_tracing
from quant.training.learned_encoding import (
    LearnedEncoding,
    RatedParameter,
    TrainableQuantizer,
)
from quant.training.losses import TrainingLoss
from quant.training.methods.learned_step import LearnedStep
from quant.training.optimizer import make_optimizer, rate_at_step, set_group_rates
from quant.training.settings import LossKind, TrainingSettings
from quant.training.trainable import Trainable
from quant.training.weights import check_finite_step

TUNING_RATE = 5e-4
"""A step of a scale or a bias, as a share of its size (our choice)."""
PART = "tuning"
REPORT_EVERY = 5


class ScaledCodes(TrainableQuantizer):
    """A weight's quantizer with fixed whole numbers and a scale that learns: W~ = s (q - z)."""

    steps: Tensor

    def __init__(self, site: Site, start: Encoding, weight: Tensor, *, learns: bool) -> None:
        super().__init__()
        self.site = site
        self.learned = LearnedEncoding(start, learn_scale=learns, learn_zero_point=False)
        steps = start.quantize(weight.detach()) - start.zero_point
        self.register_buffer("steps", steps, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return W~, of the weight's shape; the weight `x` is not read again."""
        del x
        return self.steps * self.learned.scale

    def encoding(self) -> Encoding:
        """Return the present encoding."""
        return self.learned.encoding()

    def rated_parameters(self) -> Iterable[RatedParameter]:
        """Yield the logarithm of the scale."""
        yield from self.learned.rated_parameters(self.site.name)


class OutputMethod(LearnedStep):
    """Scales of weights and activations learn; whole numbers of weights and zero points stay.

    The scales of weights of the layers `fixed` stay, too.
    """

    def __init__(self, settings: TrainingSettings, fixed: frozenset[str]) -> None:
        super().__init__(settings)
        self.fixed = fixed

    def make_weight_quantizer(
        self, graph: FloatGraph, site: Site, start: Encoding, weight: Tensor
    ) -> TrainableQuantizer:
        """Return fixed whole numbers of the weight, shape (O, I, ...), with a learned scale."""
        del graph
        learns = site.layer not in self.fixed and learns_scale(site)
        return ScaledCodes(site, start, weight, learns=learns)

    def learned_encoding(self, site: Site, start: Encoding) -> LearnedEncoding:
        """Return the encoding of an activation, with a fixed zero point."""
        return LearnedEncoding(
            start,
            learn_scale=site.side is Side.ACTIVATIONS and learns_scale(site),
            learn_zero_point=False,
        )


@dataclass(frozen=True, slots=True)
class OutputTuning:
    """The effect of the tuning on held samples, which the tuning lowers.

    The errors are shares of the float output's power; for a classifier with the divergence of its
    softmax from that of the float network (our choice: it says more about answers).
    """

    steps: int
    before: float
    after: float


@dataclass(eq=False)
class OutputProblem:
    """The tuning of one network, with the whole network as a block."""

    graph: FloatGraph
    network: Trainable
    samples: BlockSamples
    settings: TrainingSettings
    state: StoredState

    def __post_init__(self) -> None:
        """Fix the weights: their scales alone learn."""
        whole = LayerBlock("", "", ())
        self.problem = BlockProblem(self.graph, self.network, whole, self.samples, None)
        shape = self.graph.output_shape
        is_classifier = len(shape) == 1 and shape[0] > 1
        self.divergence = TrainingLoss(LossKind.DISTIL, classes=True) if is_classifier else None
        fixed = {layer.weight for layer in self.graph.layers}
        fixed |= set(shared_biases(self.graph))
        for name, tensor in self.network.stored.items():
            tensor.requires_grad = name not in fixed
        rated = self.network.rated_parameters
        self.rated = [one for one in rated if one.parameter.requires_grad]

    def tune(self) -> Steps[OutputTuning]:
        """Take the steps; the state before remains unless the held samples gain."""
        before = self.problem.held_error(self.divergence)
        if not self.rated or before == 0:
            return OutputTuning(0, before, before)
        start = self._values()
        optimizer = make_optimizer(self.rated, self.settings)
        first = self._resume(optimizer)
        for step in range(first, self.settings.steps):
            if step % REPORT_EVERY == 0:
                text = f"Tuning to the float outputs: step {step} of {self.settings.steps}"
                try:
                    yield Progress(step / self.settings.steps, text)
                except GeneratorExit:  # cancelled between two steps: nothing is lost
                    self._store(step, optimizer)
                    raise
            self._take_step(step, optimizer)
            if self.state.is_due():
                self._store(step + 1, optimizer)
        self._store(self.settings.steps, optimizer)
        after = self.problem.held_error(self.divergence)
        if after >= before:
            self._put_back(start)
        return OutputTuning(self.settings.steps, before, min(before, after))

    @wait_while_tracing
    def _take_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Take a step; the step depends on its number alone, not on the process's past."""
        chance = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + 7 * step + 3)
        set_group_rates(optimizer, rate_at_step(step, self.settings))
        with torch.enable_grad():
            loss = self.problem.sample_error(self.settings.batch, chance, self.divergence)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        check_finite_step(float(loss.detach()), self.network, step)
        optimizer.step()

    def _values(self) -> dict[str, Tensor]:
        return {one.name: one.parameter.detach().clone() for one in self.rated}

    @torch.no_grad()
    def _put_back(self, values: dict[str, Tensor]) -> None:
        for one in self.rated:
            one.parameter.copy_(values[one.name])

    def _store(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        if self.state.path is None:
            return
        found = {f"now/{name}": tensor for name, tensor in self._values().items()}
        for one in self.rated:
            for key, value in optimizer.state.get(one.parameter, {}).items():
                found[f"moment/{key}/{one.name}"] = value
        self.state.plain["tuned"] = step
        self.state.put_part(PART, found)

    def _resume(self, optimizer: torch.optim.Optimizer) -> int:
        """Return the next step, with values and moments of the stored state."""
        stored = self.state.part(PART)
        if not stored:
            return 0
        self._put_back({one.name: stored[f"now/{one.name}"] for one in self.rated})
        for one in self.rated:
            moments = {
                name.split("/", 2)[1]: tensor
                for name, tensor in stored.items()
                if name.startswith("moment/") and name.split("/", 2)[2] == one.name
            }
            optimizer.state[one.parameter].update(moments)
        return int(self.state.plain["tuned"])
