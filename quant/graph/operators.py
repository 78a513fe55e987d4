"""What each ATen operator means for quantization: rules held as data (white paper, section 2.3)."""

from enum import StrEnum

from torch import fx


class Kind(StrEnum):
    """What a layer computes."""

    INPUT = "input"
    CONV = "conv"
    DEPTHWISE = "depthwise"
    LINEAR = "linear"
    EMBEDDING = "embedding"
    MATMUL = "matmul"
    ATTENTION = "attention"
    ADD = "add"
    MULTIPLY = "multiply"
    CONCAT = "concat"
    AVERAGE_POOL = "average-pool"
    ACTIVATION = "activation"
    NORM = "norm"
    OTHER = "other"


def _names(*names: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" for name in names)


CONVOLUTIONS = _names(
    "conv1d.default", "conv2d.default", "conv1d.padding", "conv2d.padding", "conv3d.default",
    "conv_transpose1d.default", "conv_transpose2d.input",
)  # fmt: skip
LINEARS = _names("linear.default")
EMBEDDINGS = _names("embedding.default")
SOFTMAXES = _names("softmax.int", "_softmax.default", "_safe_softmax.default")
MATMULS = _names("matmul.default", "bmm.default", "mm.default")
ATTENTIONS = _names("scaled_dot_product_attention.default")
BATCH_NORMS = _names("batch_norm.default")
NORMS = BATCH_NORMS | _names(
    "layer_norm.default", "group_norm.default", "instance_norm.default", "rms_norm.default"
)
ADDS = _names("add.Tensor", "add_.Tensor", "sub.Tensor", "add.Scalar", "sub.Scalar")
MULTIPLIES = _names("mul.Tensor", "mul_.Tensor", "div.Tensor", "mul.Scalar", "div.Scalar")
CONCATS = _names("cat.default", "concat.default", "stack.default")
AVERAGE_POOLS = _names(
    "avg_pool1d.default", "avg_pool2d.default", "adaptive_avg_pool1d.default",
    "adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default",
)  # fmt: skip
MEANS = _names("mean.dim")

RELUS = _names("relu.default", "relu_.default")
RELU6S = _names("relu6.default", "relu6_.default")
CLIPS = _names(
    "hardtanh.default",
    "hardtanh_.default",
    "clamp.default",
    "clamp_.default",
    "clamp_min.default",
    "clamp_max.default",
)
# Clips whose limits are tensors, such as the per-channel caps that equalization leaves.
CHANNEL_CLIPS = _names("clamp.Tensor", "clamp_.Tensor", "minimum.default", "clamp_max.Tensor")
# Piece-wise linear functions that hardware applies before it requantizes.
FUSED_FUNCTIONS = RELUS | RELU6S | CLIPS | CHANNEL_CLIPS | _names(
    "leaky_relu.default", "leaky_relu_.default", "prelu.default"
)  # fmt: skip
# These need a quantizer before and after: few machines fuse them.
FUNCTIONS = _names(
    "gelu.default", "silu.default", "silu_.default", "sigmoid.default", "tanh.default",
    "hardswish.default", "hardswish_.default", "hardsigmoid.default", "softmax.int",
    "_softmax.default", "elu.default", "exp.default", "softplus.default", "mish.default",
    "log_softmax.int", "sqrt.default", "rsqrt.default", "pow.Tensor_Scalar", "erf.default",
)  # fmt: skip

PADS = _names("pad.default", "constant_pad_nd.default")
# The values that leave are values that came in, so the grid stays the same.
PASS_THROUGH = _names(
    "max_pool1d.default", "max_pool2d.default", "adaptive_max_pool2d.default", "amax.default",
    "reshape.default", "view.default", "flatten.using_ints", "unflatten.int", "permute.default",
    "transpose.int", "t.default", "contiguous.default", "squeeze.default", "squeeze.dim",
    "squeeze.dims", "unsqueeze.default", "expand.default", "slice.Tensor", "select.int",
    "dropout.default", "dropout_.default", "feature_dropout.default", "clone.default",
    "alias.default", "detach.default", "detach_.default", "split.Tensor",
    "split_with_sizes.default", "chunk.default", "unbind.int", "index.Tensor",
    "index_select.default", "pixel_shuffle.default",
    "channel_shuffle.default", "repeat.default", "pad.default", "constant_pad_nd.default",
    "zero_pad2d.default", "movedim.int", "roll.default", "flip.default", "to.dtype",
    "upsample_nearest2d.vec", "view_as.default", "narrow.int",
)  # fmt: skip
_GETITEM = "<built-in function getitem>"


def operator(node: fx.Node) -> str:
    """Return the operator's name, such as "aten.conv2d.default"; empty if `node` calls none."""
    return str(node.target) if node.op == "call_function" else ""


def is_pass_through(node: fx.Node) -> bool:
    """Whether the node moves values without changing them (a ReLU on a grid stays on it too)."""
    name = operator(node)
    if node.meta.get("masking"):  # softmax takes a mask in with it
        return True
    moves = name in PASS_THROUGH and not _pads_with_a_value(node)
    return moves or name in RELUS or name == _GETITEM


def _pads_with_a_value(node: fx.Node) -> bool:
    """Whether the node puts a number other than zero around values, which no grid need hold."""
    if operator(node) not in PADS:
        return False
    numbers = [arg for arg in node.args[2:] if isinstance(arg, int | float)]
    return any(numbers) or bool(node.kwargs.get("value"))


def clip_limits(node: fx.Node) -> tuple[float | None, float | None] | None:
    """Return (low, high) of a clip with plain limits, None for no limit; None if it is no clip."""
    name = operator(node)
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
    return _number(low), _number(high)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def weight_place(name: str) -> int:
    """Return which argument of an operator is its weight."""
    return 0 if name in EMBEDDINGS else 1


def is_scaling(node: fx.Node) -> bool:
    """Whether the node multiplies by one positive number, which a requantizer takes in for free."""
    return (
        operator(node) in MULTIPLIES
        and len(node.args) == 2
        and isinstance(node.args[1], int | float)
        and node.args[1] > 0
    )
