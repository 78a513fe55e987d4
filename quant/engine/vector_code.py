"""Machine code for a depthwise convolution and for rounding, one pass over memory each.

Numba vectorizes loops over channels, but keeps no sums in registers from one tap of a kernel to the
next. The code of a position is therefore written in LLVM's language: 32 channels at a time, their
sums in registers over all taps, then clip and encoding, then a single store.

Numba, of 60 MB, is imported with this module; import the module at the first use.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

FLOAT, INDEX = ir.FloatType(), ir.IntType(64)
LANES = 8
LANE_TYPE = ir.VectorType(FLOAT, LANES)
BYTES = 4  # of a float32
GROUP = 4
"""Neighbouring positions at once; they share the loads of the weight."""
BLOCKS = {
    GROUP: ((LANE_TYPE, LANES, 2), (LANE_TYPE, LANES, 1), (FLOAT, 1, 1)),
    1: ((LANE_TYPE, LANES, 4), (LANE_TYPE, LANES, 1), (FLOAT, 1, 1)),
}
"""Type, channels of a value, and values at once: many channels first, then what remains."""
FEW_TAPS, FEW_CHANNELS = 9, 32
"""With more taps, or so few channels, a group of positions is faster; else it waits for memory."""
FUSABLE = ("contract", "nsz")
"""A product and a sum may become one instruction."""
ADDRESSES = ("found", "x", "weight", "bias")
COUNTS = (
    *("channels", "rows", "columns", "x_row", "x_column", "weight_row", "weight_column"),
    "x_step",
)
NUMBERS = ("low", "high", "scale", "code_low", "code_high")


Vector = NDArray[np.float32]


class _Position:
    """Writes the code of `group` neighbouring output positions; arguments by name."""

    def __init__(self, builder: ir.IRBuilder, arguments: dict[str, ir.Value], group: int) -> None:
        self.builder, self.arguments, self.group = builder, arguments, group

    def write_code(self) -> None:
        """Write the loops over all channels."""
        build, channels = self.builder, self.arguments["channels"]
        done = INDEX(0)
        for kind, lanes, count in BLOCKS[self.group]:
            step = INDEX(lanes * count)
            whole = build.udiv(build.sub(channels, done), step)
            stop = build.add(done, build.mul(whole, step))
            with cgutils.for_range_slice(build, done, stop, step, intp=INDEX) as (channel, _):
                self._write_block(kind, [INDEX(lanes * place) for place in range(count)], channel)
            done = stop

    def _write_block(self, kind: ir.Type, offsets: list[ir.Value], channel: ir.Value) -> None:
        """Write the sums of some channels over the taps, and their stores."""
        build, given = self.builder, self.arguments
        places = [build.add(channel, offset) for offset in offsets]
        sums = {
            (position, number): cgutils.alloca_once(build, kind)
            for position in range(self.group)
            for number in range(len(places))
        }
        for (_, number), total in sums.items():
            build.store(self._load(kind, "bias", places[number]), total)
        with cgutils.for_range(build, given["rows"]) as row:
            x_row = build.mul(row.index, given["x_row"])
            weight_row = build.mul(row.index, given["weight_row"])
            with cgutils.for_range(build, given["columns"]) as column:
                x = build.add(x_row, build.mul(column.index, given["x_column"]))
                weight = build.add(weight_row, build.mul(column.index, given["weight_column"]))
                self._add_products(kind, sums, places, x, weight)
        rounds = build.fcmp_ordered(">", given["scale"], ir.Constant(FLOAT, 0.0))
        with build.if_else(rounds) as (rounded, plain):
            with rounded:
                for (position, number), total in sums.items():
                    value = self._round_trip(kind, self._clip(kind, total))
                    self._store(value, self._place_of_result(position, places[number]))
            with plain:
                for (position, number), total in sums.items():
                    value = self._clip(kind, total)
                    self._store(value, self._place_of_result(position, places[number]))

    def _add_products(
        self,
        kind: ir.Type,
        sums: dict[tuple[int, int], ir.Value],
        places: list[ir.Value],
        x: ir.Value,
        weight: ir.Value,
    ) -> None:
        """Write the products of one tap for all positions and channels of the block."""
        build = self.builder
        weights = [self._load(kind, "weight", build.add(weight, place)) for place in places]
        for (position, number), total in sums.items():
            step = build.mul(INDEX(position), self.arguments["x_step"])
            place = build.add(build.add(x, step), places[number])
            product = build.fmul(self._load(kind, "x", place), weights[number], flags=FUSABLE)
            build.store(build.fadd(build.load(total), product, flags=FUSABLE), total)

    def _place_of_result(self, position: int, place: ir.Value) -> ir.Value:
        build = self.builder
        return build.add(place, build.mul(INDEX(position), self.arguments["channels"]))

    def _address(self, kind: ir.Type, name: str, place: ir.Value) -> ir.Value:
        offset = self.builder.mul(place, INDEX(BYTES))
        address = self.builder.add(self.arguments[name], offset)
        return self.builder.inttoptr(address, kind.as_pointer())

    def _load(self, kind: ir.Type, name: str, place: ir.Value) -> ir.Value:
        value = self.builder.load(self._address(kind, name, place))
        value.align = BYTES
        return value

    def _store(self, value: ir.Value, place: ir.Value) -> None:
        stored = self.builder.store(value, self._address(value.type, "found", place))
        stored.align = BYTES

    def _spread(self, kind: ir.Type, name: str) -> ir.Value:
        """Return a number in all lanes."""
        value = self.arguments[name]
        if kind is FLOAT:
            return value
        empty = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(empty, value, ir.IntType(32)(0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, empty, order)

    def _clip(self, kind: ir.Type, total: ir.Value) -> ir.Value:
        return self._between(kind, self.builder.load(total), "low", "high")

    def _between(self, kind: ir.Type, value: ir.Value, low: str, high: str) -> ir.Value:
        """Return the value inside two limits; a value that is no number stays."""
        for sign, name in (("<", low), (">", high)):
            limit = self._spread(kind, name)
            outside = self.builder.fcmp_ordered(sign, value, limit)
            value = self.builder.select(outside, limit, value)
        return value

    def _round_trip(self, kind: ir.Type, value: ir.Value) -> ir.Value:
        """Return scale * clamp(round_half_even(value / scale)), as `Encoding.fake_quantize`."""
        build, scale = self.builder, self._spread(kind, "scale")
        name = "llvm.rint.f32" if kind is FLOAT else f"llvm.rint.v{LANES}f32"
        rint = cgutils.get_or_insert_function(build.module, ir.FunctionType(kind, [kind]), name)
        steps = build.call(rint, [build.fdiv(value, scale)])
        return build.fmul(self._between(kind, steps, "code_low", "code_high"), scale)


def _code_of_positions(group: int) -> Any:
    """Return the types of arguments, and the function that writes the code of positions."""
    names = (*ADDRESSES, *COUNTS, *NUMBERS)
    kinds = [types.float32 if name in NUMBERS else types.int64 for name in names]

    def write(context: Any, builder: ir.IRBuilder, _: object, arguments: Any) -> Any:
        _Position(builder, dict(zip(names, arguments, strict=True)), group).write_code()
        return context.get_dummy_value()

    return types.void(*kinds), write


def _code_of_position(  # type: ignore[no-untyped-def]
    typing_context,
    found, x, weight, bias,
    channels, rows, columns, x_row, x_column, weight_row, weight_column, x_step,
    low, high, scale, code_low, code_high,
):  # fmt: skip
    return _code_of_positions(1)


_convolve_position: Any = intrinsic(_code_of_position)


def _code_of_group(  # type: ignore[no-untyped-def]
    typing_context,
    found, x, weight, bias,
    channels, rows, columns, x_row, x_column, weight_row, weight_column, x_step,
    low, high, scale, code_low, code_high,
):  # fmt: skip
    return _code_of_positions(GROUP)


_convolve_group: Any = intrinsic(_code_of_group)


@njit(cache=True, nogil=True, error_model="numpy")
def _inner_taps(first, step, taps, size):  # type: ignore[no-untyped-def]
    """Return the first tap inside an axis, and one past the last; tap t lies at first + t step."""
    start, stop = 0, taps
    while start < stop and first + start * step < 0:
        start += 1
    while stop > start and first + (stop - 1) * step >= size:
        stop -= 1
    return start, stop


@njit(cache=True, nogil=True, error_model="numpy")
def convolve_depthwise(
    found: int,
    x: int,
    weight: int,
    bias: int,
    sizes: tuple[int, ...],
    layout: tuple[int, ...],
    low: np.float32,
    high: np.float32,
    scale: np.float32,
    code_low: np.float32,
    code_high: np.float32,
) -> None:
    """Write the depthwise convolution of x (N, H, W, C) to `found` (N, h, w, C).

    The first four are addresses; `weight` is (kh, kw, C). `sizes` holds (N, H, W, C, h, w, kh, kw),
    `layout` strides, dilations, zeros above and left. A scale of 0 stands for no encoding.
    """
    images, height, width, channels, rows, columns, kernel_rows, kernel_columns = sizes
    down, right, row_step, column_step, above, left = layout
    reach = (kernel_columns - 1) * column_step
    shares = kernel_rows * kernel_columns > FEW_TAPS or channels <= FEW_CHANNELS
    for image in range(images):
        for row in range(rows):
            first = row * down - above
            i, last_i = _inner_taps(first, row_step, kernel_rows, height)
            column = 0
            while column < columns:
                start = column * right - left
                end = start + (GROUP - 1) * right + reach
                inside = start >= 0 and end < width and column + GROUP <= columns
                j, last_j = _inner_taps(start, column_step, kernel_columns, width)
                line = (image * height + first + i * row_step) * width
                target = found + 4 * ((image * rows + row) * columns + column) * channels
                source = x + 4 * (line + start + j * column_step) * channels
                taps = weight + 4 * (i * kernel_columns + j) * channels
                if shares and inside:
                    _convolve_group(
                        target, source, taps, bias, channels, last_i - i, last_j - j,
                        row_step * width * channels, column_step * channels,
                        kernel_columns * channels, channels, right * channels,
                        low, high, scale, code_low, code_high,
                    )  # fmt: skip
                    column += GROUP
                else:
                    _convolve_position(
                        target, source, taps, bias, channels, last_i - i, last_j - j,
                        row_step * width * channels, column_step * channels,
                        kernel_columns * channels, channels, right * channels,
                        low, high, scale, code_low, code_high,
                    )  # fmt: skip
                    column += 1


@njit(cache=True, nogil=True, error_model="numpy")
def round_trip(
    x: Vector, scale: np.float32, low: np.float32, high: np.float32, found: Vector
) -> None:
    """Write scale * clamp(round_half_even(x / scale)) to `found`; flat arrays, not the same."""
    for place in range(x.size):
        steps = np.rint(x[place] / scale)
        steps = low if steps < low else steps
        steps = high if steps > high else steps
        found[place] = steps * scale


@njit(cache=True, nogil=True, error_model="numpy")
def round_trip_in_place(x: Vector, scale: np.float32, low: np.float32, high: np.float32) -> None:
    """Do as `round_trip` with a single array: two that may overlap would not be vectorized."""
    for place in range(x.size):
        steps = np.rint(x[place] / scale)
        steps = low if steps < low else steps
        steps = high if steps > high else steps
        x[place] = steps * scale
