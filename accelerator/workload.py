"""The work: a network as a list of operations, with shapes and bit widths only."""

from dataclasses import dataclass, fields, replace
from enum import StrEnum

FLOAT_BITS = 32
"""The width that stands for single-precision float instead of an integer."""


class OpKind(StrEnum):
    """The kind of an operation, as far as cost is concerned."""

    CONV = "conv"
    DEPTHWISE = "depthwise"
    LINEAR = "linear"
    MATMUL = "matmul"
    ELTWISE = "eltwise"
    POOL = "pool"
    VECTOR = "vector"  # softmax, layer norm, GELU


GEMM_KINDS = frozenset({OpKind.CONV, OpKind.DEPTHWISE, OpKind.LINEAR, OpKind.MATMUL})
WEIGHT_KINDS = GEMM_KINDS - {OpKind.MATMUL}


@dataclass(frozen=True, slots=True)
class Gemm:
    """`groups` matrix products of rows x depth by depth x columns (P x K by K x M, g times)."""

    rows: int
    depth: int
    columns: int
    groups: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the groups in sum."""
        return self.rows * self.depth * self.columns * self.groups


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An activation as stored between two ops; `bits` is the requested width, 32 means float.

    Raises ValueError if `elements` is below one or `bits` is outside 1..32.
    """

    name: str
    elements: int
    bits: int

    def __post_init__(self) -> None:
        _check_positive_value(f"tensor {self.name!r}", "elements", self.elements)
        _check_bit_width(f"tensor {self.name!r}", "bits", self.bits)


@dataclass(frozen=True, slots=True)
class Op:
    """One operation after fusion: batch norm, ReLU and requantization belong to the op before.

    Linear: `batch` rows of `c_in` to `c_out`. Matmul: `groups` products of `batch` x `c_in` by
    `c_in` x `c_out`, with an activation of `weight_bits` as second input. Elementwise, pool and
    vector take sizes from the tensors; a vector op with `table_elements` looks the output up in a
    table of so many weights, such as an embedding. `weight_entropy` is in bits per weight.
    `weight_groups` are (bits, output channels) for channels of several widths, with the widest in
    `weight_bits`.

    Raises ValueError for shapes, widths or weight counts that contradict each other.
    """

    name: str
    kind: OpKind
    inputs: tuple[str, ...]
    output: str
    batch: int = 1
    c_in: int = 1
    c_out: int = 1
    in_h: int = 1
    in_w: int = 1
    out_h: int = 1
    out_w: int = 1
    kernel_h: int = 1
    kernel_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1
    weight_bits: int = 8
    activation_bits: int = 8
    output_bits: int = 8
    accumulator_bits: int = 32
    weight_entropy: float | None = None
    weight_elements: int = 0
    bias_elements: int = 0
    multiply: bool = False
    table_elements: int = 0
    weight_groups: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        owner = f"op {self.name!r}"
        for name in _SIZES:
            _check_positive_value(owner, name, getattr(self, name))
        for name in ("weight_bits", "activation_bits", "output_bits"):
            _check_bit_width(owner, name, getattr(self, name))
        _check_positive_value(owner, "accumulator_bits", self.accumulator_bits)
        if not self.inputs:
            raise ValueError(f"{owner} must have an input, got none; name the tensors it reads")
        if self.weight_entropy is not None and not 0 <= self.weight_entropy <= FLOAT_BITS:
            raise ValueError(
                f"{owner}: weight_entropy must lie in 0..{FLOAT_BITS} bits per weight, "
                f"got {self.weight_entropy}; measure it on the quantized weights"
            )
        self._check_group_counts(owner)
        self._check_operand_widths(owner)
        self._check_weight_count(owner)

    def _check_group_counts(self, owner: str) -> None:
        if self.kind is OpKind.CONV and (self.c_in % self.groups or self.c_out % self.groups):
            raise ValueError(
                f"{owner}: groups must divide c_in and c_out, got {self.groups} for "
                f"{self.c_in} and {self.c_out}; correct the shape"
            )
        if self.kind is OpKind.DEPTHWISE and self.c_out % self.c_in:
            raise ValueError(
                f"{owner}: a depthwise c_out must be a multiple of c_in, got {self.c_out} and "
                f"{self.c_in}; correct the shape or use kind conv with groups"
            )

    def _check_operand_widths(self, owner: str) -> None:
        if not self.weight_groups:
            return
        columns = sum(count for _, count in self.weight_groups)
        widest = max(bits for bits, _ in self.weight_groups)
        if self.kind not in WEIGHT_KINDS or (columns, widest) != (self.c_out, self.weight_bits):
            raise ValueError(
                f"{owner}: weight_groups must cover {self.c_out} output channels of at most "
                f"{self.weight_bits} bits, got {columns} of at most {widest}; correct the groups"
            )

    def _check_weight_count(self, owner: str) -> None:
        if min(self.weight_elements, self.bias_elements, self.table_elements) < 0:
            raise ValueError(f"{owner}: weight and bias counts must be 0 or more; correct them")
        expected = self.shape_weights
        if self.weight_elements not in (0, expected):
            raise ValueError(
                f"{owner}: weight_elements must be {expected} for its shape, got "
                f"{self.weight_elements}; correct the shape or leave it 0"
            )

    def lower_to_gemm(self) -> Gemm:
        """Lower to matrix products; raises ValueError for an op that multiplies no matrices."""
        if self.kind is OpKind.MATMUL:
            return Gemm(self.batch, self.c_in, self.c_out, self.groups)
        rows = self.batch * self.out_h * self.out_w
        taps = self.kernel_h * self.kernel_w
        if self.kind is OpKind.DEPTHWISE:
            return Gemm(rows, taps, self.c_out // self.c_in, self.c_in)
        if self.kind in WEIGHT_KINDS:
            groups = self.groups if self.kind is OpKind.CONV else 1
            return Gemm(rows, taps * self.c_in // groups, self.c_out // groups, groups)
        raise ValueError(
            f"op {self.name!r} must multiply matrices to be lowered, got kind {self.kind}; "
            f"ask for the gemm of {', '.join(sorted(GEMM_KINDS))} only"
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates; 0 for elementwise, pool and vector ops."""
        return self.lower_to_gemm().macs if self.kind in GEMM_KINDS else 0

    @property
    def shape_weights(self) -> int:
        """Weights implied by the shape or the table; 0 without a stored weight as operand."""
        if self.kind not in WEIGHT_KINDS:
            return self.table_elements
        gemm = self.lower_to_gemm()
        return gemm.depth * gemm.columns * gemm.groups

    @property
    def count_input_elements(self) -> int:
        """Elements of the (first) activation operand of a matrix product, without padding."""
        if self.kind is OpKind.MATMUL:
            return self.batch * self.c_in * self.groups
        return self.batch * self.c_in * self.in_h * self.in_w

    @property
    def is_float(self) -> bool:
        """Whether an operand is float, so that integer units cannot do the op."""
        multiplies = self.kind in GEMM_KINDS or self.multiply
        return self.activation_bits >= FLOAT_BITS or (multiplies and self.weight_bits >= FLOAT_BITS)


def split_op_by_width(op: Op) -> tuple[Op, ...]:
    """Return a product for each group of output channels of one width; without groups the op.

    Sorting channels by width is free, since the next layer's input channels can take the order too
    (exact). Of a grouped convolution a product reads the inputs of one group.
    """
    if not op.weight_groups:
        return (op,)
    parts = []
    for bits, columns in op.weight_groups:
        c_in = columns if op.kind is OpKind.DEPTHWISE else op.c_in // op.groups
        part = replace(
            op,
            weight_groups=(),
            weight_bits=bits,
            c_in=c_in,
            c_out=columns,
            groups=1,
            weight_elements=0,
            bias_elements=0,
            weight_entropy=None,
        )
        parts.append(part)
    return tuple(parts)


def count_bit_operations(op: Op) -> int:
    """Return bit operations of an op: MACs times the widths of both operands."""
    return sum(
        part.macs * part.weight_bits * part.activation_bits for part in split_op_by_width(op)
    )


_SIZES = tuple(field.name for field in fields(Op) if field.default == 1)


@dataclass(frozen=True, slots=True)
class Workload:
    """A network in execution order, already fused, with every stored activation.

    Raises ValueError if a name is unknown, doubled, or used before production.
    """

    name: str
    ops: tuple[Op, ...]
    tensors: tuple[TensorInfo, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        known = {tensor.name for tensor in self.tensors}
        if len(known) != len(self.tensors):
            raise ValueError(f"workload {self.name!r}: tensor names must differ; rename the twins")
        if not self.ops:
            raise ValueError(f"workload {self.name!r} must have an op, got none; add one")
        produced = set(self.inputs)
        self._check_known_names(self.inputs, known, "listed in tensors")
        for op in self.ops:
            self._check_known_names((*op.inputs, op.output), known, "listed in tensors")
            self._check_known_names(op.inputs, produced, f"produced before op {op.name!r}")
            if op.output in produced:
                raise ValueError(
                    f"workload {self.name!r}: op {op.name!r} must produce a new tensor, got "
                    f"{op.output!r} again; give each output its own name"
                )
            produced.add(op.output)
        self._check_known_names(self.outputs, produced, "produced by an op or an input")

    def _check_known_names(self, names: tuple[str, ...], known: set[str], what: str) -> None:
        for name in names:
            if name not in known:
                raise ValueError(
                    f"workload {self.name!r}: tensor {name!r} must be {what}, it is not; "
                    "add it or put the ops in execution order"
                )


def _check_positive_value(owner: str, name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{owner}: {name} must be 1 or more, got {value}; correct it")


def _check_bit_width(owner: str, name: str, value: int) -> None:
    if not 1 <= value <= FLOAT_BITS:
        raise ValueError(
            f"{owner}: {name} must lie in 1..{FLOAT_BITS} (32 is float), got {value}; correct it"
        )
