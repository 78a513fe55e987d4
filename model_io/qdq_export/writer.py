"""Writes nodes and constants in order, for `insert_pairs` and `weights`."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from model_io.qdq_export.stored_encoding import Array, StoredEncoding

_SUFFIX = "_DequantizeLinear_Output"


class Writer:
    """Nodes in the order of execution, constants by name, and replaced values.

    Attributes:
        nodes: the nodes so far.
        constants: the constants; unused constants are left out at the end.
        read: the replacement of a value for later nodes.
        encodings: the encoding of a value.
    """

    def __init__(self, constants: Iterable[TensorProto], outputs: Iterable[str]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants = {tensor.name: tensor for tensor in constants}
        self.outputs = frozenset(outputs)
        self.read: dict[str, str] = {}
        self.encodings: dict[str, StoredEncoding] = {}
        # the encoding stays referenced, so that no other object gets the same id
        self._names: dict[int, tuple[StoredEncoding, list[str]]] = {}

    def constant_array(self, name: str) -> Array:
        """Return the values of a constant."""
        return numpy_helper.to_array(self.constants[name])

    def add_constant(self, name: str, value: Array) -> str:
        """Add a constant and return the name."""
        # files have no strides, so a transposed array is copied
        self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def write_node(
        self, operator: str, inputs: list[str], name: str, output: str, **more: Any
    ) -> str:
        """Write a node and return the name of the result."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **more))
        return output

    def encoding_tensor_names(self, value: str, encoding: StoredEncoding) -> list[str]:
        """Return the names of scale and zero point; values with a common encoding share names."""
        if id(encoding) not in self._names:
            made = [
                self.add_constant(f"{value}_scale", encoding.scale),
                self.add_constant(f"{value}_zero_point", encoding.zero_point),
            ]
            self._names[id(encoding)] = encoding, made
        return self._names[id(encoding)][1]

    def write_pair(self, value: str, source: str, encoding: StoredEncoding) -> str:
        """Write QuantizeLinear and DequantizeLinear behind `source`; return the result's name."""
        whole = self.write_node(
            "QuantizeLinear",
            [source, *self.encoding_tensor_names(value, encoding)],
            f"{value}_QuantizeLinear",
            f"{value}_QuantizeLinear_Output",
            **encoding.attributes,
        )
        return self.write_dequantize(value, whole, encoding)

    def write_dequantize(self, value: str, whole: str, encoding: StoredEncoding) -> str:
        """Write DequantizeLinear behind integers and return the result's name."""
        return self.write_node(
            "DequantizeLinear",
            [whole, *self.encoding_tensor_names(value, encoding)],
            f"{value}_DequantizeLinear",
            value if value in self.outputs else f"{value}{_SUFFIX}",
            **encoding.attributes,
        )

    def write_limited_pair(
        self, value: str, source: str, encoding: StoredEncoding, codes: tuple[int, int]
    ) -> str:
        """Write a pair with the full type, then limits to the codes in use."""
        self.encoding_tensor_names(value, encoding)
        result = self.write_pair(f"{value}_wide", source, encoding)
        zero = int(encoding.zero_point)
        # ONNX Runtime 1.31 fails at a clip before four bits
        operators = ("Max", "Min") if encoding.is_four_bits else ("Clip",)
        limits = [
            self.add_constant(f"{value}_{end}", np.float32(code - zero) * encoding.scale)
            for end, code in zip(("low", "high"), codes, strict=True)
        ]
        for operator in operators:
            given = [result, limits.pop(0)] if encoding.is_four_bits else [result, *limits]
            name = f"{value}_{operator}"
            result = self.write_node(operator, given, name, f"{name}_Output")
        return result
