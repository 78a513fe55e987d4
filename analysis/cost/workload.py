"""From a graph and a configuration to a workload of the cost model: the only bridge."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from torch import fx

from accelerator.workload import WEIGHT_KINDS, Op, OpKind, TensorInfo, Workload
from analysis.cost.op_sizes import (
    columns_by_bits,
    computed_weight_sizes,
    convolution_sizes,
    height_width_pair,
    linear_layer_sizes,
    matrix_product_sizes,
    pooling_window_size,
    spatial_plane_sizes,
)
from analysis.evaluation.measures import entropy_bits
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import INPUT_PREFIX, Layer, is_activation_node, shape_of_node
from quant.graph.node_facts import facts_of_node
from quant.graph.operators import Kind, is_pass_through, operator_name
from quant.ranges.estimators import encode_weight
from quant.simulation.plan import Side, plan_sites
from quant.spec import FLOAT_BITS, QuantSpec

Entropies = dict[tuple[str, QuantSpec], float]
WHOLE_BITS = 32
"""The width in which tokens and the like come in."""
_WHOLE_BITS = {"uint8": 8, "int8": 8, "int16": 16}
RECURRENTS = frozenset(f"aten.{name}.input" for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"))

_KINDS = {
    Kind.CONV: OpKind.CONV,
    Kind.DEPTHWISE: OpKind.DEPTHWISE,
    Kind.LINEAR: OpKind.LINEAR,
    Kind.RECURRENT: OpKind.LINEAR,
    Kind.MATMUL: OpKind.MATMUL,
    Kind.EMBEDDING: OpKind.VECTOR,
    Kind.ADD: OpKind.ELTWISE,
    Kind.MULTIPLY: OpKind.ELTWISE,
    Kind.CONCAT: OpKind.ELTWISE,
    Kind.AVERAGE_POOL: OpKind.POOL,
    Kind.ACTIVATION: OpKind.VECTOR,
    Kind.NORM: OpKind.VECTOR,
    Kind.OTHER: OpKind.VECTOR,
}


def weight_entropies(graph: FloatGraph, config: QuantConfig, known: Entropies) -> Entropies:
    """Return the entropy, in bits per weight, of every quantized weight tensor.

    `known` holds earlier results by layer and spec; missing results are measured and added, so an
    edit of one layer costs one measurement.
    """
    chosen = config.resolve_layers(graph.layers)
    for layer in graph.layers:
        spec = chosen[layer.name].weight
        if layer.weight is None or spec.is_float or (layer.name, spec) in known:
            continue
        weight = graph.stored_tensor(layer.weight)
        codes = encode_weight(weight, spec, layer.channel_axis).quantize(weight)
        known[layer.name, spec] = entropy_bits(codes)
    return known


def build_workload(
    name: str, graph: FloatGraph, config: QuantConfig, entropies: Entropies | None = None
) -> Workload:
    """Describe one image's work: operations in order, requested widths, stored activations.

    Fused functions, batch norms and reshapes are no operations and store nothing. `entropies` serve
    machines that compress weights; without entropies the stored width counts.

    Raises:
        ConfigError: a rule of `config` matches no layer.
    """
    return _Builder(graph, config, entropies or {}).build_whole_workload(name)


class _Builder:
    """Walks the graph once; `tensor_of` names the stored tensor with a node's values."""

    def __init__(self, graph: FloatGraph, config: QuantConfig, entropies: Entropies) -> None:
        self.graph = graph
        self.entropies = entropies
        self.chosen = config.resolve_layers(graph.layers)
        self.bits = {
            site.layer: site.spec.bits
            for site in plan_sites(graph, self.chosen)
            if site.side is Side.ACTIVATIONS
        }
        self.tensors: dict[str, TensorInfo] = {}
        self.tensor_of: dict[str, str] = {}
        self.inputs: list[str] = []
        self.ops: list[Op] = []

    def build_whole_workload(self, name: str) -> Workload:
        """Return the whole workload."""
        by_node = {layer.node: layer for layer in self.graph.layers}
        for node in self.graph.module.graph.nodes:
            layer = by_node.get(node.name)
            if layer is not None:
                self._add_layer(layer)
            elif operator_name(node) in RECURRENTS:
                self._add_recurrent_layer(node)
            elif node.op == "call_function" and node.name not in self.tensor_of:
                self._pass_values_on(node)
        last = (self.tensor_of.get(node.name) for node in self.graph.output_nodes)
        outputs = dict.fromkeys(filter(None, last))
        return Workload(
            name, tuple(self.ops), tuple(self.tensors.values()), tuple(self.inputs), tuple(outputs)
        )

    def _add_layer(self, layer: Layer) -> None:
        if layer.kind is Kind.INPUT:
            self._store_activation(layer.name, math.prod(layer.shape), self.bits[layer.name])
            self.inputs.append(layer.name)
        else:
            sources = self._known_tensors(layer.inputs) or self._carried_tensors(layer)
            self._store_activation(layer.name, math.prod(layer.shape), self.bits[layer.name])
            self.ops.extend(self._layer_operations(layer, sources))
        self.tensor_of[layer.node] = self.tensor_of[layer.output] = layer.name
        node = self.graph.node_named(layer.output)
        while node.name != layer.node:  # the functions fused in between store nothing
            self.tensor_of[node.name] = layer.name
            node = node.all_input_nodes[0]

    def _known_tensors(self, nodes: Iterable[str]) -> tuple[str, ...]:
        return tuple(filter(None, map(self.tensor_of.get, nodes)))

    def _carried_tensors(self, layer: Layer) -> tuple[str, ...]:
        """Return the tensor behind values without an encoding: complex numbers, tokens."""
        nodes = self.graph.node_named(layer.node).all_input_nodes
        return self._known_tensors(node.name for node in nodes)[:1] or (
            self._whole_number_input(layer),
        )

    def _whole_number_input(self, layer: Layer) -> str:
        """Return the integer tensor that a layer without real inputs depends on."""
        waiting, seen = [self.graph.node_named(layer.node)], set()
        while waiting:
            node = waiting.pop(0)
            if node.op == "placeholder":
                name = f"{INPUT_PREFIX}{facts_of_node(node).title}"
                if name not in self.tensors:
                    bits = _WHOLE_BITS.get(facts_of_node(node).kind, WHOLE_BITS)
                    self._store_activation(name, math.prod(shape_of_node(node)), bits)
                    self.inputs.append(name)
                return name
            waiting += [source for source in node.all_input_nodes if source not in seen]
            seen.update(node.all_input_nodes)
        raise QuantError(
            f"Layer {layer.name!r} must depend on an input to have a cost; it does on none. "
            "Fold it into a constant."
        )

    def _add_recurrent_layer(self, node: fx.Node) -> None:
        """Add a recurrent layer: two float products for each direction and time step."""
        source = self.tensor_of[node.all_input_nodes[0].name]
        shape = shape_of_node(node.all_input_nodes[0])
        stored = [
            n for n in node.all_input_nodes if n.op == "get_attr" and len(shape_of_node(n)) == 2
        ]
        for place, weight in enumerate(stored):
            gates, depth = shape_of_node(weight)
            name = f"{node.name} {place}"
            self._store_activation(name, math.prod(shape[:-1]) * gates, FLOAT_BITS)
            self.ops.append(
                Op(
                    name=name,
                    kind=OpKind.LINEAR,
                    inputs=(source,),
                    output=name,
                    batch=math.prod(shape[:-1]),
                    c_in=depth,
                    c_out=gates,
                    weight_bits=FLOAT_BITS,
                    activation_bits=FLOAT_BITS,
                    output_bits=FLOAT_BITS,
                    weight_elements=gates * depth,
                )
            )
            source = name
        self.tensor_of[node.name] = source

    def _store_activation(self, name: str, elements: int, bits: int) -> None:
        self.tensors[name] = TensorInfo(name, elements, bits)

    def _pass_values_on(self, node: fx.Node) -> None:
        """Add a max-pool as work with a smaller tensor; pass the values of other non-layers on."""
        sources = [s for s in node.all_input_nodes if s.name in self.tensor_of]
        if not sources or (shape_of_node(node) and not math.prod(shape_of_node(node))):
            return
        source = self.tensor_of[sources[0].name]
        is_pool = (
            "max_pool" in operator_name(node) and is_activation_node(node) and is_pass_through(node)
        )
        if not is_pool or not shape_of_node(node):
            self.tensor_of[node.name] = source
            return
        bits = self.tensors[source].bits
        self._store_activation(node.name, math.prod(shape_of_node(node)), bits)
        kernel = height_width_pair(node.args[1] if len(node.args) > 1 else 1)
        if "adaptive" in operator_name(node):
            kernel = pooling_window_size(shape_of_node(sources[0]), shape_of_node(node))
        planes: dict[str, Any] = spatial_plane_sizes(shape_of_node(sources[0]), shape_of_node(node))
        self.ops.append(
            Op(
                name=node.name,
                kind=OpKind.POOL,
                inputs=(source,),
                output=node.name,
                kernel_h=kernel[0],
                kernel_w=kernel[1],
                activation_bits=bits,
                output_bits=bits,
                **planes,
            )
        )
        self.tensor_of[node.name] = node.name

    def _layer_operations(self, layer: Layer, sources: tuple[str, ...]) -> Iterator[Op]:
        if layer.kind is Kind.ATTENTION:
            yield from self._attention_operations(layer, sources)
            return
        weight = self.chosen[layer.name].weight
        widths: dict[str, Any] = {
            "weight_bits": weight.bits if layer.weight else self.tensors[sources[-1]].bits,
            "activation_bits": self._input_bits(layer, sources),
            "output_bits": self.bits[layer.name],
            "weight_entropy": self.entropies.get((layer.name, weight)) if layer.weight else None,
        }
        kind = self._op_kind(layer)
        sizes: dict[str, Any] = self._operation_sizes(layer)
        yield Op(
            name=layer.name,
            kind=kind,
            inputs=sources,
            output=layer.name,
            multiply=layer.kind is Kind.MULTIPLY,
            **sizes,
            **widths,
            weight_groups=columns_by_bits(weight, sizes["c_out"]) if kind in WEIGHT_KINDS else (),
        )

    def _input_bits(self, layer: Layer, sources: tuple[str, ...]) -> int:
        """Return the width of a layer's input; integer inputs are moved, not multiplied."""
        return self.tensors[sources[0]].bits if layer.inputs else self.bits[layer.name]

    def _op_kind(self, layer: Layer) -> OpKind:
        # a product with a computed or unknown weight
        if layer.kind in (Kind.CONV, Kind.DEPTHWISE, Kind.LINEAR) and layer.weight is None:
            return OpKind.MATMUL if layer.macs else OpKind.VECTOR
        if layer.kind is Kind.MATMUL and not layer.macs:
            return OpKind.VECTOR
        if operator_name(self.graph.node_named(layer.node)).startswith("aten.conv_transpose"):
            return OpKind.LINEAR
        return OpKind.MATMUL if layer.kind is Kind.MATMUL else _KINDS[layer.kind]

    def _operation_sizes(self, layer: Layer) -> dict[str, int]:
        kind = self._op_kind(layer)
        if kind is OpKind.MATMUL and layer.kind is not Kind.MATMUL:
            return computed_weight_sizes(self.graph, layer)
        if kind is OpKind.MATMUL:
            return matrix_product_sizes(layer)
        if kind is OpKind.LINEAR:
            return linear_layer_sizes(self.graph, layer)
        if kind in (OpKind.CONV, OpKind.DEPTHWISE):
            return convolution_sizes(self.graph, layer)
        sizes = spatial_plane_sizes((layer.input_shapes or (layer.shape,))[0], layer.shape)
        if layer.kind is Kind.EMBEDDING:
            sizes |= {"table_elements": math.prod(layer.weight_shape)}
        if kind is OpKind.POOL:
            window = pooling_window_size(layer.input_shapes[0], layer.shape)
            sizes |= {"kernel_h": window[0], "kernel_w": window[1]}
        return sizes

    def _attention_operations(self, layer: Layer, sources: tuple[str, ...]) -> Iterator[Op]:
        """Yield scores, softmax and mix; scores and softmax have the layer's output width."""
        # `inputs` would name a tensor with two roles once and leave out constants
        operands = [o for o in self.graph.node_named(layer.node).args[:3] if isinstance(o, fx.Node)]
        query, key, value = (shape_of_node(operand) for operand in operands)
        sources = tuple(self.tensor_of.get(operand.name, sources[0]) for operand in operands)
        groups, bits = math.prod(query[:-2]), self.bits[layer.name]
        scores, weights = f"{layer.name} scores", f"{layer.name} softmax"
        for name in (scores, weights):
            self._store_activation(name, groups * query[-2] * key[-2], bits)
        widths = [self.tensors[source].bits for source in sources]
        yield Op(
            name=scores,
            kind=OpKind.MATMUL,
            inputs=sources[:2],
            output=scores,
            batch=query[-2],
            c_in=query[-1],
            c_out=key[-2],
            groups=groups,
            weight_bits=widths[1],
            activation_bits=widths[0],
            output_bits=bits,
        )
        yield Op(
            name=weights,
            kind=OpKind.VECTOR,
            inputs=(scores,),
            output=weights,
            c_in=groups,
            c_out=groups,
            in_h=query[-2],
            in_w=key[-2],
            out_h=query[-2],
            out_w=key[-2],
            activation_bits=bits,
            output_bits=bits,
        )
        yield Op(
            name=layer.name,
            kind=OpKind.MATMUL,
            inputs=(weights, sources[2]),
            output=layer.name,
            batch=query[-2],
            c_in=key[-2],
            c_out=value[-1],
            groups=groups,
            weight_bits=widths[2],
            activation_bits=bits,
            output_bits=bits,
        )
