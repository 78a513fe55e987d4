"""Every operator that a file may name has a class, and no product stays float in silence."""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from analysis.network import prepare_network
from model_io.onnx_import.operators import TABLE
from model_io.pt2.allowed_operators import is_known_operator, operator_advice
from quant.graph import operators as ops
from quant.graph.capture import capture_graph
from quant.graph.float_weights import find_float_weights
from quant.graph.operator_classes import OperatorClass, class_of_operator

ADMITTED = sorted(
    name.replace("::", ".", 1) if "." in name else f"{name.replace('::', '.', 1)}.default"
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("aten::")
    and is_known_operator(
        f"torch.ops.{name.replace('::', '.', 1)}" + ("" if "." in name else ".default")
    )
)


def test_no_operator_is_admitted_that_the_rest_does_not_know() -> None:
    classes = Counter(map(class_of_operator, ADMITTED))
    assert len(ADMITTED) > 800
    assert classes[OperatorClass.FOREIGN] == 0
    assert set(classes) == set(OperatorClass) - {OperatorClass.FOREIGN}
    known = {name: class_of_operator(name) for name in ADMITTED}
    multiplying = {OperatorClass.PRODUCT, OperatorClass.FACTOR}
    assert {known[name] for name in ops.PRODUCTS & known.keys()} == {OperatorClass.PRODUCT}
    assert not [n for n in ops.PASS_THROUGH & known.keys() if known[n] in multiplying]
    assert {known[name] for name in ops.NORMS & known.keys()} == {OperatorClass.NORM}


def has_overload(name: str) -> bool:
    _, base, overload = name.split(".")
    return hasattr(getattr(torch.ops.aten, base, None), overload)


def overload_of(name: str) -> torch._ops.OpOverload:
    _, base, overload = name.split(".")
    found: torch._ops.OpOverload = getattr(getattr(torch.ops.aten, base), overload)
    return found


def test_every_operator_with_a_rule_of_its_own_is_admitted() -> None:
    tables = ops.PRODUCTS | ops.NORMS | ops.ADDS | ops.MULTIPLIES | ops.CONCATS | ops.PASS_THROUGH
    tables |= ops.FUNCTIONS | ops.FUSED_FUNCTIONS | ops.AVERAGE_POOLS | ops.MEANS
    own = {  # internal ones that torch.export does not write
        "aten._convolution.default", "aten._embedding_bag_forward_only.default",
        "aten._native_multi_head_attention.default",
    }  # fmt: skip
    aten = {name for name in tables if name.startswith("aten.")} - own
    exists = {
        n for n in aten if hasattr(getattr(torch.ops.aten, n.split(".")[1], 0), n.split(".")[2])
    }
    assert not [name for name in exists if not is_known_operator(f"torch.ops.{name}")]
    assert len(TABLE) > 100  # an ONNX file's operators become calls of these


def test_what_decompositions_write_is_admitted() -> None:
    """torch calls these operators core: run_decompositions() leaves nothing else."""
    own = ("_fft_", "_pdist")  # trust the axes in the file
    core = [
        name
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("aten::")
        and has_overload(dotted := name.replace("::", ".") + ("" if "." in name else ".default"))
        and torch.Tag.core in overload_of(dotted).tags
        and class_of_operator(dotted) is not OperatorClass.FOREIGN
    ]
    unknown = {name.partition("::")[2] for name in core} - {
        name.partition(".")[2].removesuffix(".default") for name in ADMITTED
    }
    assert not [name for name in unknown if not name.startswith(own)]
    assert len(core) > 150
    assert is_known_operator("torch.ops.aten._upsample_nearest_exact2d.vec")


@pytest.mark.parametrize("name", [
    "addmm.out", "convolution_backward.default", "cudnn_convolution.default",
    "quantize_per_tensor.default", "_foreach_add.List", "fake_quantize_per_tensor_affine.default",
])  # fmt: skip
def test_what_belongs_elsewhere_is_refused(name: str) -> None:
    assert class_of_operator(f"aten.{name}") is OperatorClass.FOREIGN
    assert not is_known_operator(f"torch.ops.aten.{name}")


def test_an_operator_of_decompositions_is_told_by_its_cause() -> None:
    advice = operator_advice("torch.ops.aten._fft_r2c.default")
    assert "got _fft_r2c.default" in advice
    assert "before run_decompositions()" in advice
    assert not operator_advice("torch.ops.aten._no_such.default")


class Held(nn.Module):
    """A network of one call with a stored tensor."""

    def __init__(self, call: object, *shape: int) -> None:
        super().__init__()
        self.call, self.held = call, nn.Parameter(torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.call(x, self.held)  # type: ignore[operator]
        return found


SILENT = {
    "multiply": (torch.multiply, (3,)),
    "divide": (torch.divide, (3,)),
    "addcmul": (lambda x, w: torch.addcmul(x, x, w), (3,)),
    "lerp": (lambda x, w: torch.lerp(x, x * 2, w), (3,)),
    "cross": (lambda x, w: torch.linalg.cross(x, w.expand_as(x)), (3,)),
    "type of another": (lambda x, w: nn.functional.linear(x, w.type_as(x)), (4, 3)),
    "scale like another": (lambda x, w: x * w.view_as(x[:1]).expand_as(x), (3,)),
    "cdist": (lambda x, w: torch.cdist(x.unsqueeze(1), w.unsqueeze(0)).flatten(1), (4, 3)),
    "tensordot": (lambda x, w: torch.tensordot(x, w, 1), (3, 4)),
    "cosine similarity": (lambda x, w: nn.functional.cosine_similarity(x[:, None], w, -1), (4, 3)),
    "bilinear form": (lambda x, w: ((x @ w) * x).sum(1, keepdim=True), (3, 3)),
    "solve": (lambda x, w: torch.linalg.solve(w, x, left=False), (3, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", SILENT)
def test_a_stored_factor_has_an_encoding_or_is_listed(name: str) -> None:
    call, shape = SILENT[name]
    graph = capture_graph(Held(call, *shape).eval(), (3,))
    weighted = [layer.weight for layer in graph.layers if layer.weight]
    assert weighted or find_float_weights(graph)


def test_a_cast_to_the_type_of_the_input_hides_no_weight() -> None:
    graph = capture_graph(Held(SILENT["type of another"][0], 4, 3).eval(), (3,))
    assert [(str(layer.kind), layer.macs) for layer in graph.layers] == [
        ("input", 0),
        ("linear", 12),
    ]


def test_macs_and_the_law_hold_with_a_listed_factor() -> None:
    network = prepare_network("n", Held(torch.multiply, 3).eval(), (3,), "digest")
    assert [one.elements for one in network.float_weights] == [3]
    assert any("stay" in note for note in network.notes)
