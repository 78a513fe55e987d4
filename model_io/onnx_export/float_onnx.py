"""A network as float ONNX, with the tensor of every encoding.

The formats with tensors start from here: Q/DQ, encodings, and overlays for viewers.
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

    `axes[i]` is the axis of the network's tensor behind axis i of the file: (1, 0) for a matrix
    that the file holds transposed, as MatMul needs it; empty for activations.
    """

    name: str
    axes: tuple[int, ...] = ()

    def file_axis(self, own: int) -> int:
        """Return the axis in the file of the network's own axis."""
        return self.axes.index(own)


@dataclass(frozen=True, eq=False, slots=True)
class MarkedOnnx:
    """A float ONNX model and the places of QuantScope's layers in the model.

    Attributes:
        model: opset 21, standard operators only. The object is shared: copy before a change.
        tensors: the quantized tensor by site name: an initializer for weights, else the output of a
            node, or the input of the graph.
        biases: the initializer of the bias, by layer.
        nodes: the name of the layer's operation (Conv, Gemm, ...), by layer, without the input; the
            node has the name of the layer. Other nodes of the layer, and nodes that only move
            values to the layer, have names "layer/operator".
    """

    model: ModelProto
    tensors: dict[str, FileTensor]
    biases: dict[str, FileTensor]
    nodes: dict[str, str]


def export_marked_onnx(quantized: QuantGraph) -> MarkedOnnx:
    """Return the float ONNX of a quantized network, with equalization, correction and folding.

    Names come from the layers: node and output tensor of layer "blocks.0.conv" are named
    "blocks.0.conv", the weight "blocks.0.conv.weight" like the parameter.

    Raises:
        ModelError: ONNX has no operator for an operation, or the model exceeds the size of a file.
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
    """Remove a mark and record the place."""
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
    """Whether only marks read the marked value and no other site uses the value.

    An input that the network returns is not: an output needs a name of its own.
    """
    source = mark.input[0]
    if source not in wiring.makers and wiring.is_graph_output(mark.output[0]):
        return False
    others = [node for node in wiring.readers[source] if node is not mark]
    return (
        not others and source not in places.outputs.values() and not wiring.is_graph_output(source)
    )


def _duplicate_constant(mark: NodeProto, wiring: GraphEdits, name: str) -> Held:
    """Give the readers of a marked constant a private copy, transposed for the readers."""
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
    """Return a model without the exporter's notes, because notes hold paths of the machine."""
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
