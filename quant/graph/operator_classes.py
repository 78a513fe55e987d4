"""What each operator does to stored tensors: one table for the safety check, capture and cost.

The sets of `quant.graph.operators` name the operators with a rule of their own. This module gives
every other operator of torch a class, so that no operator that a file may name is unknown further
on. An operator of which nothing is known counts as a product: its stored tensors are listed as
float, rather than left out in silence.
"""

from enum import StrEnum
from functools import cache
from typing import Any

import torch

from quant.graph import operators as ops


class OperatorClass(StrEnum):
    """What an operator does.

    PRODUCT multiplies tensors and sums. FACTOR multiplies element by element. NORM normalizes. SUM
    adds, compares, or applies a function element by element. MOVE moves, selects or reduces values.
    RANDOM draws. FOREIGN belongs to training, to other devices, or to quantized files.
    """

    PRODUCT = "product"
    FACTOR = "factor"
    NORM = "norm"
    SUM = "sum"
    MOVE = "move"
    RANDOM = "random"
    FOREIGN = "foreign"


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PRODUCTS = _names("linalg_cross cross")
_FACTORS = _names(
    "mul multiply div divide true_divide addcmul addcdiv lerp ldexp xlogy special_xlogy"
    " special_xlog1py"
)
_SUMS = _names(
    "add sub rsub subtract eq ne not_equal lt less le less_equal gt greater ge greater_equal"
    " isclose isin logical_and logical_or minimum maximum fmin fmax where masked_fill"
    " heaviside copysign complex polar gcd lcm __and__ __or__ __xor__ __lshift__"
    " __rshift__ arctan2 fill copy floor_divide"
    " clamp prelu bucketize searchsorted"
)
_MOVES = _names(
    "cat concat concatenate stack hstack vstack dstack row_stack column_stack block_diag"
    " gather take take_along_dim index index_select index_put index_add index_copy index_fill"
    " index_reduce _unsafe_index scatter scatter_add scatter_reduce select_scatter"
    " slice_scatter put diagonal_scatter as_strided_scatter masked_select masked_scatter"
    " repeat_interleave expand_as view_as reshape_as type_as resize_as broadcast_tensors"
    " meshgrid max_unpool2d max_unpool3d fractional_max_pool2d fractional_max_pool3d to"
    " quantile nanquantile bincount"
)
_NORMS = _names(
    "batch_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training"
    " layer_norm"
    " native_layer_norm group_norm native_group_norm instance_norm rms_norm"
)
_FOREIGN = (
    "cudnn", "miopen", "mkldnn", "mps", "quantized", "quantize_", "fbgemm", "sparse", "_foreach",
    "fake_quant", "fused_moving_avg", "hspmm", "sspaddmm", "smm", "batch_norm_gather", "xnnpack",
)  # fmt: skip
_SPELLED = {ops.RECURRENCES: OperatorClass.PRODUCT, ops.PRODUCTS: OperatorClass.PRODUCT,
            ops.MULTIPLIES: OperatorClass.FACTOR, ops.NORMS: OperatorClass.NORM,
            ops.ADDS: OperatorClass.SUM, ops.FUSED_FUNCTIONS: OperatorClass.SUM,
            ops.FUNCTIONS: OperatorClass.SUM, ops.PASS_THROUGH: OperatorClass.MOVE,
            ops.CONCATS: OperatorClass.MOVE, ops.AVERAGE_POOLS: OperatorClass.MOVE,
            ops.MEANS: OperatorClass.MOVE}  # fmt: skip


@cache
def class_of_operator(name: str) -> OperatorClass:
    """Return the class of an operator such as "aten.conv2d.default".

    Example:
        >>> class_of_operator("aten.conv2d.default"), class_of_operator("aten.addcmul.default")
        (<OperatorClass.PRODUCT: 'product'>, <OperatorClass.FACTOR: 'factor'>)
    """
    for names, found in _SPELLED.items():
        if name in names:
            return found
    space, _, rest = name.partition(".")
    if space != "aten":  # arithmetic of sizes, and parts of results
        return OperatorClass.MOVE
    base, _, overload = rest.rpartition(".")
    schema, tags = _schema_and_tags(base, overload)
    if _is_foreign(base, schema):
        return OperatorClass.FOREIGN
    if torch.Tag.nondeterministic_seeded in tags:
        return OperatorClass.RANDOM
    plain = base.rstrip("_")
    for words, found in (
        (_PRODUCTS, OperatorClass.PRODUCT),
        (_FACTORS, OperatorClass.FACTOR),
        (_NORMS, OperatorClass.NORM),
        (_SUMS, OperatorClass.SUM),
        (_MOVES, OperatorClass.MOVE),
    ):
        if base in words or plain in words:
            return found
    if torch.Tag.pointwise in tags:
        return OperatorClass.SUM
    tensors = sum("Tensor" in str(argument.type) for argument in getattr(schema, "arguments", ()))
    return OperatorClass.PRODUCT if tensors > 1 else OperatorClass.MOVE


def _schema_and_tags(base: str, overload: str) -> tuple[Any, tuple[object, ...]]:
    """Return an operator's schema and tags; (None, ()) for an operator that torch does not know."""
    packet = getattr(torch.ops.aten, base, None)
    found = getattr(packet, overload, None) if packet is not None else None
    return getattr(found, "_schema", None), tuple(getattr(found, "tags", ()))


def _is_foreign(base: str, schema: Any) -> bool:
    writes_out = schema is not None and any(argument.is_out for argument in schema.arguments)
    return writes_out or base.startswith(_FOREIGN) or "backward" in base
