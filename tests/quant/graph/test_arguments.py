"""Inputs of a network by keyword, in a dict or a tuple, None, and numbers."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model_io.load import load_uploaded_model
from quant.errors import CaptureError
from quant.graph.capture import capture_graph
from quant.inputs import Input, as_network_inputs

X, Y = torch.randn(4, 6), torch.randn(4, 3)
BATCH = {0: torch.export.Dim("batch", min=1, max=4096)}


class Net(nn.Module):
    """Two linear layers with one sum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(3, 5)

    def join(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of both layers."""
        found: Tensor = self.a(x) + self.b(y)
        return found


class Keyword(Net):
    def forward(self, x: Tensor, *, y: Tensor) -> Tensor:
        return self.join(x, y)


class Mapping(Net):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.join(batch["x"], batch["y"])


class Pair(Net):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return self.join(*pair)


class Optional(Net):
    def forward(self, x: Tensor, mask: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        found = self.a(x) if y is None else self.join(x, y)
        return found if mask is None else found * mask


class Number(Net):
    def forward(self, x: Tensor, y: Tensor, times: int) -> Tensor:
        return self.join(x, y) * times


FORMS: dict[str, tuple[type[Net], tuple[Any, ...], dict[str, Any], dict[str, Any]]] = {
    "keyword": (Keyword, (X,), {"y": Y}, {"x": BATCH, "y": BATCH}),
    "dict": (Mapping, ({"x": X, "y": Y},), {}, {"batch": {"x": BATCH, "y": BATCH}}),
    "tuple": (Pair, ((X, Y),), {}, {"pair": (BATCH, BATCH)}),
    "none": (Optional, (X, None, Y), {}, {"x": BATCH, "mask": None, "y": BATCH}),
    "number": (Number, (X, Y, 3), {}, {"x": BATCH, "y": BATCH, "times": None}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_program_of_any_arguments_has_named_inputs(form: str, tmp_path: Any) -> None:
    kind, args, kwargs, shapes = FORMS[form]
    net, written = kind().eval(), io.BytesIO()
    torch.export.save(torch.export.export(net, args, kwargs, dynamic_shapes=shapes), written)
    (tmp_path / "upload").write_bytes(written.getvalue())
    loaded = load_uploaded_model(tmp_path / "upload", "net.pt2")
    assert loaded.program is not None
    graph = capture_graph(loaded.program, loaded.expected_inputs, loaded.batch)
    assert [one.shape for one in graph.inputs] == [(6,), (3,)]
    assert [one.name[-1] for one in graph.inputs] == (["0", "1"] if form == "tuple" else ["x", "y"])
    torch.testing.assert_close(graph(as_network_inputs([X, Y])), net(*args, **kwargs))


@pytest.mark.parametrize(("kind", "x", "y"), [
    (Keyword, "x", "y"), (Mapping, "batch.x", "batch.y"), (Pair, "pair.0", "pair.1"),
    (Optional, "x", "y"),
])  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_a_builders_inputs_go_where_their_names_say(
    kind: type[Net], x: str, y: str, turned: bool
) -> None:
    net = kind().eval()
    specs = [Input(x, (6,)), Input(y, (3,))]
    graph = capture_graph(net, specs[::-1] if turned else specs)
    found = {one.name: one.shape for one in graph.inputs}
    assert found == {x: (6,), y: (3,)}
    assert graph.batch is None
    values = [{x: X, y: Y}[one.name] for one in graph.inputs]
    torch.testing.assert_close(graph(as_network_inputs(values)), net.join(X, Y))


@pytest.mark.parametrize(("kind", "names"), [(Mapping, ("x", "y")), (Number, ("x", "y"))])
def test_inputs_that_do_not_fit_are_refused_with_what_is_taken(
    kind: type[Net], names: tuple[str, str]
) -> None:
    specs = [Input(name, shape) for name, shape in zip(names, ((6,), (3,)), strict=True)]
    with pytest.raises(CaptureError, match=r"what the network's forward takes, \((batch|x, y, t)"):
        capture_graph(kind().eval(), specs)
