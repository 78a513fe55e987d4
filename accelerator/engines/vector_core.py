"""Cycles and memory accesses of a core described by cycles for a MAC."""

from accelerator.array import VectorCore
from accelerator.workload import Op, OpKind


def vector_core_cycles(op: Op, array: VectorCore) -> float:
    """Return the cycles of one matrix product at the widths of the fastest mode."""
    cycles = op.macs * cycles_per_mac(op, array)
    if op.kind is OpKind.CONV and op.kernel_h * op.kernel_w > 1:
        cycles += count_product_outputs(op) * op.kernel_h * array.cycles_per_kernel_row
    return cycles + count_product_outputs(op) * array.cycles_per_output


def cycles_per_mac(op: Op, array: VectorCore) -> float:
    """Return the cycles of one MAC by the kind of the layer."""
    match op.kind:
        case OpKind.DEPTHWISE:
            return array.cycles_per_mac_depthwise
        case OpKind.LINEAR:
            return array.cycles_per_mac_linear
        case OpKind.CONV if op.kernel_h * op.kernel_w > 1:
            return array.cycles_per_mac_conv
        case _:
            return array.cycles_per_mac_pointwise


def vector_core_accesses(op: Op) -> tuple[float, float]:
    """Return weights and inputs loaded, in elements, by a loop over blocks of 2 x 2 outputs.

    The block of two output channels by two positions follows CMSIS-NN's matrix kernels.
    """
    return op.macs / 2, op.macs / 2


def count_product_outputs(op: Op) -> int:
    """Return the number of elements written by a matrix product."""
    gemm = op.lower_to_gemm()
    return gemm.rows * gemm.columns * gemm.groups
