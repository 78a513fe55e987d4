"""The operators that a program may name: ATen operators that compute, and shape arithmetic."""

import re
from functools import cache

import torch

from quant.graph.operator_classes import OperatorClass, class_of_operator

_ATEN = re.compile(r"torch\.ops\.aten\.([a-zA-Z0-9_]+)\.([a-zA-Z0-9_]+)", re.ASCII)
_ARITHMETIC = {
    *(f"_operator.{name}" for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg")),
    *(f"_operator.{name}" for name in ("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_")),
    *(f"math.{name}" for name in ("ceil", "floor", "trunc")),
    *(f"torch.sym_{name}" for name in ("not", "float", "int", "max", "min", "ite")),
}
# Reads and writes files, or reads outside its tensors where its numbers are hostile.
_REFUSED = {
    "choose_qparams_optimized",
    "ctc_loss",
    "from_file",
    "native_batch_norm",
    "promote_types",
    "segment_reduce",
}
# Internal operators trust their arguments; a hostile file could point outside a tensor.
# Allowed are the internal operators that torch.export writes for ordinary networks.
_INTERNAL = {
    "__and__",
    "__lshift__",
    "__or__",
    "__rshift__",
    "__xor__",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "_assert_scalar",
    "_assert_tensor_metadata",
    "_cdist_forward",
    "_embedding_bag",
    "_local_scalar_dense",
    "_log_softmax",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_safe_softmax",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_softmax",
    "_to_copy",
    "_trilinear",
    "_unsafe_view",
    "_upsample_bicubic2d_aa",
    "_upsample_bilinear2d_aa",
    "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d",
    "_weight_norm",
}


REGIONS = {
    "torch.ops.higher_order.wrap_with_set_grad_enabled",
    "torch.ops.higher_order.wrap_with_autocast",
}
"""Operators that run a graph of the program under torch.no_grad or autocast."""


def operator_advice(target: str) -> str:
    """Return the remedy for an operator of another library; empty for unknown libraries."""
    match = re.fullmatch(r"torch\.ops\.([a-z0-9_]{1,40})\.([A-Za-z0-9_.]{1,60})", target, re.ASCII)
    if match is None:
        return ""
    if match[1] == "aten":
        if class_of_operator(f"aten.{match[2]}") is not OperatorClass.FOREIGN:
            return _advice_on_internal_operator(match[2])
        return (
            "target in the graph must be an operator of a float network in use, got "
            f"{match[2]}, which belongs to training, to another device or to a quantized file. "
            "Export the network on the CPU after .eval(), from before it was quantized."
        )
    if match[1] in ("quantized_decomposed", "quantized", "torchao", "pt2e"):
        return (
            "target in the graph must be an operator of a float network, got one that is quantized "
            f"already ({match[1]}.{match[2]}). Export the network from before it was prepared and "
            "converted, or bring it as ONNX with QuantizeLinear and DequantizeLinear, whose "
            "encodings are read."
        )
    if match[1] == "higher_order":
        return (
            "target in the graph must be a plain operator, got control flow that depends on values "
            f"({match[2]}). Replace it by torch.where, or export the branch that is used."
        )
    return (
        f"target in the graph must be an operator of torch itself (aten), got {match[1]}."
        f"{match[2]} of another library. Export what comes before it, such as the boxes and scores "
        "before their suppression, or write it in torch functions."
    )


def _advice_on_internal_operator(name: str) -> str:
    """Return the remedy for an operator that decompositions write; empty for public operators."""
    if not name.startswith("_") or f"aten::{name.removesuffix('.default')}" not in (
        _dispatcher_operators()
    ):
        return ""
    return (
        f"target in the graph must be an operator that people call, got {name}, which trusts its "
        "arguments. Save the program that torch.export.export returns, before run_decompositions()."
    )


def is_known_operator(target: str) -> bool:
    """Whether `target`, in the spelling of a `.pt2`, names an operator that only computes.

    torch's dispatcher must know an ATen operator: TorchScript's builtins with the prefix aten, such
    as aten::save, which writes files, are absent from the dispatcher.
    """
    if target in _ARITHMETIC:
        return True
    match = _ATEN.fullmatch(target)
    if match is None:
        return False
    name, overload = match.groups()
    if name in _REFUSED or (name.startswith("_") and name not in _INTERNAL):
        return False
    if class_of_operator(f"aten.{name}.{overload}") is OperatorClass.FOREIGN:
        return False
    return (
        f"aten::{name}" + ("" if overload == "default" else f".{overload}")
        in _dispatcher_operators()
    )


@cache
def _dispatcher_operators() -> frozenset[str]:
    """Return the full names of the operators in torch's dispatcher."""
    return frozenset(torch._C._dispatch_get_all_op_names())  # noqa: SLF001 (no public list)
