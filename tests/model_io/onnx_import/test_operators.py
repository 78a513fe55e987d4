"""Every operator computes what ONNX Runtime computes, as tensors and as plain numbers."""

from itertools import chain

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from model_io.onnx_import.operators import TABLE
from model_io.onnx_import.program.network import Operation
from model_io.onnx_import.program.steps import OnnxStep, attribute_value
from model_io.onnx_import.program.values import is_known_value, known_from_tensor, tensor_from_value
from model_io.onnx_import.reading.tensors import torch_from_array
from tests.model_io import onnx_cases as plain
from tests.model_io import onnx_layer_cases as layers
from tests.model_io.onnx_cases import Array, OperatorCase

ALL = list(chain(
    plain.elementwise(), plain.arithmetic(), plain.more_arithmetic(), plain.reductions(),
    plain.shaping(), plain.pieces(), plain.indexing(), plain.creation(), layers.convolutions(),
    layers.pools(), layers.norms(), layers.products(), layers.resizing(), layers.other_resizing(),
    layers.recurrent(),
))  # fmt: skip


def expected(case: OperatorCase) -> list[Array]:
    """Return what ONNX Runtime says, or the standard's evaluator where that has no kernel."""
    names = ["" if value is None else f"i{index}" for index, value in enumerate(case.inputs)]
    outputs = [f"o{index}" for index in range(case.outputs)]
    node = helper.make_node(case.operator, names, outputs, **case.attributes)
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in zip(names, case.inputs, strict=True)
        if value is not None
    ]
    free = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "one", inputs, free)
    opset = [helper.make_opsetid("", case.opset)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    feed = {n: v for n, v in zip(names, case.inputs, strict=True) if v is not None}
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return list(session.run(None, feed))
    except ort.capi.onnxruntime_pybind11_state.NotImplemented:
        return list(ReferenceEvaluator(model).run(None, feed))


def step_of(case: OperatorCase) -> OnnxStep:
    """Return the case's node as the importer reads it."""
    names = tuple("" if value is None else f"i{n}" for n, value in enumerate(case.inputs))
    read = {
        name: attribute_value(helper.make_attribute(name, value))
        for name, value in case.attributes.items()
    }
    if case.operator == "ConstantOfShape" and "value" in read:
        read["value"] = 5
    outputs = tuple(f"o{n}" for n in range(case.outputs))
    return OnnxStep("node", case.operator, names, outputs, read)


def close(got: Tensor, want: Array) -> None:
    assert tuple(got.shape) == want.shape
    np.testing.assert_allclose(
        got.detach().numpy().astype(np.float64), want.astype(np.float64), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("case", ALL, ids=str)
def test_an_operator_agrees_with_onnx_runtime(case: OperatorCase) -> None:
    want = expected(case)
    step = step_of(case)
    tensors = {
        f"i{n}": torch_from_array(v, "i") for n, v in enumerate(case.inputs) if v is not None
    }
    flowing = [f"i{n}" for n in case.flowing]
    constants: dict[str, Tensor | torch.nn.Parameter] = {
        name: torch.nn.Parameter(value) if value.is_floating_point() else value
        for name, value in tensors.items()
        if name not in flowing
    }
    operation = Operation(step, case.opset, constants)
    results = operation(*(tensors[name] for name in operation.reads))
    for got, expect in zip(results, want, strict=False):
        assert got is not None
        close(tensor_from_value(got), expect)
    if TABLE[case.operator].known is not None:
        numbers = [None if not name else known_from_tensor(tensors[name]) for name in step.inputs]
        if all(n is None or n.ndim < 2 for n in numbers):
            known = TABLE[case.operator].known
            assert known is not None
            on_numbers = operation_on_numbers(step, numbers, case.opset)
            for got, expect in zip(on_numbers, want, strict=False):
                close(tensor_from_value(got), expect)


def operation_on_numbers(step: OnnxStep, numbers: list, opset: int) -> tuple:  # type: ignore[type-arg]
    from model_io.onnx_import.program.network import compute_step

    results = compute_step(step, numbers, opset)
    assert all(is_known_value(r) for r in results) or step.operator in ("ConstantOfShape", "Range")
    return results


def test_every_operator_is_tested() -> None:
    # "Linear" is our own: the patterns' tests make it
    assert {case.operator for case in ALL} | {"Linear"} == set(TABLE)
    assert len(TABLE) >= 60
