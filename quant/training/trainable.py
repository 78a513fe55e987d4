"""A simulated network with learned quantizers in place of the plain quantizers, for a time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, fx, nn

from quant.encoding import Encoding
from quant.graph import operators as ops
from quant.graph.float_graph import ChannelNormal
from quant.graph.layer_pairs import clip_limit_tensors
from quant.graph.node_facts import facts_of_node
from quant.graph.operators import operator_name
from quant.inputs import Inputs
from quant.simulation.plan import Side, Site, weight_site_name
from quant.simulation.quant_graph import QuantGraph
from quant.simulation.quantizer import State
from quant.training.learned_encoding import LearnedEncoding, RatedParameter, TrainableQuantizer
from quant.training.methods.learned_step import LearnedStep
from quant.training.norms import OpenNorm, open_batch_norms
from quant.training.settings import NormHandling

WARN_FLOOR = 1e-8


def pass_first_value(x: Tensor, *_limits: Tensor) -> Tensor:
    """Return x, of x's shape: stands in for a clip taken into the quantizer behind."""
    return x


@dataclass(eq=False)
class Trainable:
    """A simulated network in training: learned quantizers by site, norms by layer.

    `stored` holds the learning tensors of the graph, by name in the graph.
    """

    quantized: QuantGraph
    stored: dict[str, nn.Parameter]
    quantizers: dict[str, TrainableQuantizer] = field(default_factory=dict)
    norms: dict[str, OpenNorm] = field(default_factory=dict)

    def __call__(self, inputs: Inputs) -> Tensor:
        """Run the network on inputs of shape (N, *input_shape); return the (first) output."""
        return self.quantized(inputs)

    @cached_property
    def rated_parameters(self) -> list[RatedParameter]:
        """The learning parameters, once each, with the sizes for the rate."""
        found: dict[int, RatedParameter] = {}
        for one in self._iterate_rated_parameters():
            found.setdefault(id(one.parameter), one)
        return list(found.values())

    def _iterate_rated_parameters(self) -> Iterator[RatedParameter]:
        owners = {layer.bias: layer for layer in self.quantized.graph.layers if layer.bias}
        normals = self.quantized.graph.normals
        for target, tensor in self.stored.items():
            unit = _root_mean_square(tensor)
            layer = owners.get(target)
            if layer is not None and layer.node in normals:
                unit = float(normals[layer.node].std.mean())
            elif layer is not None:
                unit = max(
                    unit, _root_mean_square(self.quantized.graph.stored_tensor(str(layer.weight)))
                )
            yield RatedParameter(target, tensor, max(unit, WARN_FLOOR))
        for quantizer in self.quantizers.values():
            yield from quantizer.rated_parameters()
        for name, norm in self.norms.items():
            yield from norm.rated_parameters(name)

    def all_tensors(self) -> dict[str, Tensor]:
        """Return the tensors changed by training, of any shape, by unique names."""
        found: dict[str, Tensor] = {
            f"tensor/{name}": tensor for name, tensor in self.stored.items()
        }
        for site, quantizer in self.quantizers.items():
            found.update({f"site/{site}/{k}": v for k, v in quantizer.state_dict().items()})
        for layer, norm in self.norms.items():
            found.update({f"norm/{layer}/{k}": v for k, v in norm.state_dict().items()})
        return found

    @torch.no_grad()
    def restore_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Put back the tensors from `all_tensors`, of equal shapes."""
        for name, tensor in self.all_tensors().items():
            tensor.copy_(tensors[name])

    def encodings(self) -> dict[str, Encoding]:
        """Return the present encoding of each site."""
        return {site: quantizer.encoding() for site, quantizer in self.quantizers.items()}

    def weights_with_encodings(self) -> Iterator[tuple[str, Tensor, Encoding]]:
        """Yield (layer, weight of shape (O, I, ...), present encoding) of encoded weights."""
        graph = self.quantized.graph
        for layer in graph.layers:
            quantizer = self.quantizers.get(weight_site_name(layer.name))
            if quantizer is not None:
                yield layer.name, graph.stored_tensor(str(layer.weight)), quantizer.encoding()

    @torch.no_grad()
    def fold_open_norms(self) -> dict[str, ChannelNormal]:
        """Fold the norms into weights, biases and scales (equation 43): s~ = s f, W~ = W f.

        Returns mean and standard deviation of a norm's output, by node.
        """
        normals: dict[str, ChannelNormal] = {}
        graph = self.quantized.graph
        for name, norm in self.norms.items():
            layer = graph[name]
            factor, shift = norm.factor_and_shift()
            weight, bias = self.stored[str(layer.weight)], self.stored[str(layer.bias)]
            shape = [-1 if axis == layer.channel_axis else 1 for axis in range(weight.dim())]
            weight.mul_(factor.reshape(shape))
            bias.mul_(factor).add_(shift)
            quantizer = self.quantizers.get(weight_site_name(name))
            if quantizer is not None:
                quantizer.rescale_encoding(factor.reshape(shape))
            normals[layer.node] = norm.output_normal()
            norm.become_identity()
        return normals


@contextmanager
def make_trainable(
    quantized: QuantGraph, method: LearnedStep, norms: NormHandling = NormHandling.FOLDED
) -> Iterator[Trainable]:
    """Exchange quantizers for learned quantizers; restore the network when the block ends.

    Weights moved by training are put back too: read the learned values (`Trainable.all_tensors`,
    `Trainable.encodings`) before the block ends.
    """
    stored = dict(_learning_tensors(quantized))
    before = {name: tensor.detach().clone() for name, tensor in stored.items()}
    result = Trainable(quantized, stored)
    undo: list[tuple[fx.Node, object, tuple[object, ...]]] = []
    products = {str(node.target): node for node in _quantizer_calls(quantized)}
    kept = {name: quantized.module.get_submodule(name) for name in products}
    try:
        for tensor in stored.values():
            tensor.requires_grad_()
        result.quantizers = _exchange_quantizers(quantized, method, products, undo)
        if norms is NormHandling.KEPT:
            with open_batch_norms(quantized) as opened:
                result.norms = opened
                yield result
        else:
            quantized.module.recompile()
            yield result
    finally:
        for name, module in kept.items():
            quantized.module.add_submodule(name, module)
        for node, target, args in undo:
            node.target, node.args = target, args  # type: ignore[assignment]
        quantized.module.recompile()
        with torch.no_grad():
            for name, tensor in stored.items():
                tensor.requires_grad = False
                tensor.grad = None
                tensor.copy_(before[name])


def _quantizer_calls(quantized: QuantGraph) -> Iterator[fx.Node]:
    for node in quantized.module.graph.nodes:
        if node.op == "call_module" and facts_of_node(node).site:
            yield node


def _exchange_quantizers(
    quantized: QuantGraph,
    method: LearnedStep,
    products: dict[str, fx.Node],
    undo: list[tuple[fx.Node, object, tuple[object, ...]]],
) -> dict[str, TrainableQuantizer]:
    encodings: dict[str, LearnedEncoding] = {}
    sites = {site.name: site for site in quantized.sites}
    found: dict[str, TrainableQuantizer] = {}
    for name, node in products.items():
        site = sites[facts_of_node(node).site]
        product = quantized.quantizers[site.name]
        if product.encoding is None or product.state is not State.QUANTIZE:
            continue
        if site.side is Side.WEIGHTS:
            weight = quantized.graph.stored_tensor(str(quantized.graph[site.layer].weight))
            learned = method.make_weight_quantizer(quantized.graph, site, product.encoding, weight)
        else:
            encoding = _learned_encoding_of(site, product.encoding, encodings, method)
            caps = _take_clip_caps(quantized, node, undo)
            learned = method.make_activation_quantizer(
                quantized.graph, site, encoding, product.clip, caps
            )
        quantized.module.add_submodule(name, learned)
        found[site.name] = learned
    return found


def _learned_encoding_of(
    site: Site, start: Encoding, encodings: dict[str, LearnedEncoding], method: LearnedStep
) -> LearnedEncoding:
    """Return the learned encoding of a site: the shared site's encoding if the starts are equal."""
    source = encodings.get(str(site.shared_with))
    same = source is not None and (
        torch.equal(source.start_scale, start.scale)
        and torch.equal(source.start_zero_point, start.zero_point)
        and (source.qmin, source.qmax) == (start.qmin, start.qmax)
    )
    encoding = source if source is not None and same else method.learned_encoding(site, start)
    encodings[site.name] = encoding
    return encoding


def _take_clip_caps(
    quantized: QuantGraph,
    call: fx.Node,
    undo: list[tuple[fx.Node, object, tuple[object, ...]]],
) -> tuple[Tensor | None, Tensor] | None:
    """Take a clip with limits (C, 1, 1) into the quantizer behind; note how to undo the change."""
    clip = call.args[0]
    if not isinstance(clip, fx.Node) or operator_name(clip) not in ops.CHANNEL_CLIPS:
        return None
    held = clip_limit_tensors(clip)
    if len(clip.users) != 1 or clip.kwargs or not _are_stored_values(held):
        return None
    floor, cap = (
        quantized.graph.stored_tensor(str(one.target)) if isinstance(one, fx.Node) else None
        for one in held
    )
    if cap is None or any(one is not None and one.dim() not in (0, 3) for one in (floor, cap)):
        return None
    undo.append((clip, clip.target, clip.args))
    clip.target, clip.args = pass_first_value, (clip.args[0],)
    return floor, cap


def _are_stored_values(held: Iterable[object]) -> bool:
    return all(one is None or (isinstance(one, fx.Node) and one.op == "get_attr") for one in held)


def _learning_tensors(quantized: QuantGraph) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield weights and biases of layers, and of norms that stay, by name, without repetition."""
    met: set[int] = set()
    for node in quantized.module.graph.nodes:
        for target in _targets_of_node(quantized, node):
            tensor = quantized.graph.stored_tensor(target)
            if id(tensor) not in met and tensor.is_floating_point():
                met.add(id(tensor))
                yield target, tensor  # type: ignore[misc]


def _targets_of_node(quantized: QuantGraph, node: fx.Node) -> Iterator[str]:
    for layer in quantized.graph.layers:
        if layer.node == node.name:
            yield from (target for target in (layer.weight, layer.bias) if target)
    if operator_name(node) in ops.NORMS:
        first = 1 if operator_name(node) in ops.BATCH_NORMS else 2
        for arg in node.args[first : first + 2]:
            if isinstance(arg, fx.Node) and arg.op == "get_attr":
                yield str(arg.target)


def _root_mean_square(tensor: Tensor) -> float:
    """Return the root mean square of a tensor, a scalar."""
    return float(tensor.detach().square().mean().sqrt())
