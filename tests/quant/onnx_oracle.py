"""ONNX Runtime's QuantizeLinear and DequantizeLinear, the oracle for every grid."""

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

Array = NDArray[np.generic]
TYPES = {
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "uint16": TensorProto.UINT16,
    "int16": TensorProto.INT16,
}


def round_trip(x: Array, scale: Array, zero_point: Array, axis: int = 1) -> tuple[Array, Array]:
    """Return (quantized, dequantized) values of float32 `x`.

    `scale` and `zero_point` are scalars or have one value for each index of `axis`; the type of
    `zero_point` is the type of the grid.
    """
    kind = TYPES[zero_point.dtype.name]
    names = ["scale", "zero_point"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *names], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", *names], ["y"], axis=axis),
    ]
    graph = helper.make_graph(
        nodes,
        "round trip",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, scale.shape),
            helper.make_tensor_value_info("zero_point", kind, scale.shape),
        ],
        [
            helper.make_tensor_value_info("q", kind, x.shape),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    ).SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    quantized, real = session.run(None, {"x": x, "scale": scale, "zero_point": zero_point})
    return quantized, real
