"""The recurrent part of an LSTM, GRU or RNN as an operator with the weight as second argument.

A recurrent layer is two products. The first is a linear layer: the inputs of the time steps times a
weight. The second, the state of the step before times a weight, is the operator here, together with
the functions of the cell. The operator is plain torch, so that exporters can take the operator
apart.

An LSTM with a projection has a third product, the state times a weight of its own. A linear layer
behind the operator projects the states of all steps; the operator borrows the weight of that layer,
because each step begins with the projected state of the step before.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_LIBRARY = torch.library.Library("quantscope", "FRAGMENT")
_LIBRARY.define(
    "recurrence(Tensor gates, Tensor weight, str kind, bool reverse, Tensor? bias, Tensor hidden, "
    "Tensor? cell, Tensor? projection=None) -> Tensor"
)


def run_recurrent_layer(
    gates: Tensor,
    weight: Tensor,
    kind: str,
    reverse: bool,
    bias: Tensor | None,
    hidden: Tensor,
    cell: Tensor | None,
    projection: Tensor | None = None,
) -> Tensor:
    """Return the states (N, T, H) of a recurrent layer, before a projection.

    Args:
        gates: (N, T, G H), inputs times weight plus bias.
        weight: (G H, H), of the state; G is 4 for an LSTM, 3 for a GRU, 1 for an RNN.
        kind: lstm, gru, rnn_tanh or rnn_relu; lstm_both for (N, T, 2 H), states and cells.
        reverse: whether the last step comes first.
        bias: (G H,), of the product with the state; None without a bias.
        hidden: (N, H), the state before the first step; (N, P) with a projection.
        cell: (N, H), of an LSTM; None for other kinds.
        projection: (P, H), of an LSTM whose steps begin with a projected state (N, P); then the
            weight of the state is (G H, P).
    """
    step = _STEPS[kind]
    places = range(gates.shape[1])
    states: list[Tensor] = []
    for place in reversed(places) if reverse else places:
        hidden, cell = step(gates[:, place], F.linear(hidden, weight, bias), hidden, cell)
        if kind == "lstm_both" and cell is not None:
            states.append(torch.cat([hidden, cell], -1))
        else:
            states.append(hidden)
        hidden = hidden if projection is None else F.linear(hidden, projection)
    return torch.stack(states[::-1] if reverse else states, 1)


def _lstm_step(
    x: Tensor, h: Tensor, hidden: Tensor, cell: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    enter, forget, new, leave = (x + h).chunk(4, -1)
    del hidden
    before = torch.zeros_like(enter) if cell is None else cell
    after = forget.sigmoid() * before + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * after.tanh(), after


def _gru_step(
    x: Tensor, h: Tensor, hidden: Tensor, cell: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    (reset, update, new), (reset_h, update_h, new_h) = x.chunk(3, -1), h.chunk(3, -1)
    share = (update + update_h).sigmoid()
    fresh = (new + (reset + reset_h).sigmoid() * new_h).tanh()
    return (1 - share) * fresh + share * hidden, cell


def _tanh_step(
    x: Tensor, h: Tensor, hidden: Tensor, cell: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    del hidden
    return (x + h).tanh(), cell


def _relu_step(
    x: Tensor, h: Tensor, hidden: Tensor, cell: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    del hidden
    return (x + h).relu(), cell


_STEPS = {
    "lstm": _lstm_step,
    "lstm_both": _lstm_step,
    "gru": _gru_step,
    "rnn_tanh": _tanh_step,
    "rnn_relu": _relu_step,
}
_LIBRARY.impl("recurrence", run_recurrent_layer, "CompositeImplicitAutograd")
recurrence = torch.ops.quantscope.recurrence.default
RECURRENCE = "quantscope.recurrence.default"
BORROWED = 7
"""Position of the projection among the arguments."""
