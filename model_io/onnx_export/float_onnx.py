"""A network as float ONNX that knows which tensor every grid belongs to.

It is what all formats that speak of tensors start from: Q/DQ, encodings, notes for viewers.
"""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, helper, shape_inference

from model_io.onnx_export.global_pools import spell_global_pools
from model_io.onnx_export.graph_edits import GraphEdits
from model_io.onnx_export.mark_graph import DOMAIN, OPSET, Marked, export_with_marks
from model_io.onnx_export.names import Held, Places, rename_nodes_and_values
from quant.simulation.plan import weight_site_name
from quant.simulation.quant_graph import QuantGraph

PRODUCER = "QuantScope"


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor of the file.

    `axes[i]` is the axis of the network's own tensor that is axis i in the file: (1, 0) for a
    matrix that the file holds transposed, as MatMul takes it; empty for activations.
    """

    name: str
    axes: tuple[int, ...] = ()

    def file_axis(self, own: int) -> int:
        """Return the axis in the file of the network's own axis."""
        return self.axes.index(own)


@dataclass(frozen=True, eq=False, slots=True)
class MarkedOnnx:
    """A float ONNX model and where our layers are in it.

    Attributes:
        model: opset 21, standard operators only. It is shared: copy it before you change it.
        tensors: for each site's name the tensor that is put on its grid:
            an initializer for weights, else what a node computes, or the graph's input.
        biases: for each layer that has a bias the initializer that holds it.
        nodes: for each layer but the input the name of the node that is its operation (Conv,
            Gemm, ...), which is the layer's own. Its other nodes, and those that only bring values
            to it, are called "layer/operator".
    """

    model: ModelProto
    tensors: dict[str, FileTensor]
    biases: dict[str, FileTensor]
    nodes: dict[str, str]


def export_marked_onnx(quantized: QuantGraph) -> MarkedOnnx:
    """Return the float ONNX of a quantized network, equalized, corrected and folded as it is.

    Names are those of our layers: the node and the output tensor of layer "blocks.0.conv" are
    called "blocks.0.conv", its weight "blocks.0.conv.weight" as the parameter is.

    Raises:
        ModelError: an operation that ONNX has no words for, or more than one file can hold.
    """
    model = export_with_marks(quantized)
    wiring, places = GraphEdits(model.graph), Places()
    for mark in [node for node in wiring.nodes if node.domain == DOMAIN]:
        _remove_mark(mark, wiring, places)
    pooled = spell_global_pools(wiring)
    for layer, value in places.operations.items():
        places.operations[layer] = pooled.get(value, value)
    wiring.write_graph()
    names = rename_nodes_and_values(quantized.graph, model.graph, places)
    model = shape_inference.infer_shapes(_strip_exporter_notes(model))
    tensors = {layer: FileTensor(names.values[value]) for layer, value in places.outputs.items()}
    for layer, (held, axes) in places.weights.items():
        tensors[weight_site_name(layer)] = FileTensor(names.values[held], axes)
    return MarkedOnnx(
        model,
        {site.name: tensors[site.name] for site in quantized.sites},
        {layer: FileTensor(names.values[b], axes) for layer, (b, axes) in places.biases.items()},
        {layer: names.nodes[value] for layer, value in places.operations.items()},
    )


def _remove_mark(mark: NodeProto, wiring: GraphEdits, places: Places) -> None:
    """Remove a mark; note what it stood at."""
    attributes = {a.name: helper.get_attribute_value(a).decode() for a in mark.attribute}
    what, layer = Marked(attributes["what"]), attributes["layer"]
    source, result = mark.input[0], mark.output[0]
    if what in (Marked.WEIGHT, Marked.BIAS):
        held = _duplicate_constant(mark, wiring, f"{layer} {what}")
        (places.weights if what is Marked.WEIGHT else places.biases)[layer] = held
        if what is Marked.WEIGHT:
            places.operations[layer] = wiring.readers[held[0]][0].output[0]
        return
    if what is Marked.ACTIVATION and not _is_private_value(mark, wiring, places):
        mark.domain, mark.op_type = "", "Identity"
        del mark.attribute[:]
        source = result
    else:
        wiring.redirect_readers(result, source)
        wiring.remove_node(mark)
    if what is Marked.ACTIVATION:
        places.outputs[layer] = source
    if source in wiring.makers:
        places.operations.setdefault(layer, wiring.makers[source].output[0])


def _is_private_value(mark: NodeProto, wiring: GraphEdits, places: Places) -> bool:
    """Whether the marked value is nobody else's: no other grid's, and read by marks alone."""
    source = mark.input[0]
    others = [node for node in wiring.readers[source] if node is not mark]
    return (
        not others and source not in places.outputs.values() and not wiring.is_graph_output(source)
    )


def _duplicate_constant(mark: NodeProto, wiring: GraphEdits, name: str) -> Held:
    """Give what reads a marked constant one of its own, transposed as it is read."""
    value, result = wiring.constant_array(mark.input[0]), mark.output[0]
    axes = tuple(range(value.ndim))
    readers = wiring.readers[result]
    if len(readers) == 1 and readers[0].op_type == "Transpose":
        transpose = readers[0]
        axes = _transpose_permutation(transpose, value.ndim)
        wiring.redirect_readers(transpose.output[0], name)
        wiring.remove_node(transpose)
    else:
        wiring.redirect_readers(result, name)
    wiring.remove_node(mark)
    return wiring.add_constant(name, np.transpose(value, axes)), axes


def _transpose_permutation(transpose: NodeProto, rank: int) -> tuple[int, ...]:
    given = [tuple(a.ints) for a in transpose.attribute if a.name == "perm"]
    return given[0] if given else tuple(reversed(range(rank)))


def _strip_exporter_notes(model: ModelProto) -> ModelProto:
    """Return a model without the exporter's notes, which hold paths of this machine."""
    graph = model.graph
    for value in (*graph.node, *graph.initializer, *graph.input, *graph.output, graph, model):
        del value.metadata_props[:]
        value.doc_string = ""
    for end in (*graph.input, *graph.output):
        for size in end.type.tensor_type.shape.dim[:1]:
            if size.HasField("dim_param"):
                size.dim_param = "batch"
    del graph.value_info[:]
    graph.name = "network"
    return helper.make_model(
        graph, producer_name=PRODUCER, ir_version=10, opset_imports=[helper.make_opsetid("", OPSET)]
    )
