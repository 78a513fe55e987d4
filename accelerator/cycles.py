"""Clock cycles in which an op keeps the array busy."""

import math

from accelerator.array import (
    BitSerial,
    Dataflow,
    InnerRule,
    RowStationary,
    Spatial,
    Systolic,
    VectorCore,
)
from accelerator.engines.bit_serial import bit_serial_cycles
from accelerator.engines.vector_core import vector_core_cycles
from accelerator.machine import Machine
from accelerator.widths import Widths
from accelerator.workload import GEMM_KINDS, Gemm, Op, OpKind

VECTOR_OPS = 8.0
"""Operations per element of a softmax, layer norm or GELU: our choice."""

_ROUNDING = 1e-9  # keeps 24 / (8 / 3) at 9 instead of 10


def count_cycles(op: Op, machine: Machine, widths: Widths, elements: int, outputs: int) -> int:
    """Return compute cycles of one op, never below the cycles to pass outputs and weights.

    `elements` and `outputs` are the sizes of the largest input and of the output. Counts are
    multiplied by the machine's fitted `scales.compute_time`.
    """
    if op.kind in GEMM_KINDS:
        cycles = _count_gemm_cycles(op, machine, widths, outputs)
    else:
        cycles = _count_element_cycles(op, machine, elements, outputs)
    scale = machine.scales.compute_time
    return cycles if scale == 1.0 else math.ceil(cycles * scale)


def _count_gemm_cycles(op: Op, machine: Machine, widths: Widths, outputs: int) -> int:
    """Return the cycles of one matrix product by the rule of the machine's array."""
    match machine.array:
        case Systolic() as array:
            cycles = systolic_cycles(op.lower_to_gemm(), array, widths.rate)
        case Spatial() as array:
            cycles = spatial_cycles(op, array, widths.rate)
        case RowStationary() as array:
            cycles = _divide_up(op.macs, row_stationary_pes(op, array) * widths.rate)
        case BitSerial() as array:
            cycles = bit_serial_cycles(op, array, widths.weight)
        case VectorCore() as array:
            cycles = _divide_up(vector_core_cycles(op, array), widths.rate)
    post = machine.post
    floor = math.ceil(outputs * post.cycles_per_output)
    if post.weights_per_cycle is not None:
        floor = max(floor, _divide_up(op.shape_weights, post.weights_per_cycle))
    return max(cycles * widths.passes, floor)


def systolic_cycles(gemm: Gemm, array: Systolic, rate: float = 1.0) -> int:
    """Return cycles as SCALE-Sim 3.0.0 counts them (systolic_compute_ws.py, _os.py, _is.py).

    A fold loads the stationary operand (rows cycles, not for outputs), streams, and fills and
    drains the diagonal. A rate above one shortens the depth, as BitFusion's units do.
    """
    depth = _divide_up(gemm.depth, rate) if rate > 1 else gemm.depth
    on_rows, on_columns, stream = _place_loops(gemm, depth, array.dataflow)
    rounds = gemm.groups
    if array.pack_groups and on_rows <= array.rows and on_columns <= array.columns:
        packed = min(gemm.groups, array.rows // on_rows, array.columns // on_columns)
        rounds = math.ceil(gemm.groups / packed)
    folds = math.ceil(on_rows / array.rows) * math.ceil(on_columns / array.columns)
    if array.overlap_weight_load:
        cycles = rounds * folds * max(stream, array.rows) + array.rows + array.columns - 1
    else:
        load = 0 if array.dataflow is Dataflow.OUTPUTS else array.rows
        fold = load + array.rows + array.columns + stream - 2
        cycles = rounds * (folds * fold - 1)
    return _divide_up(cycles, rate) if rate < 1 else cycles


def spatial_cycles(op: Op, array: Spatial, rate: float = 1.0) -> int:
    """Return the temporal steps of fixed unrolled loops (ZigZag's ideal_temporal_cycle).

    The inner rule follows BitFusion (accelerator.py) or Arm Vela (npu_performance.py).
    """
    if op.kind is OpKind.DEPTHWISE and array.depthwise is not None:
        loops = array.depthwise
        taps = _divide_up(op.kernel_h * op.kernel_w, loops.taps * max(rate, 1.0))
        steps = _position_steps(op, loops.out_rows, loops.out_columns) * taps
        steps *= math.ceil(op.c_out / loops.channels) * loops.cycles_per_step
        return _divide_up(steps, min(rate, 1.0))
    gemm, unroll = op.lower_to_gemm(), array.unroll
    steps = _position_steps(op, unroll.out_rows, unroll.out_columns) * gemm.groups
    return (
        steps * math.ceil(gemm.columns / unroll.outputs) * _inner_loop_steps(op, gemm, array, rate)
    )


def row_stationary_pes(op: Op, array: RowStationary) -> float:
    """Return the mean number of busy PEs with filter rows folded onto or replicated over PEs.

    Source: nn_dataflow map_strategy.py (Gao et al., ASPLOS 2017); gives AlexNet's active PEs.
    """
    fold_h, repl_h = math.ceil(op.kernel_h / array.rows), max(1, array.rows // op.kernel_h)
    fold_w, repl_w = math.ceil(op.out_h / array.columns), max(1, array.columns // op.out_h)
    shared = min(repl_h, fold_w)
    fold_w = math.ceil(fold_w / shared)
    return op.kernel_h * op.out_h * (repl_h // shared) * repl_w / (fold_h * fold_w)


def count_element_ops(op: Op, machine: Machine, elements: int, outputs: int) -> float:
    """Return elementary operations of an op without MACs: adds, compares, vector steps."""
    if op.kind is OpKind.VECTOR:
        return elements * (machine.post.vector_ops_per_element or VECTOR_OPS)
    if op.kind is OpKind.POOL:
        return outputs * op.kernel_h * op.kernel_w
    return outputs * max(1, len(op.inputs) - 1)


def _count_element_cycles(op: Op, machine: Machine, elements: int, outputs: int) -> int:
    per_element = machine.post.cycles_per_element
    if per_element is None:
        per_element = 1 / machine.array.columns
    return math.ceil(count_element_ops(op, machine, elements, outputs) * per_element)


def _place_loops(gemm: Gemm, depth: int, dataflow: Dataflow) -> tuple[int, int, int]:
    """Return the loops on the rows, on the columns, and in the stream."""
    match dataflow:
        case Dataflow.WEIGHTS:
            return depth, gemm.columns, gemm.rows
        case Dataflow.OUTPUTS:
            return gemm.rows, gemm.columns, depth
        case Dataflow.INPUTS:
            return depth, gemm.rows, gemm.columns


def _position_steps(op: Op, rows: int, columns: int) -> int:
    """Count steps over output positions; rows of a matrix product may fill the whole plane."""
    if op.kind in (OpKind.LINEAR, OpKind.MATMUL):
        return math.ceil(op.lower_to_gemm().rows / (rows * columns))
    return op.batch * math.ceil(op.out_h / rows) * math.ceil(op.out_w / columns)


def _inner_loop_steps(op: Op, gemm: Gemm, array: Spatial, rate: float) -> int:
    lanes = array.unroll.depth * rate
    taps = op.kernel_h * op.kernel_w if op.kind is not OpKind.MATMUL else 1
    channels = gemm.depth // taps
    if array.inner is InnerRule.ETHOS:
        depth_first = taps * _divide_up(channels, 4 * lanes)
        part_kernel = math.ceil(taps / 4) * _divide_up(channels, lanes)
        return 4 * min(depth_first, part_kernel)
    if array.inner is InnerRule.FLATTEN_SHALLOW and channels < array.unroll.depth:
        return _divide_up(gemm.depth, lanes)
    return taps * _divide_up(channels, lanes)


def _divide_up(count: float, by: float) -> int:
    return math.ceil(count / by - _ROUNDING)
