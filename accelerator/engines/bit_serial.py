"""Cycles and buffer traffic of a bit-serial engine such as the NE16 of GAP9.

The closed form is that of public models of the engine, re-derived. With F cycles of FIFO, k output
channels of a tile and w bits of weight, a matrix-vector step takes F + k w cycles in 3 x 3 and
depthwise kernels, F + k in 1 x 1 kernels.
"""

import math
from dataclasses import dataclass

from accelerator.array import BitSerial
from accelerator.engines.vector_core import vector_core_accesses
from accelerator.workload import Op, OpKind

WINDOW = 2
"""Rows and columns of the input that a 3 x 3 kernel needs beyond the tile's own."""


@dataclass(frozen=True, slots=True)
class TileCounts:
    """Numbers of tiles of an op: in space, over output channels, over input channels."""

    space: int
    outputs: int
    inputs: int
    window: int
    """Input values that a tile loads for each input channel."""


def bit_serial_cycles(op: Op, array: BitSerial, weight_bits: int) -> int:
    """Return the cycles of one matrix product with weights of `weight_bits`.

    >>> from accelerator import load_preset, Op, OpKind
    >>> array = load_preset("gap9_ne16_like").array
    >>> op = Op("1 x 1", OpKind.CONV, ("x",), "y", c_in=64, c_out=64, out_h=3, out_w=3)
    >>> bit_serial_cycles(op, array, 8) == bit_serial_cycles(op, array, 4)
    True
    """
    if not fits_bit_serial_engine(op):
        return math.ceil(op.macs / array.core_macs_per_cycle)
    tiles = count_matrix_tiles(op, array)
    channels = array.depthwise_channels if op.kind is OpKind.DEPTHWISE else array.outputs
    columns = op.c_out if op.kind is OpKind.DEPTHWISE else op.lower_to_gemm().columns
    whole, rest = divmod(columns, channels)
    cycles = whole * _tile_cycles(op, array, tiles, channels, weight_bits)
    if rest:
        cycles += _tile_cycles(op, array, tiles, rest, weight_bits)
    groups = 1 if op.kind is OpKind.DEPTHWISE else op.lower_to_gemm().groups
    return groups * tiles.space * cycles


def count_matrix_tiles(op: Op, array: BitSerial) -> TileCounts:
    """Return the number of tiles of a matrix product and the input values loaded by a tile."""
    gemm = op.lower_to_gemm()
    if op.kind in (OpKind.LINEAR, OpKind.MATMUL):
        space = math.ceil(gemm.rows / (array.tile_rows * array.tile_columns))
    else:
        space = op.batch * math.ceil(op.out_h / array.tile_rows)
        space *= math.ceil(op.out_w / array.tile_columns)
    window = array.tile_rows * array.tile_columns
    if op.kind is OpKind.DEPTHWISE:
        wide = (array.tile_rows + WINDOW) * (array.tile_columns + WINDOW)
        return TileCounts(space, math.ceil(op.c_out / array.depthwise_channels), 1, wide)
    outputs = math.ceil(gemm.columns / array.outputs)
    if is_square_convolution(op):
        window = (array.tile_rows + WINDOW) * (array.tile_columns + WINDOW)
        return TileCounts(space, outputs, math.ceil(gemm.depth // 9 / array.depth), window)
    return TileCounts(space, outputs, math.ceil(gemm.depth / array.depth), window)


def fits_bit_serial_engine(op: Op) -> bool:
    """Return whether the engine itself can do an op: 3 x 3 and 1 x 1 kernels, matrix products."""
    if op.kind in (OpKind.LINEAR, OpKind.MATMUL):
        return True
    sizes = {(3, 3)} if op.kind is OpKind.DEPTHWISE else {(3, 3), (1, 1)}
    return (op.kernel_h, op.kernel_w) in sizes


def is_square_convolution(op: Op) -> bool:
    """Return whether a convolution has the engine's native 3 x 3 kernel."""
    return op.kind is OpKind.CONV and (op.kernel_h, op.kernel_w) == (3, 3)


def bit_serial_accesses(op: Op, array: BitSerial) -> tuple[float, float]:
    """Return weights and inputs read from the buffer, in elements."""
    if not fits_bit_serial_engine(op):
        return vector_core_accesses(op)
    tiles, gemm = count_matrix_tiles(op, array), op.lower_to_gemm()
    weights = tiles.space * gemm.depth * gemm.columns * gemm.groups
    if op.kind is OpKind.DEPTHWISE:
        return weights, tiles.space * tiles.window * op.c_out * tiles.inputs
    loaded = tiles.inputs * array.depth * tiles.window
    return weights, tiles.space * tiles.outputs * loaded * gemm.groups


def _tile_cycles(
    op: Op, array: BitSerial, tiles: TileCounts, channels: int, weight_bits: int
) -> int:
    """Return the cycles of one tile of `channels` output channels over the input channels."""
    fifo = array.fifo_cycles
    finish = array.normalize_cycles + channels
    finish += array.stream_cycles + 9 * math.ceil(8 * channels / array.port_bits)
    if op.kind is OpKind.DEPTHWISE:
        product = fifo + channels * weight_bits
        load = fifo + array.load_cycles
        return tiles.inputs * (load + 2 * fifo + channels + product + 2) + finish
    if is_square_convolution(op):
        step = array.load_cycles + 2 * fifo + (fifo + channels * weight_bits) + 2
    else:
        step = array.pointwise_load_cycles + fifo + (fifo + channels) + 2
    return tiles.inputs * step + finish
