"""Block-wise reconstruction (BRECQ, QDrop), then tuning to the outputs of the float network."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.errors import CalibrationError
from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import is_shared_argument
from quant.inputs import Inputs
from quant.passes.reconstruct.block_problem import (
    BlockProblem,
    Boundary,
    RoundingSettings,
    loss_unit,
)
from quant.passes.reconstruct.block_samples import BlockSamples, gather_samples, share_batch
from quant.passes.reconstruct.blocks import MOST_LAYERS, LayerBlock, find_blocks
from quant.passes.reconstruct.soft_rounding import BlockMethod
from quant.passes.reconstruct.stored_state import StoredState
from quant.passes.reconstruct.tune_outputs import (
    TUNING_RATE,
    OutputMethod,
    OutputProblem,
    OutputTuning,
    ScaledCodes,
)
from quant.progress import Progress, Steps, part_of_progress
from quant.simulation.plan import weight_site_name
from quant.simulation.quant_graph import QuantGraph
from quant.training.settings import NormHandling, TrainingSettings
from quant.training.trainable import Trainable, make_trainable

TRAVEL, MOST_RATE = 100.0, 0.1  # how far V may come in all, and in one step, as in AdaRound
BLOCKS_SHARE = 0.8  # of the progress, if the outputs are tuned too
REPORT_EVERY = 10


@dataclass(frozen=True, slots=True)
class ReconstructedBlock:
    """Errors of a block's output on held samples, as shares of the float output's power.

    `flipped` is the share of weights with another whole number than before.
    """

    block: LayerBlock
    before: float
    after: float
    flipped: float


@dataclass(frozen=True, slots=True)
class Reconstructed:
    """The blocks, the layers left alone with the reason, and the tuning of outputs if asked for."""

    blocks: tuple[ReconstructedBlock, ...]
    skipped: dict[str, str]
    tuning: OutputTuning | None = None


@dataclass(frozen=True, slots=True)
class Reconstruct:
    """Learn the rounding of all weights of a block together, for the block's output.

    A block ends where all later computation passes through one value (`find_blocks`). Minimised is
    ||B(x) - B~(x~)||^2 + lambda sum(1 - |2 h(V) - 1|^beta), as in AdaRound, over V, the scales of
    weights and the biases of the block: B the float block on float inputs, B~ the simulated block.
    Half of the channels of x~ are float in each step, and of the activations inside where they have
    few bits (QDrop, Wei et al. 2022); the others come from the simulated network. In the last
    quarter of the steps the weights are decided, and scales and biases follow (our choice: with 300
    steps it halves the error of a block). A block keeps its rounding unless the error of samples
    that did not teach is smaller. With `mirror`, mirrored copies of images teach too (our choice;
    enlarged parts of images did not help).

    Then, for `output_steps`, scales and biases of the whole network learn the float network's
    outputs, with whole numbers fixed. With 0 `output_steps` all encodings stay as they are. No step
    reads a label.

    Measured on efficientnet-lite0, W4A8 per channel, 200 images without labels, the other 300
    scored (float 87.7 %): after 300 steps a block 86.0 %, 91.0 % of the answers of the float
    network, KL 0.085, in 9 CPU minutes; after 60 steps for the outputs 85.7 %, 91.3 %, KL 0.075, in
    2 more (85.0 % with two threads, `benchmarks.repairs lite0-w4-blocks`). Longer or faster tuning
    lowers KL no further, and top-1 by up to 1 point.
    """

    iterations: int = 300
    output_steps: int = 60
    batch: int = 16
    learning_rate: float | None = None
    regularization: float = 0.01
    warm_start: float = 0.2
    beta: tuple[float, float] = (20.0, 2.0)
    drop: bool = True
    block_layers: int = MOST_LAYERS
    seed: int = 0
    mirror: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        least = self.iterations, self.batch, self.block_layers
        if min(least) < 1 or self.output_steps < 0:
            raise ValueError(
                "iterations, batch and block_layers must be at least 1, output_steps at least 0; "
                f"got {self.iterations}, {self.batch}, {self.block_layers} and "
                f"{self.output_steps}."
            )

    def __call__(
        self,
        graph: FloatGraph,
        quantized: QuantGraph,
        batches: Iterable[Inputs],
        state: StoredState | None = None,
    ) -> Steps[Reconstructed]:
        """Reconstruct `quantized` in place; `graph` is the float original.

        A cancelled pass leaves the blocks done so far reconstructed and the graph usable; with a
        `state` on the disk the pass goes on there, to the same bits.

        Raises:
            CalibrationError: the batches hold no sample.
        """
        images = list(batches)
        if not images:
            raise CalibrationError("Reconstruction needs at least one image; got none. Bring some.")
        blocks = find_blocks(graph, self.block_layers)
        samples = gather_samples(graph, blocks, images, mirror=self.mirror)
        work = _Reconstruction(graph, quantized, samples, self, state or StoredState())
        work.state.read()
        share = BLOCKS_SHARE if self.output_steps else 1.0
        done = yield from part_of_progress(work.reconstruct_blocks(blocks), 0.0, share)
        tuning = None
        if self.output_steps and done:
            tuning = yield from part_of_progress(work.tune_outputs(), share, 1.0)
        return Reconstructed(done, work.skipped, tuning)

    @property
    def rounding_settings(self) -> RoundingSettings:
        """The settings of a block's learning."""
        rate = self.learning_rate or min(MOST_RATE, TRAVEL / self.iterations)
        return RoundingSettings(
            self.iterations,
            self.batch,
            rate,
            self.regularization,
            self.warm_start,
            self.beta,
            self.seed,
            self.drop,
        )

    @property
    def tuning_settings(self) -> TrainingSettings:
        """The settings of the tuning to outputs."""
        return TrainingSettings(
            steps=self.output_steps, batch=max(2, self.batch), rate=TUNING_RATE, seed=self.seed
        )


@dataclass(eq=False)
class _Reconstruction:
    """One reconstruction: networks, samples, settings, and what is stored."""

    graph: FloatGraph
    quantized: QuantGraph
    samples: BlockSamples
    settings: Reconstruct
    state: StoredState
    skipped: dict[str, str] = field(default_factory=dict)

    def reconstruct_blocks(
        self, blocks: tuple[LayerBlock, ...]
    ) -> Steps[tuple[ReconstructedBlock, ...]]:
        """Reconstruct the blocks in order."""
        weights = {
            layer.name: self.graph.stored_tensor(layer.weight)
            for layer in self.graph.layers
            if layer.weight is not None
        }
        costs = [1 + sum(self.graph[name].macs for name in block.layers) for block in blocks]
        batches = share_batch(
            [self._numbers_in_block(block) for block in blocks], self.settings.batch
        )
        done: list[ReconstructedBlock] = []
        learned: dict[str, Tensor] = {}
        encodings: dict[str, Encoding] = {}
        boundary: Boundary | None = None
        try:
            method = BlockMethod(weights, weight_scales=self.settings.output_steps > 0)
            with make_trainable(self.quantized, method, NormHandling.FOLDED) as network:
                for parameter in network.stored.values():
                    parameter.requires_grad = False
                self._note_skipped_layers(network)
                for number, block in enumerate(blocks):
                    start, end = (sum(costs[:n]) / sum(costs) for n in (number, number + 1))
                    yield Progress(start, f"Reconstructing {block.title}: reading its values")
                    learning = block.without_layers(self.skipped)
                    problem = BlockProblem(self.graph, network, learning, self.samples, boundary)
                    if problem.roundings:
                        steps = self._reconstruct_block(problem, number, batches[number])
                        done.append((yield from part_of_progress(steps, start, end)))
                        learned.update(self._learned_tensors(problem))
                        encodings.update(
                            {one.site.name: one.encoding() for one in problem.roundings}
                        )
                    if block.end:
                        boundary = problem.next_boundary()
        finally:  # now: whoever cancels must find the finished blocks
            for name, tensor in learned.items():
                self.quantized.graph.store_tensor(name, tensor)
            for name, encoding in encodings.items():
                self.quantized.quantizers[name].set_encoding(encoding)
        return tuple(done)

    def _note_skipped_layers(self, network: Trainable) -> None:
        """Note the layers whose rounding does not learn, and the reason."""
        for layer in self.graph.layers:
            if layer.weight is None:
                continue
            quantizer = network.quantizers.get(weight_site_name(layer.name))
            if quantizer is None:
                self.skipped[layer.name] = "its weight is float"
            elif is_shared_argument(self.graph.node_named(layer.node), 1):
                self.skipped[layer.name] = "another operation shares its weight"

    def _numbers_in_block(self, block: LayerBlock) -> int:
        """Return how many numbers the layers of a block put out for one sample."""
        return sum(math.prod(self.graph[name].shape) for name in block.layers)

    def _reconstruct_block(
        self, problem: BlockProblem, number: int, batch: int
    ) -> Steps[ReconstructedBlock]:
        """Learn one block, or take over the stored result of the block."""
        settings = replace(self.settings.rounding_settings, batch=batch)
        part = f"block {number}"
        stored = self.state.part(part)
        if stored:
            problem.put_back(_values_of_decisions(stored))
            before, after, flipped = self.state.plain[part]
            return ReconstructedBlock(problem.block, before, after, flipped)
        start, before = problem.learned_values(), problem.error
        weights = sum(one.variable.numel() for one in problem.roundings)
        if before > 0:
            optimizer, unit = problem.make_optimizer(settings), loss_unit(weights, before)
            try:
                for step in range(settings.iterations):
                    seed = (settings.seed * 1009 + number) * 1_000_003 + step
                    chance = torch.Generator().manual_seed(seed)
                    problem.take_step(step, chance, settings, optimizer, unit)
                    if step % REPORT_EVERY == 0:
                        text = f"Reconstructing {problem.block.title}: step {step}"
                        yield Progress(step / settings.iterations, text)
            finally:
                problem.end_learning()
        after = problem.error
        if not after < before:
            problem.put_back(start)
            after = before
        flipped = sum(
            int(((one.variable >= 0) != (start[f"rounding/{one.site.layer}"] >= 0)).sum())
            for one in problem.roundings
        )
        result = ReconstructedBlock(problem.block, before, after, flipped / weights)
        self.state.plain[part] = [result.before, result.after, result.flipped]
        self.state.put_part(part, _decisions_of_values(problem.learned_values()))
        return result

    def _learned_tensors(self, problem: BlockProblem) -> dict[str, Tensor]:
        """Return rounded weights and biases, of the stored shapes, by name in the graph."""
        found = {
            str(self.graph[one.site.layer].weight): one.rounded_weight()
            for one in problem.roundings
        }
        found.update({name: bias.detach().clone() for name, (bias, _) in problem.biases.items()})
        return found

    def tune_outputs(self) -> Steps[OutputTuning]:
        """Tune scales and biases, and write scales, weights and biases."""
        settings = self.settings.tuning_settings
        method = OutputMethod(settings, frozenset(self.skipped))
        with make_trainable(self.quantized, method, NormHandling.FOLDED) as network:
            problem = OutputProblem(self.graph, network, self.samples, settings, self.state)
            result = yield from problem.tune()
            encodings = network.encodings()
            tensors: dict[str, Tensor] = {
                name: tensor.detach().clone()
                for name, tensor in network.stored.items()
                if tensor.requires_grad
            }
            for quantizer in network.quantizers.values():
                if isinstance(quantizer, ScaledCodes):
                    weight = str(self.graph[quantizer.site.layer].weight)
                    tensors[weight] = quantizer(quantizer.steps).detach()
        for name, tensor in tensors.items():
            self.quantized.graph.store_tensor(name, tensor)
        for site in self.quantized.sites:
            if site.name in encodings:
                self.quantized.quantizers[site.name].set_encoding(encodings[site.name])
        return result


def _decisions_of_values(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return V as decisions (bool, same shape) and the biases as they are, by name."""
    return {
        name: tensor >= 0 if name.startswith("rounding/") else tensor
        for name, tensor in values.items()
    }


def _values_of_decisions(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return values of the same shape that decide as the stored values do."""
    return {
        name: torch.where(tensor, 1.0, -1.0) if name.startswith("rounding/") else tensor
        for name, tensor in stored.items()
    }
