"""Simulated quantization: a pure plan of sites, and a graph with a quantizer at each of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor, fx, nn

from quant.config import QuantConfig, Resolved
from quant.encoding import Encoding, encode_range
from quant.errors import CalibrationError
from quant.graph.float_graph import FloatGraph, Layer, is_input
from quant.graph.operators import Kind, clip_limits, is_pass_through, operator, weight_place
from quant.inputs import Inputs, Outputs, first_of, parts_of
from quant.ranges.batch_norm_moments import Moments, propagate
from quant.ranges.estimators import encode_all_statistics, encode_statistics, encode_weight
from quant.ranges.statistics import Statistics
from quant.spec import Estimator, QuantSpec


class Role(StrEnum):
    """What a quantizer acts on."""

    WEIGHT = "weight"
    ACTIVATION = "activation"


class Side(StrEnum):
    """Which roles a question is about."""

    WEIGHTS = "weights"
    ACTIVATIONS = "activations"
    BOTH = "both"

    def includes(self, role: Role) -> bool:
        """Whether quantizers of that role take part."""
        return self is Side.BOTH or self.value == f"{role}s"


@dataclass(frozen=True, slots=True)
class Site:
    """An edge of the graph that carries a grid.

    `name` is unique: the layer's name, with " weight" for weights. `node` is the node whose value
    is put on the grid (for weights the operation that reads it). `shared_with` names the site
    whose encoding this one takes over.
    """

    name: str
    layer: str
    role: Role
    spec: QuantSpec
    node: str
    shared_with: str | None = None


def plan(graph: FloatGraph, config: QuantConfig | Resolved) -> tuple[Site, ...]:
    """List the sites of a graph (white paper, section 2.3); pure.

    Every layer's output gets one after its fused functions, and so does every real input of the
    network; weights get one; biases get none, nor do whole numbers such as tokens and masks.
    Max-pool, reshape and the like pass the grid through; an average pool takes over the grid of
    its input.

    Raises:
        ConfigError: a rule of `config` matches no layer.
    """
    chosen = config.resolve(graph.layers) if isinstance(config, QuantConfig) else config
    by_output: dict[str, str] = {}
    sites: list[Site] = []
    for layer in graph.layers:
        wish = chosen[layer.name]
        if layer.weight is not None:
            name = f"{layer.name} weight"
            sites.append(Site(name, layer.name, Role.WEIGHT, wish.weight, layer.node))
        shared = _source_site(graph, layer, by_output) if layer.kind is Kind.AVERAGE_POOL else None
        sites.append(
            Site(layer.name, layer.name, Role.ACTIVATION, wish.activation, layer.output, shared)
        )
        by_output[layer.output] = layer.name
    by_name = {site.name: site for site in sites}
    return tuple(_with_shared_spec(site, by_name) for site in sites)


def _source_site(graph: FloatGraph, layer: Layer, by_output: dict[str, str]) -> str | None:
    node = graph.node(layer.inputs[0])
    while node.name not in by_output and is_pass_through(node):
        node = node.all_input_nodes[0]
    return by_output.get(node.name)


def _with_shared_spec(site: Site, by_name: dict[str, Site]) -> Site:
    source = site
    while source.shared_with is not None:
        source = by_name[source.shared_with]
    return replace(site, spec=source.spec) if source is not site else site


class State(StrEnum):
    """What a quantizer does with the values that pass."""

    OFF = "off"
    OBSERVE = "observe"
    QUANTIZE = "quantize"


class Quantizer(nn.Module):
    """Puts values on a grid, watches them, or lets them pass; takes a plain clip in with it.

    `clip` holds the limits of the activation function that the quantizer stands in for, so one
    pass over memory does both.
    """

    def __init__(self, site: Site, clip: tuple[float | None, float | None] | None = None) -> None:
        super().__init__()
        self.site = site
        self.clip = clip
        self.state = State.OFF
        self.encoding: Encoding | None = None
        self.statistics: Statistics | None = None
        self._subsumed = False
        self._kept: tuple[Tensor, int, Tensor] | None = None

    def set_encoding(self, encoding: Encoding | None) -> None:
        """Take a grid; without one the quantizer lets values pass."""
        self.encoding = encoding
        self.state = State.OFF if encoding is None else State.QUANTIZE
        self._kept = None
        self._subsumed = (
            encoding is not None and self.clip is not None and subsumes(encoding, self.clip)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor to one of the same shape."""
        if self.state is State.QUANTIZE and self.encoding is not None:
            if self.site.role is Role.WEIGHT:
                return self._quantize_weight(x, self.encoding)
            return self.encoding.fake_quantize(x if self._subsumed else self._clip(x))
        x = self._clip(x)
        if self.state is State.OBSERVE and self.statistics is not None:
            self.statistics.collect(x)
        return x

    def _clip(self, x: Tensor) -> Tensor:
        if self.clip is None:
            return x
        if self.clip == (0.0, None):
            return x.relu()
        return x.clamp(*self.clip)

    def _quantize_weight(self, weight: Tensor, encoding: Encoding) -> Tensor:
        if torch.is_grad_enabled() and weight.requires_grad:
            return encoding.fake_quantize(weight)
        # a weight changes rarely; its version tells when it has
        version = weight._version  # noqa: SLF001  no public way to ask
        if self._kept is None or self._kept[0] is not weight or self._kept[1] != version:
            # a tensor of inference mode would later stop gradients on their way to the input
            with torch.inference_mode(mode=False), torch.no_grad():
                self._kept = (weight, version, encoding.fake_quantize(weight))
        return self._kept[2]


def subsumes(encoding: Encoding, clip: tuple[float | None, float | None]) -> bool:
    """Whether clipping to the grid's own ends gives what clipping to `clip` first would give."""
    # in float32, as the quantizer itself divides: a limit may lie half way between two steps
    low, high = (
        None if limit is None else float((torch.tensor(limit) / encoding.scale).round())
        for limit in clip
    )
    zero_point = float(encoding.zero_point)
    return (low is None or low <= encoding.qmin - zero_point) and (
        high is None or high >= encoding.qmax - zero_point
    )


class QuantGraph:
    """A copy of a graph with a quantizer at every site.

    The states of the quantizers change only through the context managers; encodings through
    `calibrated` ones at construction or `set_encoding` of a quantizer.
    """

    def __init__(self, graph: FloatGraph, sites: tuple[Site, ...]) -> None:
        self.graph = graph.copy()
        self.sites = sites
        self.quantizers: dict[str, Quantizer] = {}
        for position, site in enumerate(sites):
            self._insert(site, f"quantizer_{position}")
        self.module.recompile()

    @property
    def module(self) -> fx.GraphModule:
        """The executable graph."""
        return self.graph.module

    def __call__(self, inputs: Inputs) -> Tensor:
        """Run the simulated network on inputs (N, *input_shape); return its (first) output."""
        return first_of(self.run(inputs))

    def run(self, inputs: Inputs) -> Outputs:
        """Run the simulated network and return all its outputs."""
        result: Outputs = self.module(*parts_of(inputs))
        return result

    def _insert(self, site: Site, name: str) -> None:
        nodes = self.module.graph
        node = self.graph.node(site.node)
        if site.role is Role.WEIGHT:
            quantizer = Quantizer(site)
            self.module.add_submodule(name, quantizer)
            place = weight_place(operator(node))
            with nodes.inserting_before(node):
                call = nodes.call_module(name, (node.args[place],))
            node.args = (*node.args[:place], call, *node.args[place + 1 :])
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
        call.meta = {**node.meta, "site": site.name}
        self.quantizers[site.name] = quantizer

    @contextmanager
    def states(self, states: Mapping[str, State]) -> Iterator[None]:
        """Set the states of quantizers by site name; the old ones come back at the end."""
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
    def floating(self) -> Iterator[None]:
        """Let every value pass: the float network."""
        with self.states(dict.fromkeys(self.quantizers, State.OFF)):
            yield

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Collect statistics of every activation of the float network."""
        states = {
            site.name: State.OBSERVE if site.role is Role.ACTIVATION else State.OFF
            for site in self.sites
        }
        with self.states(states):
            yield

    @contextmanager
    def only(self, layer: str, side: Side = Side.BOTH) -> Iterator[None]:
        """Quantize one layer alone; all others are float. A KeyError names an unknown layer."""
        self.graph[layer]
        with self.states({s.name: _on(_of(s, layer, side)) for s in self.sites}):
            yield

    @contextmanager
    def all_but(self, layer: str, side: Side = Side.BOTH) -> Iterator[None]:
        """Quantize as configured but for one layer. A KeyError names an unknown layer."""
        self.graph[layer]
        with self.states({s.name: State.OFF for s in self.sites if _of(s, layer, side)}):
            yield

    @contextmanager
    def only_side(self, side: Side) -> Iterator[None]:
        """Quantize weights alone or activations alone."""
        with self.states({s.name: _on(side.includes(s.role)) for s in self.sites}):
            yield


def _of(site: Site, layer: str, side: Side) -> bool:
    return site.layer == layer and side.includes(site.role)


def _on(chosen: bool) -> State:
    return State.QUANTIZE if chosen else State.OFF


def quantize(
    graph: FloatGraph,
    config: QuantConfig,
    calibration: Mapping[str, Statistics] | None = None,
    input_range: tuple[float, float] | None = None,
) -> QuantGraph:
    """Return a simulated network: weights on their grids at once, activations where known.

    `calibration` holds the statistics of each activation site (`passes.calibrate`); sites whose
    estimator is batch-norm need none, but the network's input then needs `input_range`.

    Raises:
        ConfigError: a rule matches no layer.
        CalibrationError: a site's encoding needs statistics that are missing.
    """
    result = QuantGraph(graph, plan(graph, config))
    for site in result.sites:
        if site.role is Role.WEIGHT and not site.spec.is_float:
            result.quantizers[site.name].set_encoding(encode_weight_site(graph, site))
    if calibration is not None or _data_free(result.sites):
        _set_activations(result, graph, calibration or {}, input_range)
    return result


def _data_free(sites: tuple[Site, ...]) -> bool:
    return all(
        site.spec.is_float or site.spec.estimator is Estimator.BATCH_NORM
        for site in sites
        if site.role is Role.ACTIVATION and not is_input(site.layer)
    )


def _set_activations(
    result: QuantGraph,
    graph: FloatGraph,
    calibration: Mapping[str, Statistics],
    input_range: tuple[float, float] | None,
) -> None:
    moments = propagate(graph) if _any_data_free(result.sites) else {}
    searched = search_activation_sites(result.sites, calibration)
    for site in result.sites:
        if site.role is Role.WEIGHT or site.spec.is_float:
            continue
        if site.shared_with is not None:
            encoding = result.quantizers[site.shared_with].encoding
        elif site.name in searched:
            encoding = searched[site.name]
        else:
            encoding = encode_activation_site(site, calibration, input_range, moments)
        result.quantizers[site.name].set_encoding(encoding)


def _any_data_free(sites: tuple[Site, ...]) -> bool:
    return any(site.spec.estimator is Estimator.BATCH_NORM for site in sites)


def encode_weight_site(graph: FloatGraph, site: Site) -> Encoding:
    """Return the grid of a weight's site."""
    layer = graph[site.layer]
    return encode_weight(graph.tensor(str(layer.weight)), site.spec, layer.channel_axis)


def search_activation_sites(
    sites: Iterable[Site], calibration: Mapping[str, Statistics]
) -> dict[str, Encoding]:
    """Return the grids of those activations' sites that are searched for in known statistics.

    They are those of `encode_activation_site`. One search for all sites of a spec is several times
    faster than one for each.
    """
    alike: dict[QuantSpec, list[str]] = defaultdict(list)
    for site in sites:
        own = site.role is Role.ACTIVATION and site.shared_with is None and not site.spec.is_float
        if own and site.name in calibration:
            spec = _estimated_from(site, calibration[site.name])
            if spec.estimator is Estimator.MSE:
                alike[spec].append(site.name)
    return {
        name: grid
        for spec, names in alike.items()
        for name, grid in zip(
            names, encode_all_statistics([calibration[name] for name in names], spec), strict=True
        )
    }


def encode_activation_site(
    site: Site,
    calibration: Mapping[str, Statistics],
    input_range: tuple[float, float] | None = None,
    moments: Mapping[str, Moments] | None = None,
) -> Encoding:
    """Return the grid of an activation's site that shares none (see `quantize`).

    `moments` (`moments.propagate`) are for the estimator batch-norm.

    Raises:
        CalibrationError: the site has no statistics and needs some.
    """
    moments = moments or {}
    if is_input(site.layer) and input_range and site.name not in calibration:
        low, high = (torch.tensor(limit) for limit in input_range)
        return encode_range(low, high, site.spec)
    if site.spec.estimator is Estimator.BATCH_NORM and not is_input(site.layer):
        if site.node not in moments:
            raise CalibrationError(
                f"A data-free range must follow from batch norms; layer {site.layer!r} does not. "
                "Choose mse, percentile or min-max for it and calibrate on some images."
            )
        return encode_range(*moments[site.node].range(), site.spec)
    if site.name not in calibration:
        raise CalibrationError(
            f"Layer {site.layer!r} has no statistics; a range needs some. Calibrate first."
        )
    statistics = calibration[site.name]
    return encode_statistics(statistics, _estimated_from(site, statistics))


def _estimated_from(site: Site, statistics: Statistics) -> QuantSpec:
    """Return the spec of a site with the estimator that is used where there are statistics."""
    spec = site.spec
    if spec.estimator is Estimator.BATCH_NORM and is_input(site.layer):
        return replace(spec, estimator=Estimator.MIN_MAX)
    if spec.estimator is Estimator.CROSS_ENTROPY and statistics.rows is None:
        # chosen for the whole network, it means the logits; the paper pairs it with MSE
        return replace(spec, estimator=Estimator.MSE)
    return spec
