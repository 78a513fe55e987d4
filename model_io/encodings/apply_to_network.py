"""From the encodings in a file to a configuration and to the encodings of the simulation."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from torch import fx

from model_io.encodings.aimet_read import read_aimet_encodings
from model_io.encodings.infer_rules import LayerSpecs, infer_config
from model_io.encodings.tensor_encoding import (
    FileEncoding,
    simulated_activation_encoding,
    simulated_weight_encoding,
)
from model_io.errors import ModelError
from model_io.loaded_model import LoadedModel
from model_io.onnx_import.reading.remove_qdq import TensorEncoding
from model_io.onnx_import.tensor_places import TensorPlace
from quant.config import ACTIVATION_DEFAULT, WEIGHT_DEFAULT, QuantConfig
from quant.encoding import Encoding
from quant.file_encodings import EncodingTarget, Given
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import is_activation_node, is_input_name
from quant.graph.node_facts import facts_of_node
from quant.graph.operators import is_pass_through
from quant.simulation.plan import Side, Site, plan_sites, weight_site_name
from quant.spec import FLOAT_BITS, QuantSpec

_MOST_BITS = 16
_UNKNOWN = "no tensor of the network has that name"
_CONSTANT = "it is a constant, such as a bias, but no weight of a layer"


def file_knowledge(
    loaded: LoadedModel, graph: FloatGraph
) -> tuple[dict[str, EncodingTarget], Given | None]:
    """Return the target of every file tensor in the graph, and the encodings in the model's file.

    Args:
        loaded: the model.
        graph: the graph of the model, with folded batch norms.
    """
    targets = encoding_targets_by_tensor(graph, loaded.places)
    if not loaded.encodings:
        return targets, None
    found = [encoding_from_quantizer(encoding) for encoding in loaded.encodings]
    # quantizers in the file act on the weights before folding
    plain = {
        name: replace(target, site="", reason="a batch norm behind it was folded into it")
        if target.folded
        else target
        for name, target in targets.items()
    }
    try:
        return targets, apply_file_encodings(found, graph, plain, loaded.name)
    except ModelError:  # nothing of it can be used here; the model itself can
        return targets, None


def read_network_encodings(content: str | bytes, network: "NamedNetwork", shown: str) -> Given:
    """Return the quantization that a file of encodings describes for a loaded network.

    Args:
        content: the content of the file.
        network: the network with the targets of the file's tensors (`file_knowledge`).
        shown: the name of the file in sentences.

    Raises:
        ModelError: the file holds no encodings, or no encodings of the network.
    """
    text = content if isinstance(content, str) else content.decode(errors="replace")
    encodings = read_aimet_encodings(text, shown).encodings
    return replace(
        apply_file_encodings(encodings, network.graph, network.targets, shown), text=text
    )


def resolve_encodings(source: str, text: str, network: "NamedNetwork", own: Given | None) -> Given:
    """Return the encodings of a reference: the encodings in `text`, or `own` without a text.

    Args:
        source: the name of the file.
        text: the text of the file; empty for the encodings in the model's own file.
        network: the loaded network.
        own: the encodings of the model's own file, or None.

    Raises:
        ModelError: the network has no encodings from `source`.
    """
    if text:
        return read_network_encodings(text, network, source)
    if own is None:
        raise ModelError(
            f"The encodings of {source} must be in the model's own file; it has none. Calibrate "
            "ranges instead, or load the quantized model."
        )
    return own


class NamedNetwork(Protocol):
    """A network with named tensors."""

    @property
    def graph(self) -> FloatGraph:
        """The graph, with folded batch norms."""

    @property
    def targets(self) -> Mapping[str, EncodingTarget]:
        """The target of every tensor of the file."""


def encoding_from_quantizer(encoding: TensorEncoding) -> FileEncoding:
    """Return the encoding of a quantizer in an ONNX file."""
    several = encoding.axis is not None
    middle = 0 if encoding.signed else 1 << (encoding.bits - 1)
    return FileEncoding(
        encoding.tensor,
        encoding.bits,
        encoding.signed,
        symmetric=all(zero == middle for zero in encoding.zero_point),
        scale=encoding.scale,
        zero_point=encoding.zero_point,
        shape=(len(encoding.scale),) if several else (),
        axis=encoding.axis,
        block_size=encoding.block_size,
        parameter=encoding.constant,
        narrow=encoding.narrow,
    )


def encoding_targets_by_tensor(
    graph: FloatGraph, places: Mapping[str, TensorPlace]
) -> dict[str, EncodingTarget]:
    """Return the site of every tensor, by the name in the file and by the name in QuantScope.

    QuantScope names sites ("conv1", "conv1 weight") and parameters ("conv1.weight").
    """
    sites = plan_sites(graph, QuantConfig())
    found = {site.name: EncodingTarget(site.name) for site in sites}
    weights: dict[str, Site] = {}
    for site in sites:
        if site.side is Side.WEIGHTS:
            weights[str(graph[site.layer].weight)] = site
    found |= {tensor: EncodingTarget(site.name) for tensor, site in weights.items()}
    owners = {tensor.rpartition(".")[0]: site for tensor, site in weights.items()}
    ends = _last_nodes_by_path(graph)
    encodings = {site.node: site.name for site in sites if site.side is Side.ACTIVATIONS}
    for tensor, place in places.items():
        if place.weight:
            target = _find_weight_target(graph, place, owners.get(place.paths[0]))
        else:
            node = next((ends[path] for path in place.paths if path in ends), None)
            target = _find_activation_target(node, encodings)
        if target.site or tensor not in found:  # else the name can only be meant as ours
            found[tensor] = target
    return found


def _last_nodes_by_path(graph: FloatGraph) -> dict[str, fx.Node]:
    """Return the output node of each module by path, and the input nodes by name."""
    found = {
        layer.name: graph.node_named(layer.node)
        for layer in graph.layers
        if is_input_name(layer.name)
    }
    for node in graph.module.graph.nodes:
        if node.op == "call_function" and is_activation_node(node) and facts_of_node(node).path:
            found[facts_of_node(node).path] = node
    return found


def _find_weight_target(graph: FloatGraph, place: TensorPlace, site: Site | None) -> EncodingTarget:
    if site is None:
        return EncodingTarget(reason=_CONSTANT)
    if place.changed:
        return EncodingTarget(reason="the file scales it before it is used")
    folded = graph[site.layer].node in graph.normals
    return EncodingTarget(site.name, flipped=place.flipped, folded=folded)


def _find_activation_target(node: fx.Node | None, encodings: Mapping[str, str]) -> EncodingTarget:
    """Return the site with the encoding of a value: its own site, or the site behind moves."""
    if node is None:
        return EncodingTarget(reason="it is inside a layer, which has one encoding, at its end")
    direct = node.name in encodings
    while node.name not in encodings and is_pass_through(node):
        node = node.all_input_nodes[0]
    if node.name not in encodings:
        return EncodingTarget(reason="it is inside a layer, which has one encoding, at its end")
    return EncodingTarget(encodings[node.name], direct=direct)


def apply_file_encodings(
    found: Iterable[FileEncoding],
    graph: FloatGraph,
    targets: Mapping[str, EncodingTarget],
    source: str,
) -> Given:
    """Return the configuration and the encodings that a file describes.

    Args:
        found: the encodings in the file.
        graph: the network, with folded batch norms.
        targets: the target of every tensor of the file (`encoding_targets_by_tensor`).
        source: the name of the file.

    Raises:
        ModelError: the network has no tensor of the file.
    """
    sites = {site.name: site for site in plan_sites(graph, QuantConfig())}
    taking = _Taking(graph, sites)
    found = tuple(found)
    exact = [encoding for encoding in found if not encoding.floating and encoding.bits > _MOST_BITS]
    rest = [(encoding, targets.get(encoding.tensor)) for encoding in found if encoding not in exact]
    for encoding, target in sorted(rest, key=lambda pair: pair[1] is None or not pair[1].direct):
        taking.take_tensor(encoding, target)
    if not taking.specs:
        names = ", ".join(repr(encoding.tensor) for encoding in found[:3])
        raise ModelError(
            f"The tensors in {source} must be those of {graph.layers[-1].name!r} and the other "
            f"layers of this model, got {names or 'none'}. Choose the model that they belong to."
        )
    wishes = taking.specs_by_layer()
    uncovered = tuple(
        site.name
        for site in sites.values()
        if site.name not in taking.specs and site.shared_with not in taking.specs
    )
    return Given(
        source, infer_config(graph, wishes), taking.encodings, uncovered, taking.unused, len(exact)
    )


class _Taking:
    """The encodings accepted from a file so far, by site, and the refused tensors."""

    def __init__(self, graph: FloatGraph, sites: dict[str, Site]) -> None:
        self.graph, self.sites = graph, sites
        self.specs: dict[str, QuantSpec] = {}
        self.encodings: dict[str, Encoding] = {}
        self.unused: dict[str, str] = {}

    def take_tensor(self, record: FileEncoding, target: EncodingTarget | None) -> None:
        """Accept one tensor of the file, or record the reason for the refusal."""
        if target is None or not target.site:
            unknown = _CONSTANT if record.parameter else _UNKNOWN
            self.unused[record.tensor] = unknown if target is None else target.reason
            return
        site = self.sites[target.site]
        start = WEIGHT_DEFAULT if site.side is Side.WEIGHTS else ACTIVATION_DEFAULT
        if record.floating:
            self.specs.setdefault(site.name, replace(start, bits=FLOAT_BITS))
            return
        try:
            encoding = self._simulated_encoding(record, site, target)
        except ModelError as error:
            self.unused[record.tensor] = str(error)
            return
        if site.name in self.specs:
            if not equal_activation_encodings(self.encodings.get(site.name), encoding):
                self.unused[record.tensor] = f"{site.name!r} has another encoding, which it keeps"
            return
        self.specs[site.name] = replace(start, **record.spec_fields())
        self.encodings[site.name] = encoding

    def _simulated_encoding(
        self, record: FileEncoding, site: Site, target: EncodingTarget
    ) -> Encoding:
        if site.side is not Side.WEIGHTS:
            return simulated_activation_encoding(record)
        layer = self.graph[site.layer]
        return simulated_weight_encoding(
            record, layer.weight_shape, layer.channel_axis, flipped=target.flipped
        )

    def specs_by_layer(self) -> dict[str, LayerSpecs]:
        """Return the specs of every layer; a layer without an encoding in the file is float."""
        found: dict[str, LayerSpecs] = {}
        for layer in self.graph.layers:
            weight = self.specs.get(weight_site_name(layer.name))
            activation = self.specs.get(layer.name)
            if layer.weight is not None and weight is None:
                weight = replace(WEIGHT_DEFAULT, bits=FLOAT_BITS)
            shared = self.sites[layer.name].shared_with
            if activation is None:
                source = self.specs.get(shared) if shared is not None else None
                activation = source or replace(ACTIVATION_DEFAULT, bits=FLOAT_BITS)
            found[layer.name] = LayerSpecs(weight, activation)
        return found


def equal_activation_encodings(first: Encoding | None, second: Encoding) -> bool:
    """Whether two activation encodings hold equal real numbers."""
    return first is not None and all(
        bool((getattr(first, end) == getattr(second, end)).all())
        for end in ("scale", "low", "high")
    )
