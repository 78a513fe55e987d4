"""Meaning of each ATen operator for quantization: rules as data (white paper, section 2.3)."""

from enum import StrEnum

from torch import fx

from quant.graph.node_facts import facts_of_node
from quant.graph.recurrence import BORROWED, RECURRENCE


class Kind(StrEnum):
    """Kind of operation of a layer."""

    INPUT = "input"
    CONV = "conv"
    DEPTHWISE = "depthwise"
    LINEAR = "linear"
    EMBEDDING = "embedding"
    RECURRENT = "recurrent"
    MATMUL = "matmul"
    ATTENTION = "attention"
    ADD = "add"
    MULTIPLY = "multiply"
    CONCAT = "concat"
    AVERAGE_POOL = "average-pool"
    ACTIVATION = "activation"
    NORM = "norm"
    OTHER = "other"


def aten_operator_names(names: str) -> frozenset[str]:
    """Return operator names, separated by blanks, with the prefix "aten.".

    Example:
        >>> sorted(aten_operator_names("relu.default elu.default"))
        ['aten.elu.default', 'aten.relu.default']
    """
    return frozenset(f"aten.{name}" for name in names.split())


CONVOLUTIONS = aten_operator_names(
    "conv1d.default conv2d.default conv3d.default conv1d.padding conv2d.padding conv3d.padding"
    " conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input"
)
LINEARS = aten_operator_names("linear.default")
EMBEDDINGS = aten_operator_names("embedding.default")
SOFTMAXES = aten_operator_names("softmax.int _softmax.default _safe_softmax.default")
RECURRENCES = frozenset({RECURRENCE})
MATMULS = aten_operator_names("matmul.default bmm.default mm.default")
EINSUMS = aten_operator_names("einsum.default")
ATTENTIONS = aten_operator_names("scaled_dot_product_attention.default")
BATCH_NORMS = aten_operator_names("batch_norm.default")
NORMS = BATCH_NORMS | aten_operator_names(
    "layer_norm.default group_norm.default instance_norm.default rms_norm.default"
)
# Products without a place for a weight: what the graph cannot spell as a layer.
OTHER_PRODUCTS = aten_operator_names(
    "addmm.default baddbmm.default addbmm.default addmv.default mv.default dot.default"
    " vdot.default inner.default outer.default tensordot.default bilinear.default"
    " _trilinear.default chain_matmul.default linalg_multi_dot.default kron.default"
    " lstm.input gru.input rnn_tanh.input rnn_relu.input lstm_cell.default gru_cell.default"
    " rnn_tanh_cell.default rnn_relu_cell.default embedding_bag.default embedding_bag.padding_idx"
    " _embedding_bag.default _embedding_bag_forward_only.default convolution.default"
    " _convolution.default _native_multi_head_attention.default cdist.default"
)
PRODUCTS = CONVOLUTIONS | LINEARS | EMBEDDINGS | MATMULS | EINSUMS | ATTENTIONS | OTHER_PRODUCTS
PRODUCTS |= RECURRENCES
ADDS = aten_operator_names(
    "add.Tensor add_.Tensor sub.Tensor sub_.Tensor add.Scalar sub.Scalar"
    " subtract.Tensor subtract.Scalar"
)
MULTIPLIES = aten_operator_names(
    "mul.Tensor mul_.Tensor div.Tensor div_.Tensor mul.Scalar div.Scalar multiply.Tensor"
    " multiply.Scalar divide.Tensor divide.Scalar true_divide.Tensor true_divide.Scalar"
)
CONCATS = aten_operator_names("cat.default concat.default stack.default")
AVERAGE_POOLS = aten_operator_names(
    "avg_pool1d.default avg_pool2d.default adaptive_avg_pool1d.default"
    " adaptive_avg_pool2d.default _adaptive_avg_pool2d.default avg_pool3d.default"
    " adaptive_avg_pool3d.default"
)
MEANS = aten_operator_names("mean.dim")

RELUS = aten_operator_names("relu.default relu_.default")
RELU6S = aten_operator_names("relu6.default relu6_.default")
CLIPS = aten_operator_names(
    "hardtanh.default hardtanh_.default clamp.default clamp_.default"
    " clamp_min.default clamp_max.default"
)
# Clips with tensor limits, such as the per-channel caps that equalization writes.
CHANNEL_CLIPS = aten_operator_names("clamp.Tensor clamp_.Tensor minimum.default clamp_max.Tensor")
# Piece-wise linear functions that hardware applies before requantization.
SLOPES = aten_operator_names("leaky_relu.default leaky_relu_.default prelu.default")
FUSED_FUNCTIONS = RELUS | RELU6S | CLIPS | CHANNEL_CLIPS | SLOPES
# Functions with a quantizer before and after: few machines fuse functions such as GELU.
FUNCTIONS = aten_operator_names(
    "gelu.default silu.default silu_.default sigmoid.default tanh.default"
    " hardswish.default hardswish_.default hardsigmoid.default softmax.int"
    " _softmax.default _safe_softmax.default elu.default exp.default softplus.default mish.default"
    " log_softmax.int sqrt.default rsqrt.default pow.Tensor_Scalar erf.default"
)

CASTS = aten_operator_names("to.dtype to.dtype_layout to.other _to_copy.default type_as.default")
PADS = aten_operator_names("pad.default constant_pad_nd.default")
# Every output value is an input value, so the encoding stays the same.
PASS_THROUGH = (
    aten_operator_names(
        "max_pool1d.default max_pool2d.default max_pool3d.default adaptive_max_pool2d.default"
        " amax.default amin.default max.dim min.dim topk.default sort.default gather.default"
        " reshape.default view.default flatten.using_ints unflatten.int permute.default"
        " transpose.int t.default contiguous.default squeeze.default squeeze.dim"
        " squeeze.dims unsqueeze.default expand.default slice.Tensor select.int"
        " dropout.default dropout_.default feature_dropout.default clone.default"
        " alias.default detach.default detach_.default split.Tensor"
        " split_with_sizes.default chunk.default unbind.int index.Tensor"
        " index_select.default pixel_shuffle.default"
        " channel_shuffle.default repeat.default pad.default constant_pad_nd.default"
        " zero_pad2d.default movedim.int roll.default flip.default"
        " upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec"
        " upsample_nearest1d.default upsample_nearest2d.default upsample_nearest3d.default"
        " view_as.default narrow.int squeeze_.dim expand_as.default swapaxes.default"
        " movedim.intlist tile.default pixel_unshuffle.default diagonal.default unfold.default"
    )
    | CASTS
)
# Of the second operand only shape and type count.
LIKE = aten_operator_names(
    "expand_as.default view_as.default reshape_as.default type_as.default to.other"
)
_GETITEM = "<built-in function getitem>"


def operator_name(node: fx.Node) -> str:
    """Return the operator's name, such as "aten.conv2d.default"; empty if `node` calls no operator.

    Example:
        >>> operator_name(fx.Graph().placeholder("x"))
        ''
    """
    return str(node.target) if node.op == "call_function" else ""


def value_inputs(node: fx.Node) -> list[fx.Node]:
    """Return the nodes whose values enter the result; `expand_as(w, x)` takes only x's shape."""
    return node.all_input_nodes[:1] if operator_name(node) in LIKE else node.all_input_nodes


def is_pass_through(node: fx.Node) -> bool:
    """Tell whether the node moves values without a change; a ReLU keeps the encoding too."""
    name = operator_name(node)
    if facts_of_node(node).masking:  # the softmax behind includes the mask
        return True
    moves = name in PASS_THROUGH and not (_pads_with_value(node) or turns_real(node))
    return moves or name in RELUS or name == _GETITEM


def turns_real(node: fx.Node) -> bool:
    """Tell whether the node turns whole numbers, such as pixels, into real ones."""
    if operator_name(node) not in CASTS or not facts_of_node(node).real or not node.all_input_nodes:
        return False
    return facts_of_node(node.all_input_nodes[0]).real is False


def _pads_with_value(node: fx.Node) -> bool:
    """Tell whether the node pads with a number other than zero, which an encoding need not hold."""
    if operator_name(node) not in PADS:
        return False
    numbers = [arg for arg in node.args[2:] if isinstance(arg, int | float)]
    return any(numbers) or bool(node.kwargs.get("value"))


def clip_limits(node: fx.Node) -> tuple[float | None, float | None] | None:
    """Return (low, high) of a clip with number limits; None if the node is no clip.

    An absent limit is None, so that ReLU gives (0.0, None).
    """
    name = operator_name(node)
    if name in RELUS:
        return 0.0, None
    if name in RELU6S:
        return 0.0, 6.0
    if name not in CLIPS:
        return None
    low, high = ([*node.args[1:], None, None])[:2]
    if name.startswith("aten.clamp_max"):
        low, high = None, low
    if name.startswith("aten.hardtanh"):
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
    if not all(limit is None or isinstance(limit, int | float) for limit in (low, high)):
        return None
    return _plain_number(low), _plain_number(high)


def _plain_number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def weight_argument_position(name: str) -> int:
    """Return the position of the weight among an operator's arguments.

    Example:
        >>> (
        ...     weight_argument_position("aten.embedding.default"),
        ...     weight_argument_position("aten.conv2d.default"),
        ... )
        (0, 1)
    """
    return 0 if name in EMBEDDINGS else 1


def borrowed_weight_positions(name: str) -> tuple[int, ...]:
    """Return the positions of arguments that are weights of other layers.

    Such an operator computes with the other layer's encoding.

    Example:
        >>> borrowed_weight_positions("aten.linear.default")
        ()
    """
    return (BORROWED,) if name in RECURRENCES else ()


def is_positive_scaling(node: fx.Node) -> bool:
    """Tell whether the node multiplies by one positive number, free for a requantizer."""
    return (
        operator_name(node) in MULTIPLIES
        and len(node.args) == 2
        and isinstance(node.args[1], int | float)
        and node.args[1] > 0
    )
