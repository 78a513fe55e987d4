"""Simulated quantization: the graph with a quantizer at each site of the plan."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor, fx

from quant.config import QuantConfig
from quant.graph.borrowed_weights import find_borrowed_weights
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import is_input_name
from quant.graph.node_facts import facts_of_node, write_node_facts
from quant.graph.operators import clip_limits, operator_name, weight_argument_position
from quant.inputs import Inputs, Outputs, first_output_of, tensors_of_batch
from quant.ranges.batch_norm_moments import propagate_moments
from quant.ranges.statistics import Statistics
from quant.simulation.choose_encodings import (
    encode_activation_site,
    encode_weight_site,
    search_activation_sites,
)
from quant.simulation.plan import Side, Site, plan_sites
from quant.simulation.quantizer import Quantizer, State
from quant.spec import Estimator
from quant.torch_state import wait_while_tracing


class QuantGraph:
    """A copy of a graph with a quantizer at every site.

    Context managers alone change the states of quantizers. Encodings come from calibration at
    construction or from `set_encoding` of a quantizer.
    """

    def __init__(self, graph: FloatGraph, sites: tuple[Site, ...]) -> None:
        self.graph = graph.copy_graph()
        self.sites = sites
        self.quantizers: dict[str, Quantizer] = {}
        self._nodes = {node.name: node for node in self.module.graph.nodes}
        self._borrowed = find_borrowed_weights(self.module)
        for position, site in enumerate(sites):
            self._insert_quantizer(site, f"quantizer_{position}")
        self._nodes.clear()
        self.module.recompile()

    @property
    def module(self) -> fx.GraphModule:
        """The executable graph."""
        return self.graph.module

    def __call__(self, inputs: Inputs) -> Tensor:
        """Run the simulated network on inputs of shape (N, *input_shape); return output 0."""
        return first_output_of(self.run(inputs))

    @wait_while_tracing
    def run(self, inputs: Inputs) -> Outputs:
        """Run the simulated network on inputs of shape (N, *input_shape); return the outputs."""
        result: Outputs = self.module(*tensors_of_batch(inputs))
        return result

    def _insert_quantizer(self, site: Site, name: str) -> None:
        nodes = self.module.graph
        node = self._nodes[site.node]
        if site.side is Side.WEIGHTS:
            quantizer = Quantizer(site)
            self.module.add_submodule(name, quantizer)
            readers = self._readers_of_weight(node)
            with nodes.inserting_before(readers[0][0]):
                call = nodes.call_module(name, (node.args[readers[-1][1]],))
            for reader, place in readers:
                reader.args = (*reader.args[:place], call, *reader.args[place + 1 :])
        else:
            clip = clip_limits(node) if node.op == "call_function" else None
            quantizer = Quantizer(site, clip)
            self.module.add_submodule(name, quantizer)
            with nodes.inserting_after(node):
                call = nodes.call_module(name, (node,))
            node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)
            if clip is not None:
                call.args = (node.args[0],)
                nodes.erase_node(node)
        write_node_facts(call, replace(facts_of_node(node), site=site.name))
        self.quantizers[site.name] = quantizer

    def _readers_of_weight(self, node: fx.Node) -> list[tuple[fx.Node, int]]:
        """Return (node, position of the weight) of what reads a layer's weight, the layer last."""
        borrowers = [
            (self._nodes[one.borrower], one.position)
            for one in self._borrowed
            if one.lender == node.name
        ]
        return [*borrowers, (node, weight_argument_position(operator_name(node)))]

    @contextmanager
    def with_states(self, states: Mapping[str, State]) -> Iterator[None]:
        """Set the states of quantizers by site name; restore the old states at the end."""
        before = {name: quantizer.state for name, quantizer in self.quantizers.items()}
        for name, state in states.items():
            quantizer = self.quantizers[name]
            ready = state is not State.QUANTIZE or quantizer.encoding is not None
            quantizer.state = state if ready else State.OFF
        try:
            yield
        finally:
            for name, state in before.items():
                self.quantizers[name].state = state

    @contextmanager
    def as_float_network(self) -> Iterator[None]:
        """Let values pass unchanged: the float network."""
        with self.with_states(dict.fromkeys(self.quantizers, State.OFF)):
            yield

    @contextmanager
    def collecting_statistics(self) -> Iterator[None]:
        """Collect statistics of the activations of the float network."""
        states = {
            site.name: State.OBSERVE if site.side is Side.ACTIVATIONS else State.OFF
            for site in self.sites
        }
        with self.with_states(states):
            yield

    @contextmanager
    def only_layer(self, layer: str, side: Side = Side.BOTH) -> Iterator[None]:
        """Quantize one layer alone, the rest is float. A KeyError names an unknown layer."""
        self.graph[layer]
        with self.with_states(
            {s.name: _state_for_choice(_is_site_chosen(s, layer, side)) for s in self.sites}
        ):
            yield

    @contextmanager
    def all_but_layer(self, layer: str, side: Side = Side.BOTH) -> Iterator[None]:
        """Quantize as configured except for one layer. A KeyError names an unknown layer."""
        self.graph[layer]
        with self.with_states(
            {s.name: State.OFF for s in self.sites if _is_site_chosen(s, layer, side)}
        ):
            yield

    @contextmanager
    def only_side(self, side: Side) -> Iterator[None]:
        """Quantize weights alone or activations alone."""
        with self.with_states(
            {s.name: _state_for_choice(side.includes_role(s.side)) for s in self.sites}
        ):
            yield


def _is_site_chosen(site: Site, layer: str, side: Side) -> bool:
    return site.layer == layer and side.includes_role(site.side)


def _state_for_choice(chosen: bool) -> State:
    return State.QUANTIZE if chosen else State.OFF


def quantize_graph(
    graph: FloatGraph,
    config: QuantConfig,
    calibration: Mapping[str, Statistics] | None = None,
    input_range: tuple[float, float] | None = None,
) -> QuantGraph:
    """Return a simulated network: weights quantized at once, activations where statistics exist.

    `calibration` holds the statistics of activation sites (`passes.calibrate`). Sites with the
    estimator batch-norm need no statistics, but then the network's input needs `input_range`.

    Raises:
        ConfigError: a rule matches no layer.
        CalibrationError: a site's encoding needs statistics and has none.
    """
    result = QuantGraph(graph, plan_sites(graph, config))
    for site in result.sites:
        if site.side is Side.WEIGHTS and not site.spec.is_float:
            result.quantizers[site.name].set_encoding(encode_weight_site(graph, site))
    if calibration is not None or _is_data_free(result.sites):
        _set_activation_encodings(result, graph, calibration or {}, input_range)
    return result


def _is_data_free(sites: tuple[Site, ...]) -> bool:
    return all(
        site.spec.is_float or site.spec.estimator is Estimator.BATCH_NORM
        for site in sites
        if site.side is Side.ACTIVATIONS and not is_input_name(site.layer)
    )


def _set_activation_encodings(
    result: QuantGraph,
    graph: FloatGraph,
    calibration: Mapping[str, Statistics],
    input_range: tuple[float, float] | None,
) -> None:
    moments = propagate_moments(graph) if _any_data_free_site(result.sites) else {}
    searched = search_activation_sites(result.sites, calibration)
    for site in result.sites:
        if site.side is Side.WEIGHTS or site.spec.is_float:
            continue
        if site.shared_with is not None:
            encoding = result.quantizers[site.shared_with].encoding
        elif site.name in searched:
            encoding = searched[site.name]
        else:
            encoding = encode_activation_site(site, calibration, input_range, moments)
        result.quantizers[site.name].set_encoding(encoding)


def _any_data_free_site(sites: tuple[Site, ...]) -> bool:
    return any(site.spec.estimator is Estimator.BATCH_NORM for site in sites)
