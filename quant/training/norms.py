"""Folded batch norms: opened again for training, closed into scales afterwards."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from quant.graph.float_graph import ChannelNormal
from quant.graph.layers import Layer
from quant.simulation.quant_graph import QuantGraph
from quant.spec import Granularity
from quant.training.learned_encoding import RatedParameter
from quant.training.workers import WorkerProcesses

MOMENTUM = 0.1
EPSILON = 1e-5
"""Of the mean variance of a layer's channels; so a channel that is always zero stays finite."""


class OpenNorm(nn.Module):
    """A batch norm after a folded layer; the identity until statistics change.

    By the layer's batch norm, channel k has the mean beta_k and the standard deviation |gamma_k|:
    to normalize and scale back changes nothing. The factor is weight * exp(log_weight), positive,
    so that scales can take the factor (equation 43).
    """

    running_mean: Tensor
    running_var: Tensor
    weight: Tensor

    def __init__(self, normal: ChannelNormal) -> None:
        super().__init__()
        variance = normal.std.detach().double().square()
        self.epsilon = EPSILON * max(float(variance.mean()), 1e-12)
        self.register_buffer("running_mean", normal.mean.detach().clone())
        self.register_buffer("running_var", variance.float())
        # as `factor_and_shift` computes it, so that both cancel to the last bit
        self.register_buffer("weight", torch.sqrt(self.running_var + self.epsilon))
        self.log_weight = nn.Parameter(torch.zeros_like(normal.std))
        self.bias = nn.Parameter(normal.mean.detach().clone())
        self.momentum = MOMENTUM
        self.live = False
        self.workers = WorkerProcesses()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, ...) to a tensor of equal shape, by the batch's statistics if `live`."""
        if self.live and self.workers.count > 1:
            return self._normalize_whole_batch(x)
        if self.live:
            return functional.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight * self.log_weight.exp(),
                self.bias,
                training=True,
                momentum=self.momentum,
                eps=self.epsilon,
            )
        factor, shift = self.factor_and_shift()
        shape = (1, -1, *(1,) * (x.dim() - 2))
        return x * factor.reshape(shape) + shift.reshape(shape)

    def _normalize_whole_batch(self, x: Tensor) -> Tensor:
        """Map shape (N, C, ...) by the statistics of the batch of all processes."""
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = (1, -1, *(1,) * (x.dim() - 2))
        mean = self.workers.mean_of_tensor(x.mean(axes))
        centred = x - mean.reshape(shape)
        variance = self.workers.mean_of_tensor(centred.square().mean(axes))
        with torch.no_grad():
            count = x.numel() // x.shape[1] * self.workers.count
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)
        factor = self.weight * self.log_weight.exp() / torch.sqrt(variance + self.epsilon)
        return centred * factor.reshape(shape) + self.bias.reshape(shape)

    def factor_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return (factor, shift), two tensors (C,): the effect with the running statistics."""
        deviation = torch.sqrt(self.running_var + self.epsilon)
        factor = self.weight / deviation * self.log_weight.exp()
        return factor, self.bias - self.running_mean * factor

    @torch.no_grad()
    def output_normal(self) -> ChannelNormal:
        """Return mean and standard deviation (C,) of the output."""
        return ChannelNormal(self.bias.detach().clone(), self.weight * self.log_weight.exp())

    @torch.no_grad()
    def become_identity(self) -> None:
        """Reset to the identity, after the layer before has taken the norm."""
        self.running_mean.zero_()
        self.running_var.fill_(1.0)
        self.weight.copy_(torch.sqrt(self.running_var + self.epsilon))
        self.log_weight.zero_()
        self.bias.zero_()

    def rated_parameters(self, prefix: str) -> Iterable[RatedParameter]:
        """Yield the logarithm of the weight, and the bias rated by the mean of |gamma|."""
        yield RatedParameter(f"the batch norm of {prefix}", self.log_weight, 1.0)
        unit = float(self.weight.mean())
        yield RatedParameter(f"the shift of the batch norm of {prefix}", self.bias, max(unit, 1e-8))


def can_open_norm(quantized: QuantGraph, layer: Layer) -> bool:
    """Tell whether a layer has a known batch norm and a weight with a scale per channel."""
    if layer.node not in quantized.graph.normals or layer.bias is None:
        return False
    for site in quantized.sites:
        if site.layer == layer.name and site.name != layer.name:
            return site.spec.is_float or site.spec.granularity is not Granularity.PER_TENSOR
    return False


@contextmanager
def open_batch_norms(quantized: QuantGraph) -> Iterator[dict[str, OpenNorm]]:
    """Put a batch norm behind a layer that had a batch norm; by layer, until the block ends.

    Layers with a single scale for the weight stay folded: one scale cannot take the factors of a
    batch norm (white paper, section 4.2).
    """
    norms: dict[str, OpenNorm] = {}
    places: list[tuple[fx.Node, fx.Node]] = []
    module = quantized.module
    for number, layer in enumerate(quantized.graph.layers):
        if not can_open_norm(quantized, layer):
            continue
        norm = OpenNorm(quantized.graph.normals[layer.node])
        module.add_submodule(f"open_norm_{number}", norm)
        node = quantized.graph.node_named(layer.node)
        with module.graph.inserting_after(node):
            call = module.graph.call_module(f"open_norm_{number}", (node,))
        _redirect_users(node, call)
        call.meta = dict(node.meta)
        norms[layer.name] = norm
        places.append((node, call))
    module.recompile()
    try:
        yield norms
    finally:
        for node, call in places:
            call.replace_all_uses_with(node)
            module.graph.erase_node(call)
            module.delete_submodule(str(call.target))
        module.recompile()


def set_norm_workers(norms: Iterable[OpenNorm], workers: WorkerProcesses) -> None:
    """Let norms take the statistics of a batch over all processes."""
    for norm in norms:
        norm.workers = workers


def _redirect_users(node: fx.Node, call: fx.Node) -> None:
    """Let the users of `node`, except `call`, read `call`."""
    node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)


def set_norms_live(norms: Iterable[OpenNorm], *, live: bool) -> None:
    """Let norms use the statistics of the batch, or the running statistics."""
    for norm in norms:
        norm.live = live


@contextmanager
def average_batch_statistics(norms: Iterable[OpenNorm]) -> Iterator[None]:
    """Collect plain means of the batch statistics of runs inside the block.

    The means re-estimate batch norms after training (Nagel et al. 2022): statistics of the present
    weights, not an average over weights that have moved on.
    """
    listed = list(norms)
    means = [torch.zeros_like(norm.running_mean) for norm in listed]
    variances = [torch.zeros_like(norm.running_var) for norm in listed]
    counts = [0] * len(listed)

    def collect_at(place: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def collect_statistics(
            module: nn.Module, _inputs: tuple[Tensor, ...], _output: Tensor
        ) -> None:
            assert isinstance(module, OpenNorm)
            means[place] += module.running_mean
            variances[place] += module.running_var
            counts[place] += 1

        return collect_statistics

    handles = [norm.register_forward_hook(collect_at(place)) for place, norm in enumerate(listed)]
    set_norms_live(listed, live=True)
    for norm in listed:
        norm.momentum = 1.0
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for place, norm in enumerate(listed):
            norm.momentum = MOMENTUM
            if counts[place]:
                norm.running_mean.copy_(means[place] / counts[place])
                norm.running_var.copy_(variances[place] / counts[place])
        set_norms_live(listed, live=False)
