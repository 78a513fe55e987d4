"""Sequences of tensors: the parts of a split, as older exporters and torch's write them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import NodeProto
from torch import Tensor

from model_io.errors import ModelError
from model_io.onnx_import.load_onnx import load_onnx_network
from tests.model_io.onnx_files import Array, model, node, saved

SPLIT, LAST = (
    node("SplitToSequence", ["x", "sizes"], "q", axis=1),
    node("SequenceAt", ["q", "i"], "a"),
)
HELD = {"sizes": np.array([5, 3]), "i": np.array(-1), "size": np.array(3), "second": np.array(1)}
CASES: dict[str, tuple[list[NodeProto], tuple[int, int]]] = {
    "sizes": ([SPLIT, LAST], (5, 8)),
    "one size": (
        [
            node("SplitToSequence", ["x", "size"], "q", axis=-1),
            node("SequenceAt", ["q", "second"], "a"),
        ],
        (3, 6),
    ),
    "single places": ([node("SplitToSequence", ["x"], "q", axis=1), LAST], (7, 8)),
    "single places without an axis": (
        [
            node("SplitToSequence", ["x"], "q", axis=1, keepdims=0), LAST,
            node("Unsqueeze", ["a", "second"], "b"),
        ],
        (7, 8),
    ),
    "a part that was put in": ([node("SequenceConstruct", ["x", "x"], "q"), LAST], (0, 8)),
    "parts joined": (
        [SPLIT, LAST, node("SequenceConstruct", ["a", "a"], "p"),
         node("ConcatFromSequence", ["p"], "c", axis=0)],
        (5, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_part_of_a_sequence_is_read_by_itself(name: str, tmp_path: Path) -> None:
    nodes, (start, end) = CASES[name]
    last = node("MatMul", [nodes[-1].output[0], "w"], "y")
    held: dict[str, Array] = {**HELD, "w": np.ones((end - start, 2), np.float32)}
    got = load_onnx_network(saved(tmp_path / "net.onnx", model([*nodes, last], [2, 8], held)))
    x = torch.arange(16.0).reshape(2, 8)
    wanted = x[:, start:end].sum(1, keepdim=True).expand(2, 2)
    found: Tensor = got.module(x).detach()
    torch.testing.assert_close(found[:2], wanted)


@pytest.mark.parametrize("place", [np.array(2), np.array(-3), np.array([0, 1])])
def test_a_part_that_is_none_is_refused(place: Array, tmp_path: Path) -> None:
    held = {"sizes": HELD["sizes"], "i": place}
    path = saved(
        tmp_path / "net.onnx", model([SPLIT, LAST, node("Relu", ["a"], "y")], [2, 8], held)
    )
    with pytest.raises(ModelError, match=r"SplitToSequence \(the node 'q'\)"):
        load_onnx_network(path)
