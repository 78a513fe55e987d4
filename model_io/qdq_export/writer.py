"""Writes nodes and constants one after the other: the pen of `qdq_nodes` and `qdq_weights`."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from model_io.qdq_export.stored_encoding import Array, StoredEncoding

_SUFFIX = "_DequantizeLinear_Output"


class Writer:
    """Nodes in the order of execution, constants by name, and what stands for what.

    Attributes:
        nodes: written so far.
        constants: all that there are; those that nothing reads are left out in the end.
        read: what later nodes read instead of a value.
        grids: on which grid a value lies.
    """

    def __init__(self, constants: Iterable[TensorProto], outputs: Iterable[str]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants = {tensor.name: tensor for tensor in constants}
        self.outputs = frozenset(outputs)
        self.read: dict[str, str] = {}
        self.grids: dict[str, StoredEncoding] = {}
        # with the grid itself, so that no other one takes over its number
        self._names: dict[int, tuple[StoredEncoding, list[str]]] = {}

    def constant_array(self, name: str) -> Array:
        """Return the values of a constant."""
        return numpy_helper.to_array(self.constants[name])

    def add_constant(self, name: str, value: Array) -> str:
        """Add a constant; return its name."""
        # what was transposed has strides that a file has not
        self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def write_node(
        self, operator: str, inputs: list[str], name: str, output: str, **more: Any
    ) -> str:
        """Write a node; return its result's name."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **more))
        return output

    def encoding_tensor_names(self, value: str, grid: StoredEncoding) -> list[str]:
        """Return the names of scale and zero point; values that share a grid share them."""
        if id(grid) not in self._names:
            made = [
                self.add_constant(f"{value}_scale", grid.scale),
                self.add_constant(f"{value}_zero_point", grid.zero_point),
            ]
            self._names[id(grid)] = grid, made
        return self._names[id(grid)][1]

    def write_pair(self, value: str, source: str, grid: StoredEncoding) -> str:
        """Write QuantizeLinear and DequantizeLinear behind `source`; return their result."""
        whole = self.write_node(
            "QuantizeLinear",
            [source, *self.encoding_tensor_names(value, grid)],
            f"{value}_QuantizeLinear",
            f"{value}_QuantizeLinear_Output",
            **grid.attributes,
        )
        return self.write_dequantize(value, whole, grid)

    def write_dequantize(self, value: str, whole: str, grid: StoredEncoding) -> str:
        """Write DequantizeLinear behind whole numbers; return its result."""
        return self.write_node(
            "DequantizeLinear",
            [whole, *self.encoding_tensor_names(value, grid)],
            f"{value}_DequantizeLinear",
            value if value in self.outputs else f"{value}{_SUFFIX}",
            **grid.attributes,
        )

    def write_limited_pair(
        self, value: str, source: str, grid: StoredEncoding, codes: tuple[int, int]
    ) -> str:
        """Write a pair of the whole type and behind it limits to the codes in use."""
        self.encoding_tensor_names(value, grid)
        result = self.write_pair(f"{value}_wide", source, grid)
        zero = int(grid.zero_point)
        # a clip before four bits stops ONNX Runtime 1.31
        operators = ("Max", "Min") if grid.is_four_bits else ("Clip",)
        limits = [
            self.add_constant(f"{value}_{end}", np.float32(code - zero) * grid.scale)
            for end, code in zip(("low", "high"), codes, strict=True)
        ]
        for operator in operators:
            given = [result, limits.pop(0)] if grid.is_four_bits else [result, *limits]
            name = f"{value}_{operator}"
            result = self.write_node(operator, given, name, f"{name}_Output")
        return result
