"""Small programs that would fill the memory, or read outside a tensor: refused before they run."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_io.errors import UnsafeFileError
from model_io.load import load_model
from model_io.pt2.allowed_operators import is_known_operator


class Written(nn.Module):
    """A network with a table, numbers and a function that uses them."""

    def __init__(self, run: Callable[["Written", Tensor], Tensor]) -> None:
        super().__init__()
        self.run, self.table = run, nn.Parameter(torch.ones(5, 4))
        self.places = nn.Buffer(torch.tensor([0, -1_000_000_000, 1]))

    def forward(self, x: Tensor) -> Tensor:
        """Return what the function returns, for each row."""
        return x + self.run(self, x).sum()


def saved(net: nn.Module, path: Path) -> Path:
    program = torch.export.export(net.eval(), (torch.zeros(3, 4),))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    path.write_bytes(buffer.getvalue())
    return path


def bags(net: Written, offsets: Tensor) -> Tensor:
    return F.embedding_bag(torch.tensor([1, 2, 3]), net.table, offsets)


def lstm(x: Tensor, state: Tensor, weight: Tensor) -> Tensor:
    rest = (torch.ones(8, 2), torch.ones(8), torch.ones(8))
    given = ([state, state], [weight, *rest], True, 1, 0.0, False, False, False)
    found: Tensor = torch.ops.aten.lstm.input(x, *given)[0]
    return found


REFUSED: dict[str, tuple[str, Callable[[Written, Tensor], Tensor]]] = {
    "ones": ("from ones", lambda _, x: torch.ones(2**28 + len(x))),
    "repeat": (r"from repeat\. Export", lambda _, x: x.repeat(1, 2**28)),
    "pad": ("from pad", lambda _, x: F.pad(x, (0, 2**28))),
    "stored places of bags": ("must begin at stored places", lambda net, _: bags(net, net.places)),
    "computed places of bags": (
        "must begin at stored places", lambda net, x: bags(net, x[0].long() - 9),
    ),
    "states of one row in an LSTM": (
        r"states of shape \(1, 3, 2\), got \(1, 1, 2\)",
        lambda _, x: lstm(x[None], torch.zeros(1, 1, 2), torch.ones(8, 4)),
    ),
    "a norm of one row": (
        "a length for each of", lambda _, x: torch._weight_norm(torch.ones(300, 3), x[0, :1], 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_program_is_refused_before_it_runs(name: str, tmp_path: Path) -> None:
    sentence, run = REFUSED[name]
    with pytest.raises(UnsafeFileError, match=sentence) as refusal:
        load_model(saved(Written(run), tmp_path / "net.pt2"))
    assert "\n" not in str(refusal.value)


def test_bags_of_rows_come_in(tmp_path: Path) -> None:
    net = Written(lambda net, x: F.embedding_bag(x[:, :2].long(), net.table))
    assert load_model(saved(net, tmp_path / "net.pt2")).batch == 3


@pytest.mark.parametrize("name", ["segment_reduce", "native_batch_norm", "promote_types"])
def test_operators_that_read_outside_their_tensors_are_unknown(name: str) -> None:
    assert not is_known_operator(f"torch.ops.aten.{name}.default")
