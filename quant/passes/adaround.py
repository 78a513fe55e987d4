"""AdaRound: learn to round a weight up or down (white paper, section 3.4)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.errors import CalibrationError
from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import (
    WEIGHTED,
    convolution_groups,
    has_computed_bias,
    is_shared_argument,
)
from quant.graph.layers import Layer
from quant.graph.walk import Walk
from quant.inputs import Inputs
from quant.passes.samples import Samples, collect_samples, fused_activation_of, reason_against_rows
from quant.progress import Progress, Steps
from quant.simulation.plan import weight_site_name
from quant.simulation.quant_graph import QuantGraph
from quant.torch_state import wait_while_tracing

ZETA, GAMMA = 1.1, -0.1  # the stretch of the rectified sigmoid
STEPS_A_PROGRESS = 25
TRAVEL, MOST_RATE = 100.0, 0.1  # how far V may come in all, and in one step
BIAS_RATE = 0.05  # steps of the bias, in standard deviations of the output, for one of V


@dataclass(frozen=True, slots=True)
class Rounded:
    """Reconstruction error of a layer, nearest rounding beside learned: mean square, same unit.

    `flipped` is the share of weights not rounded to nearest.
    """

    layer: str
    nearest: float
    learned: float
    flipped: float


@dataclass(frozen=True, slots=True)
class AdaRoundResult:
    """Results by layer, and the layers left at nearest rounding with the reason."""

    layers: tuple[Rounded, ...]
    skipped: dict[str, str]


@dataclass(frozen=True, slots=True)
class AdaRound:
    """Minimise ||f_a(W x) - f_a(W~ x^)||^2 + lambda sum(1 - |2 h(V) - 1|^beta), layer by layer.

    W~ = s clamp(floor(W/s) + h(V), qmin, qmax) with h the rectified sigmoid (zeta 1.1, gamma -0.1),
    x^ the layer's input in the quantized network and f_a the activation function. beta falls from
    20 to 2; the first fifth of the iterations has no rounding loss. Instead of whole images, `rows`
    output positions drawn at random stand for a layer: the loss is a sum over positions. A layer
    keeps nearest rounding unless learned rounding is better.

    The default `learning_rate` is 100 / iterations, at most 0.1: V travels as far as with the
    published 0.01 and 10 000 iterations. `learn_bias` lets the bias follow the rounding. The paper
    leaves the bias to bias correction, which uses the mean before the activation function and
    undoes part of the result learned behind the function.
    """

    iterations: int = 1000
    rows: int = 8192
    batch: int = 256
    learning_rate: float | None = None
    learn_bias: bool = True
    regularization: float = 0.01
    warm_start: float = 0.2
    beta: tuple[float, float] = (20.0, 2.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.rows < 1 or self.batch < 1:
            raise ValueError(
                "iterations, rows and batch must be at least 1; got "
                f"{self.iterations}, {self.rows} and {self.batch}."
            )

    def __call__(
        self, graph: FloatGraph, quantized: QuantGraph, batches: Iterable[Inputs]
    ) -> Steps[AdaRoundResult]:
        """Round the weights of `quantized` in place; `graph` is the float original.

        A cancelled pass leaves the layers done so far rounded and the graph usable.

        Raises:
            CalibrationError: the batches hold no image.
        """
        images = list(batches)
        if not images:
            raise CalibrationError("AdaRound needs at least one image; got none. Bring some.")
        original, simulated = Walk(graph.module, images), Walk(quantized.module, images)
        generator = torch.Generator().manual_seed(self.seed)
        layers = [layer for layer in graph.layers if layer.kind in WEIGHTED and layer.weight]
        done: list[Rounded] = []
        skipped: dict[str, str] = {}
        for number, layer in enumerate(layers):
            encoding = quantized.quantizers[weight_site_name(layer.name)].encoding
            if encoding is None:
                skipped[layer.name] = "its weight is float"
            elif problem := _nearest_rounding_reason(graph, layer):
                skipped[layer.name] = problem
            else:
                start, end = number / len(layers), (number + 1) / len(layers)
                yield Progress(start, f"AdaRound: reading what {layer.name} receives")
                received = simulated.input_of_node(layer.node)
                given = original.output_of_node(layer.node)
                samples = collect_samples(graph, layer, received, given, self.rows, generator)
                task = _Problem(graph, quantized, layer, encoding, samples)
                if self.learn_bias and not is_shared_argument(graph.node_named(layer.node), 2):
                    task.bias.requires_grad_()
                done.append((yield from self._round_layer(task, generator, (start, end))))
        return AdaRoundResult(tuple(done), skipped)

    def _round_layer(
        self, problem: "_Problem", generator: torch.Generator, span: tuple[float, float]
    ) -> Steps[Rounded]:
        """Learn the rounding of a layer and write the weights."""
        variable = problem.start_variable()
        rate = self.learning_rate or min(MOST_RATE, TRAVEL / self.iterations)
        bias = {"params": [problem.bias], "lr": rate * BIAS_RATE * problem.channel_spread}
        groups = [{"params": [variable], "lr": rate}, *([bias] if problem.learns_bias else [])]
        optimizer = torch.optim.Adam(groups)
        count = len(problem.samples.inputs)
        warm = int(self.warm_start * self.iterations)
        for step in range(self.iterations):
            chosen = torch.randint(count, (min(self.batch, count),), generator=generator)
            beta = self._annealed_beta((step - warm) / max(1, self.iterations - warm))
            self._descend_one_step(problem, optimizer, chosen, beta if step >= warm else None)
            if step % STEPS_A_PROGRESS == 0:
                part = span[0] + (span[1] - span[0]) * step / self.iterations
                yield Progress(part, f"AdaRound: {problem.layer.name}, step {step}")
        return problem.write_better_rounding(variable.detach())

    @wait_while_tracing
    def _descend_one_step(
        self,
        problem: "_Problem",
        optimizer: torch.optim.Optimizer,
        chosen: Tensor,
        beta: float | None,
    ) -> None:
        """Take an optimizer step on the chosen samples (S,); `beta` is None during warm-up."""
        variable: Tensor = optimizer.param_groups[0]["params"][0]
        with torch.enable_grad():
            up = rectified_sigmoid(variable)
            loss = problem.reconstruction_loss(problem.soft_weight(up), chosen)
            if beta is not None:
                loss = loss + self.regularization * rounding_loss(up, beta)
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()

    def _annealed_beta(self, share: float) -> float:
        """Return the exponent at a share of the annealed steps: a half cosine, as published."""
        high, low = self.beta
        return low + 0.5 * (high - low) * (1 + math.cos(share * math.pi))


def _nearest_rounding_reason(graph: FloatGraph, layer: Layer) -> str:
    """Return why a layer keeps nearest rounding; empty if rounding can be learned."""
    if is_shared_argument(graph.node_named(layer.node), 1):
        return "another operation shares its weight"
    if has_computed_bias(graph, layer):
        return "its bias is computed"
    return reason_against_rows(graph, layer)


def rectified_sigmoid(variable: Tensor) -> Tensor:
    """Return h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1), of V's shape.

    >>> rectified_sigmoid(torch.tensor([-9.0, 0.0, 9.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return (torch.sigmoid(variable) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def rounding_loss(up: Tensor, beta: float) -> Tensor:
    """Return sum(1 - |2 h - 1|^beta), a scalar; zero once the weights are decided (equation 34).

    >>> rounding_loss(torch.tensor([0.0, 0.5, 1.0]), 20.0)
    tensor(1.)
    """
    return (1 - (2 * up - 1).abs().pow(beta)).sum()


class _Problem:
    """The reconstruction of a layer: float weights, encoding, and samples of inputs."""

    def __init__(
        self,
        graph: FloatGraph,
        quantized: QuantGraph,
        layer: Layer,
        encoding: Encoding,
        samples: Samples,
    ) -> None:
        self.quantized = quantized
        self.layer = layer
        self.encoding = encoding
        self.samples = samples
        self.weight = graph.stored_tensor(str(layer.weight)).detach().clone()
        self.bias = quantized.graph.bias_of_layer(layer).detach().clone()
        self.groups = convolution_groups(graph, layer)
        self.activation = fused_activation_of(graph, layer)
        self.target = self.activation(samples.outputs)
        self.floor = torch.floor(self.weight / encoding.scale)
        # the loss is measured against what nearest rounding leaves, so that one lambda serves
        # layers of every scale
        self.nearest = encoding.fake_quantize(self.weight)
        self.nearest_error = self.mean_square_error(self.nearest)

    @property
    def learns_bias(self) -> bool:
        """Whether the bias follows the rounding."""
        return self.bias.requires_grad

    @property
    def channel_spread(self) -> float:
        """The standard deviation of an output channel, averaged over channels."""
        return float(self.samples.outputs.std(0, correction=0).mean())

    def start_variable(self) -> Tensor:
        """Return V with h(V) = W/s - floor(W/s), of W's shape."""
        rest = (self.weight / self.encoding.scale - self.floor).clamp(0.01, 0.99)
        return (-torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1)).requires_grad_()

    def soft_weight(self, up: Tensor) -> Tensor:
        """Return W~ for `up` = h(V), of W's shape (equation 33)."""
        steps = self.floor + up + self.encoding.zero_point
        low, high = self.encoding.code_limits()
        inside = torch.clamp(steps, low, high)
        if self.encoding.channel_bits is not None:  # one bit has nothing between its two codes
            signs = torch.where(self.weight >= 0, 1.0, -1.0)
            inside = torch.where(self.encoding.channel_bits == 1, signs, inside)
        return self.encoding.dequantize(inside)

    def layer_outputs(self, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return f_a(W~ x^ + b) as (R, O) for rows (R, groups, K)."""
        grouped = weight.reshape(self.groups, len(weight) // self.groups, -1)
        product = torch.einsum("rgk,gok->rgo", inputs, grouped).flatten(1)
        return self.activation(product + self.bias)

    def reconstruction_loss(self, weight: Tensor, chosen: Tensor) -> Tensor:
        """Return the reconstruction error of chosen rows, a scalar in units for lambda."""
        difference = self.layer_outputs(weight, self.samples.inputs[chosen]) - self.target[chosen]
        return difference.square().sum(1).mean() * self.loss_unit

    @property
    def loss_unit(self) -> float:
        """Return the unit: nearest rounding then errs by a thousandth of the number of weights.

        Then lambda decides the weights by the end: with a tenth, half of the weights stay between.
        """
        return 1e-3 * self.weight.numel() / max(self.nearest_error * len(self.weight), 1e-30)

    @torch.no_grad()
    def mean_square_error(self, weight: Tensor) -> float:
        """Return the mean square error, a scalar, over rows and outputs."""
        total = 0.0
        pairs = zip(self.samples.inputs.split(1024), self.target.split(1024), strict=True)
        for inputs, target in pairs:
            total += float((self.layer_outputs(weight, inputs) - target).double().square().sum())
        return total / self.target.numel()

    @torch.no_grad()
    def write_better_rounding(self, variable: Tensor) -> Rounded:
        """Write the better of learned and nearest rounding; `variable` is V, of W's shape."""
        learned = self.soft_weight((variable >= 0).float())
        error = self.mean_square_error(learned)
        better = error < self.nearest_error
        chosen = learned if better else self.nearest
        self.quantized.graph.store_tensor(str(self.layer.weight), chosen)
        if better and self.learns_bias:
            self.quantized.graph.store_bias(self.layer, self.bias.detach())
            self.quantized.module.recompile()  # now: whoever cancels must find it done
        flipped = float((chosen - self.nearest).abs().gt(self.encoding.scale / 2).float().mean())
        return Rounded(self.layer.name, self.nearest_error, min(error, self.nearest_error), flipped)
